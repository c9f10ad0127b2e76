"""Step variance: how widely each column scatters in a row, so that the network need not learn
it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints

ROUNDS = 25  # of Fisher scoring
MAX_ROWS = 50_000  # to fit to: more hardly change so few coefficients
SHRINK = 0.003  # of the rows, as ridge
MIN_GAIN = 0.005  # nats a row, on validation rows, for a column's variance to vary
MIN_VARIANCE = 1e-8
BOUND = 8.0  # of a row's working residual, so that one odd reading does not carry a column away


@dataclass
class VarianceModel:
    """The variance of each column in a row, given the last hidden layer of the degradation curve.

    The log variance is linear in the layer (Harvey 1976): `coefficients` (inputs + 1, columns),
    kept within `lowest` and `highest` (columns,), the range of the training rows.
    """

    coefficients: Floats
    lowest: Floats
    highest: Floats

    @classmethod
    def fit(
        cls,
        hidden: NDArray[np.float32],
        residual: Floats,
        validation: NDArray[np.bool_],
        constant: NDArray[np.bool_],
    ) -> VarianceModel:
        """Fit to residuals by the gamma regression of their squares (Smyth 1989).

        `residual` is (rows, columns), NaN where missing, `hidden` (rows, inputs). A column that is
        `constant` (columns,), or whose `validation` rows (rows,) are predicted no better, keeps one
        variance.
        """
        some = sample_rows(len(hidden))
        hidden, validation = hidden[some], validation[some]
        square = np.maximum(residual[some] ** 2, MIN_VARIANCE)  # NaN where missing
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
        return cls(coefficients, found.min(axis=0), found.max(axis=0))

    def deviation(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the standard deviation of each column in each row, (rows, columns)."""
        weights = self.coefficients.astype(np.float32)
        log = hidden @ weights[:-1] + weights[-1]
        return np.exp(np.clip(log, self.lowest, self.highest) / 2).astype(np.float32)

    def relative(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the standard deviation of each column in each row over its largest one: (rows,
        columns) within (0, 1]."""
        return (self.deviation(hidden) / np.exp(self.highest / 2)).astype(np.float32)


def sample_rows(rows: int) -> Ints:
    """Return the numbers of all rows, or where they are many of some drawn evenly."""
    if rows <= MAX_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).permutation(rows)[:MAX_ROWS])


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
