"""How widely a column scatters in a row."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.variance import VarianceModel


def test_a_variance_follows_the_hidden_layer_where_that_helps() -> None:
    rng, packed = np.random.default_rng(7), Packed(np.full(40, 100))
    hidden = rng.normal(size=(len(packed.life), 2)).astype(np.float32)
    deviation = np.exp(hidden[:, :1] / 2)
    residual = np.repeat(rng.normal(size=deviation.shape) * deviation, 2, axis=1)
    validation = packed.life % 4 == 0
    model = VarianceModel.fit(hidden, residual, validation, np.array([False, True]))
    found = model.deviation(hidden)
    assert np.corrcoef(np.log(found[:, 0]), hidden[:, 0])[0, 1] > 0.99
    assert np.ptp(found[:, 1]) == 0  # the column that is to be constant
    relative = model.relative(hidden)[:, 0]
    assert 0 < relative.min() < 0.1 and relative.max() == pytest.approx(1)
