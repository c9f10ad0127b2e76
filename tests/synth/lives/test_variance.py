"""How widely a column scatters in a row."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.variance import VarianceModel, before_rounding, entries


def test_rounding_adds_what_was_not_drawn() -> None:
    rng = np.random.default_rng(0)
    rounded = (rng.normal(0, 1, (4000, 3)) * [0.6, 3.0, 0.1]).round()
    seen = np.float32(rounded.std(axis=0, keepdims=True))
    (drawn,) = before_rounding(seen, np.ones((1, 3)))
    assert drawn[:2] == pytest.approx([0.6, 3.0], rel=0.03)
    assert drawn[2] == seen[0, 2]  # a grid so wide says nothing of what lies within it


def test_rows_that_enter_a_regime_scatter_as_they_did() -> None:
    rng, packed = np.random.default_rng(6), Packed(np.full(40, 150))
    regime = np.cumsum(rng.random(len(packed.life)) < 0.15) % 2
    entered = entries(regime, packed)
    assert (entered[packed.age == 0] == -1).all()
    assert set(np.unique(entered)) == {-1, 0, 1, 2}
    spread = np.array([1.0, 3.0, 1.0, 5.0])[entered]  # usual, entering 0, entering 1, first
    residual = rng.normal(size=(len(regime), 1)) * spread[:, None]
    hidden = np.zeros((len(regime), 3), dtype=np.float32)
    validation = packed.life % 4 == 0
    model = VarianceModel.fit(hidden, residual, validation, entered, regime, np.array([False]))
    found = model.deviation(hidden, entered)[:, 0]
    for kind, least, most in ((0, 0.9, 1.1), (1, 2.5, 3.3), (2, 0.9, 1.1), (-1, 2.8, 5.2)):
        assert least < found[entered == kind].mean() < most


def test_a_variance_follows_the_hidden_layer_where_that_helps() -> None:
    rng, packed = np.random.default_rng(7), Packed(np.full(40, 100))
    hidden = rng.normal(size=(len(packed.life), 2)).astype(np.float32)
    deviation = np.exp(hidden[:, :1] / 2)
    residual = np.repeat(rng.normal(size=deviation.shape) * deviation, 2, axis=1)
    regime, validation = np.zeros(len(hidden), dtype=np.int64), packed.life % 4 == 0
    none = np.zeros_like(regime)
    model = VarianceModel.fit(hidden, residual, validation, none, regime, np.array([False, True]))
    found = model.deviation(hidden, none)
    assert np.corrcoef(np.log(found[:, 0]), hidden[:, 0])[0, 1] > 0.99
    assert np.ptp(found[:, 1]) == 0  # the column that is to be constant
    relative = model.relative(hidden)[:, 0]
    assert 0 < relative.min() < 0.1 and relative.max() == pytest.approx(1)
