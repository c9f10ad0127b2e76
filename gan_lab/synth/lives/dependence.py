"""Step dependence: how the columns of a row depend on one another, regime by regime.

A triangular map (Rosenblatt 1952) with linear and squared terms takes the plain part of the
dependence out, so that what one law ties together (currents and power) stays tied to the last
digit, and the network only has to learn what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints
from gan_lab.synth.lives.variance import sample_rows

MIN_GAIN = 0.01  # of a column's variance, to be worth coefficients
MIN_SCALE = 1e-4
SCALE_ROWS = 20  # more rows of a regime tell its own scale
POOLED_ROWS = 50.0  # of a regime, to weigh its coefficients like those of all regimes


@dataclass
class Dependence:
    """`order` of the columns; `coefficients` (regimes, 2 x columns, columns) of each column on the
    values and squares of those before it."""

    order: Ints
    coefficients: Floats
    scale: Floats  # (regimes, columns): standard deviation of what is left
    limit: Floats  # (columns,): squares are taken within the range of the training rows

    @classmethod
    def fit(cls, values: Floats, regime: Ints) -> Dependence:
        """Fit to rows (rows, columns) and their regimes; a column that gains under 1 % depends on
        none."""
        columns, regimes = values.shape[1], int(regime.max(initial=0)) + 1
        limit = np.abs(values).max(axis=0, initial=0.0)
        chosen = sample_rows(regime)
        values, regime = values[chosen], regime[chosen]
        correlated = np.nan_to_num(_correlation(values)) ** 2
        order = np.argsort(-correlated.sum(axis=0), kind="stable")
        coefficients = np.zeros((regimes, 2 * columns, columns))
        inputs = np.concatenate([values, values**2], axis=1)
        for place in range(1, columns):
            column, before = order[place], order[:place]
            target = values[:, column]
            for terms in (before, np.r_[before, before + columns]):
                pooled = _ridge(inputs[:, terms], target, np.zeros(len(terms)), 1e-4 * len(target))
                left = target - inputs[:, terms] @ pooled
                already = target - inputs @ coefficients[0, :, column]
                if (left**2).mean() < (1 - MIN_GAIN) * (already**2).mean():
                    coefficients[:, :, column] = 0.0
                    coefficients[:, terms, column] = pooled
            used = np.flatnonzero(coefficients[0, :, column])
            for number in range(regimes if regimes > 1 and len(used) else 0):
                mine = regime == number
                coefficients[number, used, column] = _ridge(
                    inputs[mine][:, used],
                    target[mine],
                    coefficients[number, used, column],
                    POOLED_ROWS,
                )
        self = cls(order, coefficients, np.ones((regimes, columns)), limit)
        left = self.transform(values, regime)
        overall = left.std(axis=0)
        for number in range(regimes):
            mine = left[regime == number]
            found = mine.std(axis=0) if len(mine) > SCALE_ROWS else overall
            self.scale[number] = np.maximum(found, MIN_SCALE)
        return self

    def transform(self, values: Floats, regime: Ints) -> Floats:
        """Return what the columns before it leave of each column, over its standard deviation."""
        inputs = np.concatenate([values, values**2], axis=1)
        found = np.empty_like(values)
        for number in np.unique(regime):
            mine = regime == number
            predicted = inputs[mine] @ self.coefficients[number]
            found[mine] = (values[mine] - predicted) / self.scale[number]
        return found

    def inverse_transform(self, left: Floats, regime: Ints, fixed: NDArray[np.bool_]) -> Floats:
        """Return the columns from what is left of each. Columns that are `fixed` (regimes, columns)
        are 0, as they were in the training rows."""
        found = np.empty_like(left)
        columns = left.shape[1]
        for number in np.unique(regime):
            mine = regime == number
            inputs = np.zeros((int(mine.sum()), 2 * columns))
            own = left[mine] * self.scale[number]
            for column in self.order[~fixed[number, self.order]]:
                value = own[:, column] + inputs @ self.coefficients[number, :, column]
                value = np.clip(value, -self.limit[column], self.limit[column])
                inputs[:, column], inputs[:, columns + column] = value, value**2
            found[mine] = inputs[:, :columns]
        return found


def _correlation(values: Floats) -> Floats:
    centered = values - values.mean(axis=0)
    spread = np.sqrt((centered**2).mean(axis=0)) + 1e-12
    return np.asarray(centered.T @ centered / max(len(values), 1) / np.outer(spread, spread))


def _ridge(inputs: Floats, target: Floats, towards: Floats, strength: float) -> Floats:
    """Return regression coefficients, shrunk towards given ones."""
    scale = (inputs**2).mean(axis=0) + 1e-9 if len(inputs) else np.ones(inputs.shape[1])
    gram = inputs.T @ inputs + np.diag(strength * scale)
    change = np.linalg.solve(gram, inputs.T @ (target - inputs @ towards))
    return np.asarray(towards + change)
