"""Wear: from nothing to failure by each law."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.synth.simulator.wear import wear


@pytest.mark.parametrize("law", ["exponential", "power", "paris"])
def test_wear_grows_from_nothing_to_failure(law: str) -> None:
    progress = np.linspace(0, 1, 101)
    for exponent in (1.5, 2.0, 3.0, 6.0):
        damage = wear(law, progress, np.full(101, exponent))
        assert damage[0] == pytest.approx(0) and damage[-1] == pytest.approx(1)
        assert (np.diff(damage) > 0).all()
