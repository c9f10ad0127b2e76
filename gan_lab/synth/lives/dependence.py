"""How columns depend on one another within a row: each on those before it, regime by regime.

A triangular map (Rosenblatt 1952) with linear and squared terms takes the plain part of the
dependence out, so that what one law ties together (currents and power) stays tied to the last
digit, and the network only has to learn what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints
from gan_lab.synth.lives.variance import some_rows

LEAST_GAIN = 0.01
POOLED_ROWS = (
    50.0  # how many rows of its own make a regime's coefficients as heavy as the pooled ones
)
LEAST_SCALE = 1e-4


@dataclass
class Dependence:
    """`order` of the columns; `coefficients` (regimes, 2 x columns, columns) on values and
    squares."""

    order: Ints
    coefficients: Floats
    scale: Floats  # (regimes, columns): spread of what is left
    limit: Floats  # (columns,): squares are taken within the range seen

    @classmethod
    def fit(cls, values: Floats, regime: Ints, regimes: int) -> Dependence:
        """Fit to rows (rows, columns) and their regimes; a column that gains under 1 % stands
        alone."""
        columns = values.shape[1]
        limit = np.abs(values).max(axis=0, initial=0.0)
        chosen = some_rows(regime)
        values, regime = values[chosen], regime[chosen]
        correlated = np.nan_to_num(_correlation(values)) ** 2
        order = np.argsort(-correlated.sum(axis=0), kind="stable")
        coefficients = np.zeros((regimes, 2 * columns, columns))
        known = np.concatenate([values, values**2], axis=1)
        for place in range(1, columns):
            column, before = order[place], order[:place]
            target = values[:, column]
            for terms in (before, np.r_[before, before + columns]):
                pooled = _ridge(known[:, terms], target, np.zeros(len(terms)), 1e-4 * len(target))
                left = target - known[:, terms] @ pooled
                already = target - known @ coefficients[0, :, column]
                if (left**2).mean() < (1 - LEAST_GAIN) * (already**2).mean():
                    coefficients[:, :, column] = 0.0
                    coefficients[:, terms, column] = pooled
            used = np.flatnonzero(coefficients[0, :, column])
            for number in range(regimes if regimes > 1 and len(used) else 0):
                mine = regime == number
                coefficients[number, used, column] = _ridge(
                    known[mine][:, used],
                    target[mine],
                    coefficients[number, used, column],
                    POOLED_ROWS,
                )
        self = cls(order, coefficients, np.ones((regimes, columns)), limit)
        left = self.alone(values, regime)
        overall = left.std(axis=0)
        for number in range(regimes):
            mine = left[regime == number]
            found = mine.std(axis=0) if len(mine) > 20 else overall
            self.scale[number] = np.maximum(found, LEAST_SCALE)
        return self

    def alone(self, values: Floats, regime: Ints) -> Floats:
        """Return what is left of each column when those before it are known, in units of its
        spread."""
        known = np.concatenate([values, values**2], axis=1)
        found = np.empty_like(values)
        for number in np.unique(regime):
            mine = regime == number
            guess = known[mine] @ self.coefficients[number]
            found[mine] = (values[mine] - guess) / self.scale[number]
        return found

    def together(self, alone: Floats, regime: Ints, still: NDArray[np.bool_]) -> Floats:
        """Return the columns that what is left stands for: the inverse of `alone`. Columns that are
        `still` (regimes, columns) are 0, as they were when it was fitted."""
        found = np.empty_like(alone)
        columns = alone.shape[1]
        for number in np.unique(regime):
            mine = regime == number
            known = np.zeros((int(mine.sum()), 2 * columns))
            own = alone[mine] * self.scale[number]
            for column in self.order[~still[number, self.order]]:
                value = own[:, column] + known @ self.coefficients[number, :, column]
                value = np.clip(value, -self.limit[column], self.limit[column])
                known[:, column], known[:, columns + column] = value, value**2
            found[mine] = known[:, :columns]
        return found


def _correlation(values: Floats) -> Floats:
    centered = values - values.mean(axis=0)
    spread = np.sqrt((centered**2).mean(axis=0)) + 1e-12
    return np.asarray(centered.T @ centered / max(len(values), 1) / np.outer(spread, spread))


def _ridge(known: Floats, target: Floats, towards: Floats, strength: float) -> Floats:
    """Return regression coefficients, shrunk towards given ones."""
    scale = (known**2).mean(axis=0) + 1e-9 if len(known) else np.ones(known.shape[1])
    gram = known.T @ known + np.diag(strength * scale)
    change = np.linalg.solve(gram, known.T @ (target - known @ towards))
    return np.asarray(towards + change)
