"""The last correction: in each regime drawn numbers take the values that training rows take.

Quantile mapping (Panofsky and Brier 1968), as climate models are corrected: a rising map of each
column brings the distribution of a large draw to that of the training rows. Which value is high and
which is low, and how columns go together, stays. Only differences beyond the chance of so few lives
are corrected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gan_lab.synth.lives.packed import Floats, Ints

DRAWN_ROWS = 40_000
MAX_ROWS = 50_000  # of the training lives: more change nothing
KNOTS = 65
MIN_LIVES = 8  # to estimate by how much lives differ
SURE = 2.0  # variances of a difference that its square must exceed to count
ATOM = 0.1  # share of rows of one value that is kept as such


@dataclass
class Readings:
    """Numbers (rows, columns; NaN: missing), the regime and the life of each row."""

    numbers: Floats
    regime: Ints
    life: Ints

    def sample(self) -> Readings:
        """Return whole lives drawn at random, so many that memory and time stay small."""
        rows = np.bincount(self.life)
        order = np.random.default_rng(0).permutation(len(rows))
        enough = np.cumsum(rows[order]) - rows[order] >= MAX_ROWS
        enough[:MIN_LIVES] = False
        kept = np.zeros(len(rows), dtype=bool)
        kept[order[~enough]] = True
        mine = kept[self.life]
        return Readings(self.numbers[mine], self.regime[mine], self.life[mine])

    def column(self, regime: int, column: int) -> Column:
        """Return the known values of a column in a regime, and the life of each."""
        values = self.numbers[:, column]
        mine = (self.regime == regime) & np.isfinite(values)
        return Column(values[mine], np.unique(self.life[mine], return_inverse=True)[1])


@dataclass
class Column:
    """Values (rows,) and the life of each, numbered from 0."""

    values: Floats
    life: Ints

    @property
    def lives(self) -> int:
        """How many lives there are."""
        return int(self.life.max(initial=-1)) + 1


@dataclass
class Calibration:
    """The maps, piecewise linear from `drawn` to `seen`, both (regimes, columns, knots); all zero
    where a column stays as it is."""

    drawn: Floats
    seen: Floats

    @classmethod
    def identity(cls, regimes: int, columns: int) -> Calibration:
        """Return the maps that leave everything as it is."""
        return cls(*np.zeros((2, regimes, columns, KNOTS)))

    @classmethod
    def fit(cls, drawn: Readings, seen: Readings, steps: list[float], regimes: int) -> Calibration:
        """Compare a draw with the training lives; `steps` are of each column's grid, 0: none."""
        found, seen = cls.identity(regimes, len(steps)), seen.sample()
        for regime in range(regimes):
            for column, step in enumerate(steps):
                ours, theirs = (side.column(regime, column) for side in (drawn, seen))
                if min(ours.lives, theirs.lives) >= MIN_LIVES:
                    found.drawn[regime, column], found.seen[regime, column] = _map(
                        ours, theirs, step
                    )
        return found

    def with_columns(self, other: Calibration, columns: Ints) -> Calibration:
        """Return the maps, these columns' being those of the other."""
        drawn, seen = self.drawn.copy(), self.seen.copy()
        drawn[:, columns], seen[:, columns] = other.drawn[:, columns], other.seen[:, columns]
        return Calibration(drawn, seen)

    def transform(self, numbers: Floats, regime: Ints) -> Floats:
        """Return drawn numbers (rows, columns), corrected; NaN stays."""
        found = numbers.copy()
        for each, column in zip(*np.nonzero(self.drawn[..., 0] < self.drawn[..., -1]), strict=True):
            mine = np.flatnonzero(regime == each)
            found[mine, column] = np.interp(
                numbers[mine, column], self.drawn[each, column], self.seen[each, column]
            )
        return found


def _map(ours: Column, theirs: Column, step: float) -> tuple[Floats, Floats]:
    """Return knots of the drawn values and where the training rows have each.

    At each value the shares of rows up to it are compared. Where they differ by more than chance,
    the training rows' is believed, less that (a positive-part James-Stein estimate); that there is
    nothing beyond the values of the training rows is believed wholly.
    """
    drawn, seen = ours.values, theirs.values
    levels, counts = np.unique(seen, return_counts=True)
    atoms = levels[counts > ATOM * len(seen)]
    unrounded = seen + step * (np.random.default_rng(0).random(len(seen)) - 0.5)
    seen = np.where(np.isin(seen, atoms), seen, unrounded)
    even = np.r_[0.0, (np.arange(KNOTS - 2) + 0.5) / (KNOTS - 2), 1.0]
    knots: Floats = np.asarray(np.quantile(drawn, even))
    if knots[0] == knots[-1]:
        return knots, knots
    before = np.r_[atoms, seen.min()] - 1e-9 * (knots[-1] - knots[0])
    grid = np.unique(np.r_[knots, np.quantile(seen, even), atoms, before])
    share, error = _shares(ours, grid)
    wanted, unsure = _shares(Column(seen, theirs.life), grid)
    # As few of the drawn lives may differ as much: that none of those seen does says little.
    unsure = np.maximum(unsure, error * ours.lives / theirs.lives)
    gap = wanted - share
    belief = np.maximum(0.0, 1 - SURE * (error + unsure) / np.maximum(gap**2, 1e-300))
    belief[(belief > 0) & ((wanted == 0) | (wanted == 1))] = 1.0
    gap *= belief
    corrected = np.maximum.accumulate(np.clip(share + gap, 0.0, 1.0))
    place = np.minimum(np.interp(knots, grid, share), 1 - 1e-9)
    return knots, np.maximum.accumulate(np.interp(place, corrected, grid))


def _shares(column: Column, grid: Floats) -> tuple[Floats, Floats]:
    """Return the share of values up to each point, and its variance where lives are independent
    and their rows are not (Liang and Zeger 1986)."""
    lives, width = column.lives, len(grid) + 1
    bins = column.life * width + np.searchsorted(grid, column.values)
    below = np.bincount(bins, minlength=lives * width).reshape(lives, width).cumsum(axis=1)
    share = np.asarray(below[:, :-1].sum(axis=0) / len(column.values))
    errors = below[:, :-1] - share * below[:, -1:]
    return share, (errors**2).sum(axis=0) / len(column.values) ** 2 * lives / (lives - 1)
