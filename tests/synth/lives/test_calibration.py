"""What is drawn takes the values that are seen, and no more is corrected than so few lives tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from gan_lab.synth.lives.calibration import KNOTS, MAX_ROWS, MIN_LIVES, Calibration, Readings
from gan_lab.synth.lives.packed import Floats

ROWS = 100  # of each life


def readings(numbers: Floats) -> Readings:
    """Return lives of one regime whose rows these are, one column."""
    rows = np.arange(len(numbers))
    return Readings(numbers[:, None], np.zeros_like(rows), rows // ROWS)


def fitted(drawn: Floats, seen: Floats, step: float = 0.0) -> Calibration:
    return Calibration.fit(readings(drawn), readings(seen), [step], 1)


def corrected(calibration: Calibration, numbers: Floats) -> Floats:
    return calibration.transform(numbers[:, None], np.zeros(len(numbers), dtype=np.int64))[:, 0]


def test_a_load_keeps_within_its_bounds_and_its_order() -> None:
    rng = np.random.default_rng(0)
    seen = rng.uniform(34, 81, 40 * ROWS).round(1)
    drawn, later = rng.normal(57.5, 13.5, (2, 200 * ROWS))
    found = corrected(fitted(drawn, seen, step=0.1), later)
    assert found.min() >= 33.9 and found.max() <= 81.1
    assert ks_2samp(later, seen).statistic > 0.05  # what it was
    assert ks_2samp(found, seen).statistic < 0.025
    order = np.argsort(later)
    assert (np.diff(found[order]) >= 0).all()


def test_rest_is_rest() -> None:
    """A reading that is often exactly zero is so as often."""
    rng = np.random.default_rng(1)
    seen = np.maximum(rng.normal(0.0, 0.4, 40 * ROWS), 0.0).round(2)
    drawn = rng.normal(seen.mean(), seen.std(), 200 * ROWS)
    found = corrected(fitted(drawn, seen, step=0.01), drawn).round(2)
    assert (found == 0).mean() == pytest.approx((seen == 0).mean(), abs=0.02)


def test_who_the_training_lives_were_is_no_pattern() -> None:
    """Twenty lives at twenty levels say little of levels: the gaps between them stay filled."""
    rng = np.random.default_rng(2)
    levels = rng.normal(0, 1, 20)
    seen = np.repeat(levels, ROWS) + rng.normal(0, 0.02, 20 * ROWS)
    drawn = np.repeat(rng.normal(0, 1, 400), ROWS) + rng.normal(0, 0.02, 400 * ROWS)
    found = corrected(fitted(drawn, seen), drawn)

    def near_one(values: Floats) -> float:
        return float((np.abs(values[:, None] - levels).min(axis=1) < 0.04).mean())

    assert near_one(seen) > 0.9  # what a map to all that is seen would make of it
    assert near_one(found) < near_one(drawn) + 0.1 < 0.7
    alike = np.repeat(rng.normal(0, 1, 4000), ROWS)[:: ROWS // 5]  # as many rows that do tell
    told = corrected(Calibration.fit(
        Readings(alike[:, None] * 1.5, np.zeros(len(alike), dtype=int), np.arange(len(alike)) // 9),
        Readings(alike[:, None], np.zeros(len(alike), dtype=int), np.arange(len(alike)) // 9),
        [0.0], 1,
    ), alike * 1.5)  # fmt: skip
    assert told.std() == pytest.approx(alike.std(), rel=0.03)


def test_few_lives_and_missing_values_are_left_alone() -> None:
    rng = np.random.default_rng(3)
    few = rng.uniform(0, 1, (MIN_LIVES - 1) * ROWS)
    many = rng.normal(0, 1, 100 * ROWS)
    assert not fitted(many, few).drawn.any() and not fitted(few, many).drawn.any()
    gappy = many.copy()
    gappy[::3] = np.nan
    found = corrected(fitted(gappy, rng.uniform(0, 1, 40 * ROWS)), gappy)
    assert (np.isnan(found) == np.isnan(gappy)).all() and np.nanmax(found) <= 1.0
    assert fitted(gappy, np.full(40 * ROWS, 7.0)).seen.shape == (1, 1, KNOTS)


def test_of_many_lives_some_tell() -> None:
    """A million lives of one row take no more memory than fifty thousand."""
    lives = np.arange(200_000)
    many = Readings(np.zeros((len(lives), 1)), np.zeros_like(lives), lives)
    assert len(many.sample().life) == MAX_ROWS
    long = Readings(np.zeros((900_000, 1)), np.zeros(900_000, dtype=int), lives[:9].repeat(100_000))
    assert len(np.unique(long.sample().life)) == MIN_LIVES
