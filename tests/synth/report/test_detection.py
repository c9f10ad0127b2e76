"""The classifier that tells two samples apart, asked about units that it has never seen."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.synth.report.detection import two_sample_test


def units(seed: int, count: int = 40, rows: int = 25, shift: float = 0.0):
    """Points of units that each lie around a place of their own, the first column shifted."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(count), rows)
    points = rng.normal(size=(count, 3))[unit] + rng.normal(0, 0.1, (len(unit), 3))
    points[:, 0] += shift
    return points.astype(np.float32), unit


def test_what_units_have_of_their_own_gives_no_sample_away() -> None:
    areas = [two_sample_test(units(seed), units(seed + 100)) for seed in range(4)]
    assert np.mean(areas) < 0.65
    rows = [(points, np.arange(len(unit))) for points, unit in (units(0), units(100))]
    assert two_sample_test(*rows) > 0.95  # by rows they are told apart by their places


@pytest.mark.parametrize(("shift", "low", "high"), [(1.0, 0.6, 0.9), (4.0, 0.95, 1.0)])
def test_a_shift_is_seen(shift: float, low: float, high: float) -> None:
    auc = two_sample_test(units(0), units(1, shift=shift))
    assert auc is not None and low < auc <= high


def test_two_halves_need_two_units_of_each() -> None:
    assert two_sample_test(units(0, count=1), units(1)) is None
