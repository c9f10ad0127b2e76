"""Step memory: a vector autoregression of residuals over averages of the rows before.

Each column is predicted linearly from the row before and exponential averages of those before that
(Corsi 2009 cascades averages likewise): its own, or those of all columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints, Packed, Real

DECAYS = (0.0, 0.5, 0.8, 0.95)  # the row before, and averages of those before it
MIN_GAIN = 0.01  # of a residual's variance, to be worth a coefficient
FIT_ROWS = 100_000  # to fit to: more hardly change so few coefficients
SHRINK, MAX_SHRINKS = 0.97, 40  # factor of coefficients that are not stable, and how often
MAX_RADIUS = 0.998  # spectral radius of the recursion


def past_averages(
    values: NDArray[Real], packed: Packed, decays: Sequence[float] = DECAYS
) -> NDArray[Real]:
    """Return the exponential averages of the rows before each row, (rows, decays x columns)."""
    averages = packed.averages(values, decays)
    past = np.zeros_like(averages)
    later = np.flatnonzero(packed.age > 0)
    past[later] = averages[later - 1]
    return past


@dataclass
class Autoregression:
    """`coefficients` (4 x columns, columns) on the averages of the rows before; `fixed` (regimes,
    columns): where a column takes one value only, and its residual is 0; `lowest` and `highest`
    residual (columns,)."""

    coefficients: Floats
    fixed: NDArray[np.bool_]
    lowest: Floats
    highest: Floats

    @classmethod
    def fit(
        cls,
        residual: Floats,
        packed: Packed,
        fixed: NDArray[np.bool_],
        validation: NDArray[np.bool_],
        drivers: Ints | None = None,
    ) -> Autoregression:
        """Fit by ridge regression to residuals (rows, columns).

        Per column: none, its own averages, or those of all columns, whichever predicts the
        `validation` rows best by a margin; of `drivers`, these alone. Shrunk until a shock dies
        away.
        """
        limits = residual.min(axis=0, initial=0), residual.max(axis=0, initial=0)
        chosen = sample_lives(packed, validation)
        some = Packed(np.unique(packed.life[chosen], return_counts=True)[1])
        found = _best_coefficients(residual[chosen], some, validation[chosen])
        if drivers is not None and len(drivers):
            alone = _best_coefficients(residual[chosen][:, drivers], some, validation[chosen])
            lines = (np.arange(4)[:, None] * residual.shape[1] + drivers).ravel()
            found[:, drivers] = 0.0
            found[np.ix_(lines, drivers)] = alone
        return cls(_stable(found), fixed, *limits)

    def __bool__(self) -> bool:
        return bool(self.coefficients.any())

    def transform(self, residual: Floats, packed: Packed, regime: Ints) -> Floats:
        """Return the innovations of residuals: what the rows before do not predict, life by
        life."""
        if not self:
            return residual
        found, columns = residual.copy(), residual.shape[1]
        for place, decay in enumerate(DECAYS):  # one at a time, for memory
            lines = slice(place * columns, (place + 1) * columns)
            found -= past_averages(residual, packed, [decay]) @ self.coefficients[lines]
        found[self.fixed[regime]] = 0.0
        return found

    def inverse_transform(self, innovation: Floats, packed: Packed, regime: Ints) -> Floats:
        """Return the residuals of innovations, life by life, within `lowest` and `highest`: row by
        row for all lives at once."""
        innovation, moving = packed.pack(innovation), ~self.fixed[packed.pack(regime)]
        if not self:
            return packed.unpack(np.clip(innovation, self.lowest, self.highest) * moving)
        found, decay = np.empty_like(innovation), np.repeat(DECAYS, innovation.shape[1])
        past = np.zeros((len(packed.rows), len(decay)))
        for step, (a, b) in enumerate(packed.slices):
            now = innovation[a:b] + past[: b - a] @ self.coefficients
            found[a:b] = now = np.clip(now, self.lowest, self.highest) * moving[a:b]
            row = np.tile(now, len(DECAYS))
            past = row if step == 0 else decay * past[: b - a] + (1 - decay) * row
        return packed.unpack(found)


def _best_coefficients(residual: Floats, packed: Packed, validation: NDArray[np.bool_]) -> Floats:
    """Return, column by column, the coefficients that predict the validation rows best."""
    columns, later = residual.shape[1], packed.age > 0
    past = past_averages(residual, packed)
    train, held = ~validation & later, validation & later
    best = np.zeros((4 * columns, columns))
    if not train.any() or not held.any():
        return best
    own, pooled = np.zeros_like(best), ridge(past[train], residual[train])
    for column in range(columns):
        lines = column + columns * np.arange(4)
        own[lines, column] = ridge(past[train][:, lines], residual[train][:, column])
    error = (residual[held] ** 2).mean(axis=0) + 1e-12
    for candidate in (own, pooled):
        tried = ((residual[held] - past[held] @ candidate) ** 2).mean(axis=0)
        better = tried < error * (1 - MIN_GAIN)
        best, error = np.where(better, candidate, best), np.where(better, tried, error)
    return best


def sample_lives(packed: Packed, validation: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows to fit to: all, or where they are many the first ones of some lives drawn
    at random, a third of these with validation rows."""
    if len(packed.life) <= FIT_ROWS:
        return np.ones(len(packed.life), dtype=bool)
    rows = np.minimum(packed.rows, FIT_ROWS // 4)
    having = np.logical_or.reduceat(validation, packed.starts[:-1])
    chosen = np.zeros(len(rows), dtype=bool)
    for mine, share in ((having, 1 / 3), (~having, 2 / 3)):
        order = np.random.default_rng(1).permutation(np.flatnonzero(mine))
        before = np.cumsum(rows[order]) - rows[order]
        chosen[order[before < share * FIT_ROWS]] = True
    return np.asarray(chosen[packed.life] & (packed.age < FIT_ROWS // 4))


def ridge(inputs: Floats, target: Floats, rows: float = 1.0) -> Floats:
    """Return regression coefficients (inputs, columns), shrunk as by so many rows of nothing."""
    gram = inputs.T @ inputs + (1e-3 * len(inputs) + rows) * np.eye(inputs.shape[1])
    return np.asarray(np.linalg.solve(gram, inputs.T @ target))


def _stable(coefficients: Floats) -> Floats:
    """Shrink the coefficients until the recursion's spectral radius is below 1."""
    columns = coefficients.shape[1]
    if not coefficients.any():
        return coefficients
    keep = np.kron(np.diag(DECAYS), np.eye(columns))
    take = np.kron(np.array([[1 - decay] for decay in DECAYS]), np.eye(columns))
    for _ in range(MAX_SHRINKS):
        if np.abs(np.linalg.eigvals(keep + take @ coefficients.T)).max() < MAX_RADIUS:
            break
        coefficients = coefficients * SHRINK
    return coefficients
