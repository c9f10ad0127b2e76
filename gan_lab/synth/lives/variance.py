"""How widely numbers scatter: alike at every level where a scale can make it so, and row by row.

A sensor that reads ten times as much often scatters ten times as much: a worn bearing's vibration,
a gas in oil. On a scale on which it scatters alike the degradation curve can be as exact for the
healthy machine as for the failing one. What then still differs from row to row is a variance that
the network need not learn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from gan_lab.synth.lives.packed import Floats, Ints, Packed, Real

LEAST_RATIO = 3.0  # of the scatter at one level to that at another, to be worth a scale
LEVELS, LEVEL_ROWS = 25, 40  # how many levels scatter is measured at, each from so many rows
SMALLEST, LARGEST = 0.01, 100.0  # of a column's mean scatter
KNOTS = 100
FOURTH_DIFFERENCE = (1, -4, 6, -4, 1)  # of neighbours: whatever is smooth is gone from it
REACH = 3  # rows to either side of a row that its scatter and level are read from

ROUNDS = 25
MOST_ROWS = 50_000  # to fit to: more tell so few coefficients nothing new
REGIME_ROWS = 2_000  # at least, of each regime that has them
SHRINK = 0.003  # of the rows, as ridge
LEAST_GAIN = 0.005  # nats a row, on lives that were not fitted to, for a column's variance to vary
LEAST_VARIANCE = 1e-8
ENTRY_ROWS = 20.0  # how many rows that enter a regime make half of their own scatter
BOUND = 8.0  # of a row's working residual, so that one odd reading does not carry a column away


@dataclass
class Scale:
    """A rising map from readings to a scale on which they scatter alike; without knots, itself."""

    readings: list[float] = field(default_factory=list)
    places: list[float] = field(default_factory=list)

    @classmethod
    def fit(cls, values: Floats, regime: Ints, packed: Packed) -> Scale:
        """Stabilise the variance of a column (AVAS, Tibshirani 1988): the slope at a level is one
        over the scatter there, read from fourth differences of neighbours in one regime."""
        level, scatter = _by_level(values, regime, packed)
        if not len(level) or np.ptp(np.log(scatter)) < np.log(LEAST_RATIO):
            return cls()
        known = values[np.isfinite(values)]
        even = np.linspace(known.min(), known.max(), KNOTS)
        readings = np.unique(np.r_[even, np.quantile(known, np.linspace(0, 1, KNOTS))])
        slope = np.exp(-np.interp(readings, level, np.log(scatter)))
        places = np.r_[0.0, np.cumsum(np.diff(readings) * (slope[1:] + slope[:-1]) / 2)]
        return cls(readings.tolist(), places.tolist())

    def place(self, readings: Floats) -> Floats:
        """Return the places of readings on the scale; NaN stays."""
        return np.interp(readings, self.readings, self.places) if self.readings else readings

    def reading(self, places: Floats) -> Floats:
        """Return the readings at places of the scale, within the range that was seen."""
        return np.interp(places, self.places, self.readings) if self.readings else places

    def slope(self, places: Floats) -> Floats:
        """Return how much of the scale a unit of the reading takes at these places."""
        if not self.readings:
            return np.ones_like(places)
        stretch = np.searchsorted(self.places, places).clip(1, len(self.places) - 1) - 1
        return np.asarray((np.diff(self.places) / np.diff(self.readings))[stretch])


def _by_level(values: Floats, regime: Ints, packed: Packed) -> tuple[Floats, Floats]:
    """Return levels, rising, and the mean scatter at each; none where too few rows tell."""
    kind = packed.life * (int(regime.max()) + 1) + regime
    known = np.isfinite(values)
    mine = [values[known & (regime == number)] for number in range(int(regime.max()) + 1)]
    still = [not len(some) or np.ptp(some) == 0 for some in mine]
    values = np.where(np.array(still)[regime], np.nan, values)
    for order in (np.arange(len(values)), np.lexsort((packed.age, kind))):
        same = np.cumsum(np.r_[True, np.diff(kind[order]) != 0])
        middle = np.arange(REACH, len(order) - REACH)
        middle = middle[same[middle - REACH] == same[middle + REACH]]
        if len(middle) > 20 * LEVEL_ROWS:  # else rows of one regime lie apart: follow the regime
            break
    rows = values[order]
    change = np.abs(sum(f * rows[middle + k - 2] for k, f in enumerate(FOURTH_DIFFERENCE)))
    level = (rows[middle - REACH] + rows[middle + REACH]) / 2
    moving = np.isfinite(change + level) & (change != 0)  # at rest it says nothing of its noise
    level, change = level[moving], change[moving]
    order = np.argsort(level, kind="stable")
    level, change = level[order], change[order]
    if len(level) < 10 * LEVEL_ROWS:
        return level[:0], level[:0]
    reach = np.log(len(level) / LEVEL_ROWS)  # the ends, where wear shows, are looked at closely
    shares = expit(np.linspace(-reach, reach, LEVELS))
    starts = np.unique(np.r_[0, (shares * len(level)).astype(int)])
    rows_each = np.diff(np.r_[starts, len(level)])
    place, first = np.unique(np.add.reduceat(level, starts) / rows_each, return_index=True)
    scatter = np.add.reduceat(change, starts) / rows_each / change.mean()
    log = np.log(np.clip(scatter, SMALLEST, LARGEST))
    smooth = np.convolve(np.pad(log, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    return place, np.exp(smooth[first])


@dataclass
class Scatter:
    """How widely each column scatters in a row, given what the curve sees last of it.

    The log variance is linear in that (Harvey 1976): `coefficients` (inputs + 1, columns), kept
    within `lowest` and `highest` (columns,), what the training rows have. Rows of which the past
    says less have a factor of their own: `entry` (1 + regimes + 1, columns), see `entries`.
    """

    coefficients: Floats
    lowest: Floats
    highest: Floats
    entry: Floats

    @classmethod
    def fit(
        cls,
        hidden: NDArray[np.float32],
        residual: Floats,
        asked: NDArray[np.bool_],
        entered: Ints,
        regime: Ints,
        regimes: int,
        alike: NDArray[np.bool_],
    ) -> Scatter:
        """Fit to residuals by the gamma regression of their squares (Smyth 1989).

        `residual` is (rows, columns), NaN where missing, `hidden` (rows, inputs), `entered` (rows,)
        what `entries` says. A column that is `alike` in all rows (columns,), or whose `asked` rows
        are told no better by it, keeps one variance.
        """
        square = np.maximum(residual**2, LEAST_VARIANCE)  # NaN where missing
        entry = _entry(square, entered, regime, regimes)
        some = some_rows(regime)
        hidden, asked = hidden[some], asked[some]
        square = square[some] / entry[entered[some]]
        constant = np.log(_mean(square, empty=1.0))
        coefficients = np.zeros((hidden.shape[1] + 1, residual.shape[1]))
        coefficients[-1] = constant
        known = np.concatenate([hidden, np.ones((len(hidden), 1))], axis=1, dtype=np.float64)
        if asked.any() and (~asked).sum() > 2 * hidden.shape[1]:
            tried = _gamma_regression(known[~asked], square[~asked], constant)
            told = known[asked] @ tried
            gain = _loss(constant, square[asked]) - _loss(told, square[asked])
            better = (gain > LEAST_GAIN) & ~alike
            coefficients[:, better] = tried[:, better]
        found = known @ coefficients
        return cls(coefficients, found.min(axis=0), found.max(axis=0), entry)

    def deviation(self, hidden: NDArray[np.float32], entered: Ints) -> NDArray[np.float32]:
        """Return the standard deviation of each column in each row, (rows, columns)."""
        weights = self.coefficients.astype(np.float32)
        log = hidden @ weights[:-1] + weights[-1]
        log = np.clip(log, self.lowest, self.highest) + np.log(self.entry)[entered]
        return np.exp(log / 2).astype(np.float32)

    def relative(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how widely each column scatters in each row, over what it does in the rows that
        scatter most: (rows, columns) within (0, 1]."""
        plain = self.deviation(hidden, np.zeros(len(hidden), dtype=np.int64))
        return (plain / np.exp(self.highest / 2)).astype(np.float32)


def entries(regime: Ints, packed: Packed) -> Ints:
    """Return, life by life, 0 for most rows, 1 + its regime for one that enters a regime, and one
    more than all of these for the first row of a life: of these the past says less."""
    entered = np.where(np.diff(regime, prepend=-1) != 0, 1 + regime, 0)
    return np.asarray(np.where(packed.age == 0, -1, entered))


def _entry(square: Floats, entered: Ints, regime: Ints, regimes: int) -> Floats:
    """Return the mean square of rows that enter each regime, and of lives' first rows, over that of
    the other rows in their regime: (1 + regimes + 1, columns)."""
    usual = np.empty((regimes, square.shape[1]))
    for number in range(regimes):
        mine = regime == number
        stays = mine & (entered == 0)
        usual[number] = _mean(square[stays if stays.sum() > ENTRY_ROWS else mine], empty=1.0)
    found = np.ones((regimes + 2, square.shape[1]))
    for kind in (*range(1, regimes + 1), -1):
        ratio = square[entered == kind] / usual[regime[entered == kind]]
        rows = np.isfinite(ratio).sum(axis=0)
        found[kind] = (np.nansum(ratio, axis=0) + ENTRY_ROWS) / (rows + ENTRY_ROWS)
    return np.clip(found, SMALLEST, LARGEST)


def before_rounding(deviation: NDArray[Real], step: Floats) -> Floats:
    """Return the standard deviation to draw with, so that rounding to a grid of this step, which
    adds a twelfth of its square to the variance (Sheppard 1898), makes it what was seen.

    A step wider than two standard deviations is left alone: there the rule does not hold.
    """
    ratio = (step / np.maximum(deviation, 1e-12)) ** 2
    return np.asarray(deviation * np.sqrt(1 - np.where(ratio <= 4, ratio, 0.0) / 12))


def some_rows(regime: Ints) -> Ints:
    """Return the numbers of all rows, or where they are many of some, drawn evenly; of a rare
    regime all, or as many as tell of it."""
    if len(regime) <= MOST_ROWS:
        return np.arange(len(regime))
    order = np.random.default_rng(0).permutation(len(regime))
    rare = [order[regime[order] == number][:REGIME_ROWS] for number in np.unique(regime)]
    return np.unique(np.concatenate([order[:MOST_ROWS], *rare]))


def _mean(values: Floats, empty: float = 0.0) -> Floats:
    """Return the mean of each column's known values."""
    count = np.isfinite(values).sum(axis=0)
    return np.where(count, np.nansum(values, axis=0) / np.maximum(count, 1), empty)


def _gamma_regression(known: Floats, square: Floats, constant: Floats) -> Floats:
    """Return coefficients of the log mean of squares, (inputs, columns), by Fisher scoring: under
    the log link every row weighs the same, so one matrix serves all columns and rounds."""
    ridge = np.full(known.shape[1], SHRINK * len(known))
    ridge[-1] = 0.0
    solve = np.linalg.solve(known.T @ known + np.diag(ridge), known.T)
    found = np.zeros((known.shape[1], square.shape[1]))
    found[-1] = constant
    for _ in range(ROUNDS):
        log = known @ found
        working = np.nan_to_num(np.minimum(square * np.exp(-log) - 1, BOUND))
        found = solve @ (log + working)
    return found


def _loss(log: Floats, square: Floats) -> Floats:
    """Return the mean negative log likelihood of each column under these log variances, nats."""
    return _mean(0.5 * (log + square * np.exp(-log)))
