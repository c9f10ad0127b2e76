"""The last correction: what is drawn takes, in each regime, the values that training rows take.

Quantile mapping (Panofsky and Brier 1968), as climate models are corrected: a rising map of each
column brings the distribution of a large draw to the one seen. Which value is high and which is
low, and how columns go together, stays. Only what so few lives can tell is corrected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gan_lab.synth.lives.packed import Floats, Ints

DRAWN_ROWS = 40_000
MOST_ROWS = 50_000  # of the training lives: more tell nothing new
KNOTS = 65
FEWEST_LIVES = 8  # that tell by how much lives differ
SURE = 2.0  # variances of a difference that its square must exceed to count
ATOM = 0.1  # share of rows of one value that is kept as such


@dataclass
class Readings:
    """Numbers (rows, columns; NaN: missing), the regime and the life of each row."""

    numbers: Floats
    regime: Ints
    life: Ints

    def some(self) -> Readings:
        """Return whole lives drawn at random, so many that memory and time stay small."""
        rows = np.bincount(self.life)
        order = np.random.default_rng(0).permutation(len(rows))
        enough = np.cumsum(rows[order]) - rows[order] >= MOST_ROWS
        enough[:FEWEST_LIVES] = False
        kept = np.zeros(len(rows), dtype=bool)
        kept[order[~enough]] = True
        mine = kept[self.life]
        return Readings(self.numbers[mine], self.regime[mine], self.life[mine])


@dataclass
class Calibration:
    """The maps, straight between `drawn` and `seen`, both (regimes, columns, knots); all zero where
    a column stays as it is."""

    drawn: Floats
    seen: Floats

    @classmethod
    def none(cls, regimes: int, columns: int) -> Calibration:
        """Return the maps that leave everything as it is."""
        return cls(*np.zeros((2, regimes, columns, KNOTS)))

    @classmethod
    def fit(cls, drawn: Readings, seen: Readings, steps: list[float], regimes: int) -> Calibration:
        """Compare a draw with the training lives; `steps` are of each column's grid, 0: none."""
        found, seen = cls.none(regimes, len(steps)), seen.some()
        for regime in range(regimes):
            sides = [(side, side.regime == regime) for side in (drawn, seen)]
            for column, step in enumerate(steps):
                ours, theirs = (
                    _known(side.numbers[mine, column], side.life[mine]) for side, mine in sides
                )
                if min(_lives(ours), _lives(theirs)) >= FEWEST_LIVES:
                    found.drawn[regime, column], found.seen[regime, column] = _map(
                        ours, theirs, step
                    )
        return found

    def of(self, columns: Ints) -> Calibration:
        """Return the maps of these columns alone."""
        return Calibration.none(*self.drawn.shape[:2]).with_those(self, columns)

    def with_those(self, other: Calibration, columns: Ints) -> Calibration:
        """Return the maps, these columns' being those of the other."""
        drawn, seen = self.drawn.copy(), self.seen.copy()
        drawn[:, columns], seen[:, columns] = other.drawn[:, columns], other.seen[:, columns]
        return Calibration(drawn, seen)

    def corrected(self, numbers: Floats, regime: Ints) -> Floats:
        """Return drawn numbers (rows, columns) as they are seen; NaN stays."""
        found = numbers.copy()
        for each, column in zip(*np.nonzero(self.drawn[..., 0] < self.drawn[..., -1]), strict=True):
            mine = np.flatnonzero(regime == each)
            found[mine, column] = np.interp(
                numbers[mine, column], self.drawn[each, column], self.seen[each, column]
            )
        return found


Column = tuple[Floats, Ints]  # values and the life of each


def _known(values: Floats, life: Ints) -> Column:
    known = np.isfinite(values)
    return values[known], np.unique(life[known], return_inverse=True)[1]


def _lives(column: Column) -> int:
    return int(column[1].max(initial=-1)) + 1


def _map(ours: Column, theirs: Column, step: float) -> tuple[Floats, Floats]:
    """Return knots of the drawn values and where each is seen.

    At each value the shares of rows up to it are compared. Where the seen share differs by more
    than chance would have it, it is believed, less that (a positive-part James-Stein estimate),
    and that there is nothing beyond the values seen, wholly.
    """
    drawn, seen = ours[0], theirs[0]
    levels, counts = np.unique(seen, return_counts=True)
    atoms = levels[counts > ATOM * len(seen)]
    rounded = step * (np.random.default_rng(0).random(len(seen)) - 0.5)
    seen = np.where(np.isin(seen, atoms), seen, seen + rounded)
    even = np.r_[0.0, (np.arange(KNOTS - 2) + 0.5) / (KNOTS - 2), 1.0]
    knots: Floats = np.asarray(np.quantile(drawn, even))
    if knots[0] == knots[-1]:
        return knots, knots
    before = np.r_[atoms, seen.min()] - 1e-9 * (knots[-1] - knots[0])
    grid = np.unique(np.r_[knots, np.quantile(seen, even), atoms, before])
    share, error = _shares((drawn, ours[1]), grid)
    wanted, unsure = _shares((seen, theirs[1]), grid)
    # As few of the drawn lives may differ as much: that none of those seen does says little.
    unsure = np.maximum(unsure, error * _lives(ours) / _lives(theirs))
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
    (values, life), lives, width = column, _lives(column), len(grid) + 1
    counts = np.bincount(life * width + np.searchsorted(grid, values), minlength=lives * width)
    below = counts.reshape(lives, width).cumsum(axis=1)
    share = np.asarray(below[:, :-1].sum(axis=0) / len(values))
    strays = below[:, :-1] - share * below[:, -1:]
    return share, (strays**2).sum(axis=0) / len(values) ** 2 * lives / (lives - 1)
