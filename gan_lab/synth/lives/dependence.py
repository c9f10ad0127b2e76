"""Step dependence: how the columns of a row depend on one another.

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


@dataclass
class Dependence:
    """`order` of the columns; `coefficients` (2 x columns, columns) of each column on the values
    and squares of those before it."""

    order: Ints
    coefficients: Floats
    scale: Floats  # (columns,): standard deviation of what is left
    limit: Floats  # (columns,): squares are taken within the range of the training rows

    @classmethod
    def fit(cls, values: Floats) -> Dependence:
        """Fit to rows (rows, columns); a column that gains under 1 % depends on none."""
        columns = values.shape[1]
        limit = np.abs(values).max(axis=0, initial=0.0)
        values = values[sample_rows(len(values))]
        correlated = np.nan_to_num(_correlation(values)) ** 2
        order = np.argsort(-correlated.sum(axis=0), kind="stable")
        coefficients = np.zeros((2 * columns, columns))
        inputs = np.concatenate([values, values**2], axis=1)
        for place in range(1, columns):
            column, before = order[place], order[:place]
            target = values[:, column]
            for terms in (before, np.r_[before, before + columns]):
                found = _ridge(inputs[:, terms], target)
                left = target - inputs[:, terms] @ found
                already = target - inputs @ coefficients[:, column]
                if (left**2).mean() < (1 - MIN_GAIN) * (already**2).mean():
                    coefficients[:, column] = 0.0
                    coefficients[terms, column] = found
        scale = (values - inputs @ coefficients).std(axis=0)
        return cls(order, coefficients, np.maximum(scale, MIN_SCALE), limit)

    def transform(self, values: Floats) -> Floats:
        """Return what the columns before it leave of each column, over its standard deviation."""
        inputs = np.concatenate([values, values**2], axis=1)
        return np.asarray((values - inputs @ self.coefficients) / self.scale)

    def inverse_transform(self, left: Floats, fixed: NDArray[np.bool_]) -> Floats:
        """Return the columns from what is left of each. Where a row's column is `fixed` (rows,
        columns) it is 0, as it was in the training rows."""
        columns = left.shape[1]
        inputs, own = np.zeros((len(left), 2 * columns)), left * self.scale
        for column in self.order:
            value = own[:, column] + inputs @ self.coefficients[:, column]
            value = np.clip(value, -self.limit[column], self.limit[column])
            value[fixed[:, column]] = 0.0
            inputs[:, column], inputs[:, columns + column] = value, value**2
        return inputs[:, :columns]


def _correlation(values: Floats) -> Floats:
    centered = values - values.mean(axis=0)
    spread = np.sqrt((centered**2).mean(axis=0)) + 1e-12
    return np.asarray(centered.T @ centered / max(len(values), 1) / np.outer(spread, spread))


def _ridge(inputs: Floats, target: Floats) -> Floats:
    """Return regression coefficients, slightly shrunk."""
    scale = (inputs**2).mean(axis=0) + 1e-9
    gram = inputs.T @ inputs + np.diag(1e-4 * len(target) * scale)
    return np.asarray(np.linalg.solve(gram, inputs.T @ target))
