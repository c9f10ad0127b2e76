"""Step variance: how widely each column scatters in a row, so that the network need not learn
it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints, Packed, Real

ROUNDS = 25  # of Fisher scoring
MAX_ROWS = 50_000  # to fit to: more hardly change so few coefficients
REGIME_ROWS = 2_000  # at least, of each regime that has them
SHRINK = 0.003  # of the rows, as ridge
MIN_GAIN = 0.005  # nats a row, on validation rows, for a column's variance to vary
MIN_VARIANCE = 1e-8
ENTRY_ROWS = 20.0  # how many rows that enter a regime make half of their own factor
MIN_FACTOR, MAX_FACTOR = 0.01, 100.0  # of the variance of rows that enter a regime
BOUND = 8.0  # of a row's working residual, so that one odd reading does not carry a column away


@dataclass
class VarianceModel:
    """The variance of each column in a row, given the last hidden layer of the degradation curve.

    The log variance is linear in the layer (Harvey 1976): `coefficients` (inputs + 1, columns),
    kept within `lowest` and `highest` (columns,), the range of the training rows. Rows that the
    autoregression predicts less well have a factor of their own: `entry` (1 + regimes + 1,
    columns), see `entries`.
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
        validation: NDArray[np.bool_],
        entered: Ints,
        regime: Ints,
        constant: NDArray[np.bool_],
    ) -> VarianceModel:
        """Fit to residuals by the gamma regression of their squares (Smyth 1989).

        `residual` is (rows, columns), NaN where missing, `hidden` (rows, inputs), `entered` (rows,)
        of `entries`. A column that is `constant` (columns,), or whose `validation` rows (rows,) are
        predicted no better, keeps one variance.
        """
        square = np.maximum(residual**2, MIN_VARIANCE)  # NaN where missing
        entry = _entry_factors(square, entered, regime)
        some = sample_rows(regime)
        hidden, validation = hidden[some], validation[some]
        square = square[some] / entry[entered[some]]
        mean = np.log(_mean(square, empty=1.0))
        coefficients = np.zeros((hidden.shape[1] + 1, residual.shape[1]))
        coefficients[-1] = mean
        inputs = np.concatenate([hidden, np.ones((len(hidden), 1))], axis=1, dtype=np.float64)
        if validation.any() and (~validation).sum() > 2 * hidden.shape[1]:
            varying = _gamma_regression(inputs[~validation], square[~validation], mean)
            predicted = inputs[validation] @ varying
            gain = _loss(mean, square[validation]) - _loss(predicted, square[validation])
            better = (gain > MIN_GAIN) & ~constant
            coefficients[:, better] = varying[:, better]
        found = inputs @ coefficients
        return cls(coefficients, found.min(axis=0), found.max(axis=0), entry)

    def deviation(self, hidden: NDArray[np.float32], entered: Ints) -> NDArray[np.float32]:
        """Return the standard deviation of each column in each row, (rows, columns)."""
        weights = self.coefficients.astype(np.float32)
        log = hidden @ weights[:-1] + weights[-1]
        log = np.clip(log, self.lowest, self.highest) + np.log(self.entry)[entered]
        return np.exp(log / 2).astype(np.float32)

    def relative(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the standard deviation of each column in each row over its largest one: (rows,
        columns) within (0, 1]."""
        plain = self.deviation(hidden, np.zeros(len(hidden), dtype=np.int64))
        return (plain / np.exp(self.highest / 2)).astype(np.float32)


def entries(regime: Ints, packed: Packed) -> Ints:
    """Return, life by life, 0 for most rows, 1 + its regime for one that enters a regime, and -1
    for the first row of a life: the rows before say less of these."""
    entered = np.where(np.diff(regime, prepend=-1) != 0, 1 + regime, 0)
    return np.asarray(np.where(packed.age == 0, -1, entered))


def before_rounding(deviation: NDArray[Real], step: Floats) -> Floats:
    """Return the standard deviation to draw with, so that rounding to a grid of this step, which
    adds a twelfth of its square to the variance (Sheppard 1898), makes it that of the rows.

    A step wider than two standard deviations is left alone: there the rule does not hold.
    """
    ratio = (step / np.maximum(deviation, 1e-12)) ** 2
    return np.asarray(deviation * np.sqrt(1 - np.where(ratio <= 4, ratio, 0.0) / 12))


def sample_rows(regime: Ints) -> Ints:
    """Return the numbers of all rows, or where they are many of some drawn evenly, with enough of
    every rare regime."""
    if len(regime) <= MAX_ROWS:
        return np.arange(len(regime))
    order = np.random.default_rng(0).permutation(len(regime))
    rare = [order[regime[order] == number][:REGIME_ROWS] for number in np.unique(regime)]
    return np.unique(np.concatenate([order[:MAX_ROWS], *rare]))


def _entry_factors(square: Floats, entered: Ints, regime: Ints) -> Floats:
    """Return the mean square of rows that enter each regime, and of lives' first rows, over that of
    the other rows in their regime: (1 + regimes + 1, columns)."""
    regimes = int(regime.max(initial=0)) + 1
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
    return np.clip(found, MIN_FACTOR, MAX_FACTOR)


def _mean(values: Floats, empty: float) -> Floats:
    """Return the mean of each column's known values; `empty` where there are none."""
    count = np.isfinite(values).sum(axis=0)
    return np.where(count, np.nansum(values, axis=0) / np.maximum(count, 1), empty)


def _gamma_regression(inputs: Floats, square: Floats, constant: Floats) -> Floats:
    """Return coefficients of the log mean of squares, (inputs, columns), by Fisher scoring: under
    the log link every row weighs the same, so one matrix serves all columns and rounds."""
    ridge = np.full(inputs.shape[1], SHRINK * len(inputs))
    ridge[-1] = 0.0
    solve = np.linalg.solve(inputs.T @ inputs + np.diag(ridge), inputs.T)
    found = np.zeros((inputs.shape[1], square.shape[1]))
    found[-1] = constant
    for _ in range(ROUNDS):
        log = inputs @ found
        working = np.nan_to_num(np.minimum(square * np.exp(-log) - 1, BOUND))
        found = solve @ (log + working)
    return found


def _loss(log: Floats, square: Floats) -> Floats:
    """Return the mean negative log likelihood of each column under these log variances, nats."""
    return _mean(0.5 * (log + square * np.exp(-log)), empty=0.0)
