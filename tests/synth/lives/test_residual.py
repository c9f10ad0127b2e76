"""Residuals become noise in training, and noise residuals in drawing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from gan_lab.schema import Roles
from gan_lab.synth.lives.packed import Packed
from tests.synth.lives.tables import (
    draw,
    fit,
)


def test_drawn_residuals_are_like_those_of_the_training() -> None:
    """Levels, memory and a dependence between columns all come back."""
    rng, packed = np.random.default_rng(0), Packed(np.full(40, 60))
    common = lfilter([1.0], [1.0, -0.8], rng.normal(size=(40, 60)), axis=1).reshape(-1)
    table = pd.DataFrame({"unit": packed.life, "t": packed.age, "a": common})
    table["b"] = 3 * common + rng.normal(size=40)[packed.life] + 0.1 * rng.normal(size=2_400)
    drawn = draw(fit(table, Roles(life="unit", time="t"), epochs=10), lives=80)
    for rows in (table, drawn):
        assert rows.groupby("unit")["a"].apply(lambda x: x.autocorr(1)).mean() > 0.6
        assert rows["a"].corr(rows["b"]) > 0.9
    assert drawn["a"].std() == pytest.approx(table["a"].std(), rel=0.15)
