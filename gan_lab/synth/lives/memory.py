"""Step memory: a vector autoregression of residuals over averages of the rows before.

Each column is predicted linearly from the row before and exponential averages of those before that
(Corsi 2009 cascades averages likewise), its own or those of all columns, alike in all regimes or by
regime (threshold autoregression, Tong 1983): of all rows before, or of those in the same regime,
for what drives a machine while it runs says nothing while it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints, Packed, Real

DECAYS = (0.0, 0.5, 0.8, 0.95)  # the row before, and averages of those before it
MIN_GAIN = 0.01  # of a residual's variance, to be worth a coefficient
POOLED_ROWS = 100.0  # how many rows of its own make a regime's coefficients as heavy as all rows'
MAX_REGIMES = 12  # with coefficients of their own: more share one set
FIT_ROWS = 100_000  # to fit to: more hardly change so few coefficients
BLOCK_ROWS = 100_000  # whose averages are held in memory at once, or those of one longer life
SHOCK_LIVES, SHOCK_ROWS = 20, 300  # in which a shock must die away
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


def past_averages_in_regime(values: NDArray[Real], packed: Packed, regime: Ints) -> NDArray[Real]:
    """Return the same of the rows before that were in the row's own regime, however long ago."""
    key = packed.life * (int(regime.max(initial=0)) + 1) + regime
    order = np.argsort(key, kind="stable")
    found = np.empty((len(values), len(DECAYS) * values.shape[1]), dtype=values.dtype)
    found[order] = past_averages(values[order], Packed(np.unique(key, return_counts=True)[1]))
    return found


@dataclass
class Autoregression:
    """`coefficients` (regimes or 1, 8 x columns, columns) on the averages of the rows before, of
    all of them and then of those in the same regime; `fixed` (regimes, columns): where a column
    takes one value only, and its residual is 0; `lowest` and `highest` residual (columns,)."""

    coefficients: Floats
    fixed: NDArray[np.bool_]
    lowest: Floats
    highest: Floats

    @classmethod
    def fit(
        cls,
        residual: Floats,
        packed: Packed,
        regime: Ints,
        fixed: NDArray[np.bool_],
        validation: NDArray[np.bool_],
        drivers: Ints | None = None,
    ) -> Autoregression:
        """Fit by ridge regression to residuals (rows, columns); `regime` is of each row.

        Per column: none, its own averages, or those of all columns, in all regimes or by regime,
        whichever predicts the `validation` rows best by a margin; of `drivers`, these alone. Shrunk
        until a shock dies away.
        """
        limits = residual.min(axis=0, initial=0), residual.max(axis=0, initial=0)
        zeros = np.zeros((1, 8 * residual.shape[1], residual.shape[1]))
        chosen = sample_lives(packed, validation)
        residual, regime, validation = residual[chosen], regime[chosen], validation[chosen]
        packed = Packed(np.unique(packed.life[chosen], return_counts=True)[1])
        best = _best_coefficients(cls(zeros, fixed, *limits), residual, packed, regime, validation)
        if drivers is not None and len(drivers):
            alone = cls.fit(residual[:, drivers], packed, regime, fixed[:, drivers], validation)
            best = best._with_drivers(drivers, alone.coefficients)
        best = replace(best, coefficients=np.stack([_stable(each) for each in best.coefficients]))
        return best.stable_over_regimes(packed, regime) if best.by_regime else best

    def __bool__(self) -> bool:
        return bool(self.coefficients.any())

    @property
    def by_regime(self) -> bool:
        """Whether regimes have coefficients of their own."""
        return len(self.coefficients) > 1

    def predict(self, past: Floats, regime: Ints) -> Floats:
        """Return the expected residuals of rows in their regimes, (rows, columns); `past` may end
        before the part of the same regime where nothing depends on it."""
        known = self.coefficients[:, : past.shape[1]]
        if not self.by_regime:
            return np.asarray(past @ known[0])
        found = np.empty((len(past), known.shape[2]))
        for number in np.unique(regime):
            mine = regime == number
            found[mine] = past[mine] @ known[number]
        return found

    def transform(self, residual: Floats, packed: Packed, regime: Ints) -> Floats:
        """Return the innovations of residuals: what the rows before do not predict, life by
        life."""
        if not self:
            return residual
        found = np.empty_like(residual)
        for rows, part in _blocks(packed):
            past = _inputs(residual[rows], part, regime[rows], self.by_regime)
            found[rows] = residual[rows] - self.predict(past, regime[rows])
        found[self.fixed[regime]] = 0.0
        return found

    def inverse_transform(self, innovation: Floats, packed: Packed, regime: Ints) -> Floats:
        """Return the residuals of innovations, life by life, within `lowest` and `highest`: row by
        row for all lives at once."""
        innovation, regime = packed.pack(innovation), packed.pack(regime)
        moving = ~self.fixed[regime]
        if not self:
            return packed.unpack(np.clip(innovation, self.lowest, self.highest) * moving)
        found, columns = np.empty_like(innovation), innovation.shape[1]
        by_regime, lives = self.by_regime, len(packed.rows)
        decay = np.repeat(DECAYS, columns)
        every = np.zeros((lives, 4 * columns))
        same = np.zeros((lives, len(self.coefficients), 4 * columns))
        known = np.zeros((lives, len(self.coefficients), 1), dtype=bool)
        for step, (a, b) in enumerate(packed.slices):
            past, here = every[: b - a], (np.arange(b - a), regime[a:b])
            if by_regime:
                past = np.concatenate([past, same[here]], axis=1)
            now = innovation[a:b] + self.predict(past, regime[a:b])
            found[a:b] = now = np.clip(now, self.lowest, self.highest) * moving[a:b]
            row = np.tile(now, 4)
            every = row if step == 0 else decay * every[: b - a] + (1 - decay) * row
            if by_regime:
                same[here] = np.where(known[here], decay * same[here] + (1 - decay) * row, row)
                known[here] = True
        return packed.unpack(found)

    def _with_drivers(self, drivers: Ints, alone: Floats) -> Autoregression:
        """Return the same, but with the coefficients of drivers on their own averages `alone`."""
        columns = self.fixed.shape[1]
        sets = max(len(self.coefficients), len(alone))
        found = np.repeat(self.coefficients, sets // len(self.coefficients), axis=0)
        lines = (np.arange(8)[:, None] * columns + drivers).ravel()
        found[:, :, drivers] = 0.0
        found[:, lines[:, None], drivers] = alone
        return replace(self, coefficients=found)

    def stable_over_regimes(self, packed: Packed, regime: Ints) -> Autoregression:
        """Return coefficients shrunk until a shock also dies away where regimes take turns: each
        may be stable, and their product not."""
        lives = np.minimum(packed.rows[:SHOCK_LIVES], SHOCK_ROWS)
        rows = (packed.life < len(lives)) & (packed.age < SHOCK_ROWS)
        some, regime, bound = Packed(lives), regime[rows], np.full(self.fixed.shape[1], 1e9)
        shock = np.zeros((len(regime), len(bound)))
        shock[: len(lives)] = np.random.default_rng(0).normal(size=(len(lives), len(bound)))
        shock = some.unpack(shock)  # of the first row of each life
        found = replace(self, lowest=-bound, highest=bound)
        for _ in range(MAX_SHRINKS):
            drawn = found.inverse_transform(shock, some, regime)[some.age >= SHOCK_ROWS // 3]
            if np.abs(drawn).max(initial=0.0) <= np.abs(shock).max(initial=0.0):
                break
            found = replace(found, coefficients=found.coefficients * SHRINK)
        return replace(self, coefficients=found.coefficients)


def _best_coefficients(
    none: Autoregression,
    residual: Floats,
    packed: Packed,
    regime: Ints,
    validation: NDArray[np.bool_],
) -> Autoregression:
    """Return, column by column, the coefficients that predict the validation rows best."""
    regimes, columns = none.fixed.shape
    later = packed.age > 0
    by_regime = 1 < regimes <= MAX_REGIMES
    past = _inputs(residual, packed, regime, by_regime)
    train = past[~validation & later], residual[~validation & later], regime[~validation & later]
    held = past[validation & later], residual[validation & later], regime[validation & later]
    if not len(train[0]) or not len(held[0]):
        return none
    own, pooled = (np.zeros_like(none.coefficients) for _ in range(2))
    every, same = slice(0, 4 * columns), slice(4 * columns, 8 * columns)
    for column in range(columns):
        lines = column + columns * np.arange(4)
        own[0, lines, column] = ridge(train[0][:, lines], train[1][:, column])
    pooled[0, every] = ridge(train[0][:, every], train[1])
    candidates = [own, pooled]
    if by_regime:
        candidates += [_coefficients_by_regime(pooled, *train, regimes, s) for s in (every, same)]
    best, error = none.coefficients, (held[1] ** 2).mean(axis=0) + 1e-12
    for candidate in candidates:
        predicted = replace(none, coefficients=candidate).predict(held[0], held[2])
        tried = ((held[1] - predicted) ** 2).mean(axis=0)
        better = tried < error * (1 - MIN_GAIN)
        if better.any():
            best, error = np.where(better, candidate, best), np.where(better, tried, error)
    return replace(none, coefficients=best)


def _coefficients_by_regime(
    pooled: Floats, past: Floats, residual: Floats, regime: Ints, regimes: int, lines: slice
) -> Floats:
    """Return coefficients of each regime on some lines, shrunk towards those of all rows."""
    found = np.zeros((regimes, *pooled.shape[1:]))
    found[:, lines] = pooled[0, : found.shape[1] // 2]
    for number in range(regimes):
        mine = past[regime == number][:, lines]
        left = residual[regime == number] - mine @ found[number, lines]
        found[number, lines] += ridge(mine, left, POOLED_ROWS)
    return found


def _inputs(residual: Floats, packed: Packed, regime: Ints, by_regime: bool) -> Floats:
    past = past_averages(residual, packed)
    if not by_regime:
        return past
    return np.concatenate([past, past_averages_in_regime(residual, packed, regime)], axis=1)


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


def _blocks(packed: Packed) -> Iterator[tuple[slice, Packed]]:
    """Yield the rows of so many whole lives at a time that memory stays small."""
    block = packed.starts[:-1] // BLOCK_ROWS
    for number in np.unique(block):
        mine = np.flatnonzero(block == number)
        rows = slice(int(packed.starts[mine[0]]), int(packed.starts[mine[-1] + 1]))
        yield rows, Packed(packed.rows[mine])


def ridge(inputs: Floats, target: Floats, rows: float = 1.0) -> Floats:
    """Return regression coefficients (inputs, columns), shrunk as by so many rows of nothing."""
    gram = inputs.T @ inputs + (1e-3 * len(inputs) + rows) * np.eye(inputs.shape[1])
    return np.asarray(np.linalg.solve(gram, inputs.T @ target))


def _stable(coefficients: Floats) -> Floats:
    """Shrink the coefficients until the recursion's spectral radius is below 1."""
    columns = coefficients.shape[1]
    if not coefficients.any():
        return coefficients
    both = len(coefficients) // 2
    keep = np.kron(np.diag(DECAYS), np.eye(columns))
    take = np.kron(np.array([[1 - decay] for decay in DECAYS]), np.eye(columns))
    for _ in range(MAX_SHRINKS):
        total = coefficients[:both] + coefficients[both:]
        if np.abs(np.linalg.eigvals(keep + take @ total.T)).max() < MAX_RADIUS:
            break
        coefficients = coefficients * SHRINK
    return coefficients
