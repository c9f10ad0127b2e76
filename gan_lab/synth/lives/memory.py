"""What the residuals of a row owe to those before it: a vector autoregression over averages.

Each column is predicted linearly from the row before and exponential averages of those before that
(Corsi 2009 cascades averages likewise), its own or those of all columns, alike in all regimes or by
regime (threshold autoregression, Tong 1983): of all rows before, or of those in the same regime,
for what drives a machine while it runs says nothing while it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints, Packed, Real

PAST = (0.0, 0.5, 0.8, 0.95)  # the row before, and averages of those before it
LEAST_GAIN = 0.01  # of a residual's variance, to be worth a coefficient
POOLED_ROWS = 100.0  # how many rows of its own make a regime's coefficients as heavy as all rows'
MOST_SETS = 12  # of coefficients: more regimes have one
FIT_ROWS = 100_000  # to fit to: more tell so few coefficients nothing new
BLOCK_ROWS = 100_000  # whose past is held in memory at once, or that of one longer life
SHOCK_LIVES, SHOCK_ROWS = 20, 300


def past_of(values: NDArray[Real], packed: Packed, decays: Sequence[float] = PAST) -> NDArray[Real]:
    """Return the exponential averages of what comes before each row, (rows, decays x columns)."""
    averages = packed.averages(values, decays)
    past = np.zeros_like(averages)
    later = np.flatnonzero(packed.age > 0)
    past[later] = averages[later - 1]
    return past


def same_regime_past_of(values: NDArray[Real], packed: Packed, regime: Ints) -> NDArray[Real]:
    """Return the same of the rows before that were in the row's own regime, however long ago."""
    kind = packed.life * (int(regime.max(initial=0)) + 1) + regime
    order = np.argsort(kind, kind="stable")
    found = np.empty((len(values), len(PAST) * values.shape[1]), dtype=values.dtype)
    found[order] = past_of(values[order], Packed(np.unique(kind, return_counts=True)[1]))
    return found


@dataclass
class Past:
    """`coefficients` (regimes or 1, 8 x columns, columns): on the row before and its averages, of
    all rows and then of those in the same regime; `still` (regimes, columns): where a column takes
    one value only, and its residual is 0."""

    coefficients: Floats
    still: NDArray[np.bool_]

    @classmethod
    def fit(
        cls,
        residual: Floats,
        packed: Packed,
        regime: Ints,
        still: NDArray[np.bool_],
        asked: NDArray[np.bool_],
        drivers: Ints | None = None,
    ) -> Past:
        """Fit by ridge regression to residuals (rows, columns); `regime` is of each row.

        Per column: none, its own past, or that of all columns, in all regimes or by regime,
        whichever predicts the `asked` rows best by a margin; of `drivers`, these alone. Shrunk
        until a shock dies away.
        """
        regimes, columns = still.shape
        best = cls(np.zeros((1, 8 * columns, columns)), still)
        chosen = some_lives(packed, asked)
        residual, regime, asked = residual[chosen], regime[chosen], asked[chosen]
        packed = Packed(np.unique(packed.life[chosen], return_counts=True)[1])
        later = packed.age > 0
        by_regime = 1 < regimes <= MOST_SETS
        past = _past(residual, packed, regime, by_regime)
        taught = past[~asked & later], residual[~asked & later], regime[~asked & later]
        held = past[asked & later], residual[asked & later], regime[asked & later]
        if not len(taught[0]) or not len(held[0]):
            return best
        own, of_all = (cls(np.zeros_like(best.coefficients), still) for _ in range(2))
        every, same = slice(0, 4 * columns), slice(4 * columns, 8 * columns)
        for column in range(columns):
            lines = column + columns * np.arange(4)
            own.coefficients[0, lines, column] = ridge(taught[0][:, lines], taught[1][:, column])
        of_all.coefficients[0, every] = ridge(taught[0][:, every], taught[1])
        candidates = [own, of_all]
        if by_regime:
            candidates += [of_all._by_regime(*taught, lines) for lines in (every, same)]
        error = (held[1] ** 2).mean(axis=0) + 1e-12
        for candidate in candidates:
            tried = ((held[1] - candidate.says(held[0], held[2])) ** 2).mean(axis=0)
            better = tried < error * (1 - LEAST_GAIN)
            if better.any():
                best = cls(np.where(better, candidate.coefficients, best.coefficients), still)
                error = np.where(better, tried, error)
        if drivers is not None and len(drivers):
            alone = cls.fit(residual[:, drivers], packed, regime, still[:, drivers], asked)
            best = best._led_by(drivers, alone)
        best = cls(np.stack([_stable(each) for each in best.coefficients]), still)
        return best._calmed(packed, regime) if best.by_regime else best

    def _calmed(self, packed: Packed, regime: Ints) -> Past:
        """Return coefficients shrunk until a shock also dies away where regimes take turns: each
        may be stable, and their product not."""
        lives = np.minimum(np.diff(packed.starts)[:SHOCK_LIVES], SHOCK_ROWS)
        rows = (packed.life < len(lives)) & (packed.age < SHOCK_ROWS)
        some, columns = Packed(lives), self.still.shape[1]
        regime = regime[rows][some.index]
        shock = np.zeros((len(regime), columns))
        shock[: len(lives)] = np.random.default_rng(0).normal(size=(len(lives), columns))
        late = some.age[some.index] >= SHOCK_ROWS // 3
        found, bound = self, np.full(columns, 1e9)
        for _ in range(40):
            left = np.abs(found.together(shock, some, regime, -bound, bound)[late])
            if left.max(initial=0.0) <= np.abs(shock).max(initial=0.0):
                break
            found = Past(found.coefficients * 0.97, self.still)
        return found

    def _led_by(self, drivers: Ints, alone: Past) -> Past:
        """Return the same, but these columns follow their own past `alone`."""
        columns = self.still.shape[1]
        sets = max(len(self.coefficients), len(alone.coefficients))
        found = np.repeat(self.coefficients, sets // len(self.coefficients), axis=0)
        lines = (np.arange(8)[:, None] * columns + drivers).ravel()
        found[:, :, drivers] = 0.0
        found[:, lines[:, None], drivers] = alone.coefficients
        return Past(found, self.still)

    def _by_regime(self, past: Floats, residual: Floats, regime: Ints, lines: slice) -> Past:
        """Return coefficients of each regime on some lines, shrunk towards those of all rows."""
        found = np.zeros((len(self.still), *self.coefficients.shape[1:]))
        found[:, lines] = self.coefficients[0, : found.shape[1] // 2]
        for number in range(len(found)):
            mine = past[regime == number][:, lines]
            left = residual[regime == number] - mine @ found[number, lines]
            found[number, lines] += ridge(mine, left, POOLED_ROWS)
        return Past(found, self.still)

    def __bool__(self) -> bool:
        return bool(self.coefficients.any())

    @property
    def by_regime(self) -> bool:
        """Whether regimes have coefficients of their own."""
        return len(self.coefficients) > 1

    def says(self, past: Floats, regime: Ints) -> Floats:
        """Return what the past says of rows in their regimes, (rows, columns); `past` may end
        before the part of the same regime where nothing depends on it."""
        known = self.coefficients[:, : past.shape[1]]
        if not self.by_regime:
            return np.asarray(past @ known[0])
        found = np.empty((len(past), known.shape[2]))
        for number in np.unique(regime):
            mine = regime == number
            found[mine] = past[mine] @ known[number]
        return found

    def innovations(self, residual: Floats, packed: Packed, regime: Ints) -> Floats:
        """Return what the past does not say of residuals, life by life."""
        if not self:
            return residual
        found = np.empty_like(residual)
        for rows, part in _blocks(packed):
            past = _past(residual[rows], part, regime[rows], self.by_regime)
            found[rows] = residual[rows] - self.says(past, regime[rows])
        found[self.still[regime]] = 0.0
        return found

    def together(
        self, innovation: Floats, packed: Packed, regime: Ints, lowest: Floats, highest: Floats
    ) -> Floats:
        """Return residuals, row by row for all lives at once, within limits; rows are packed."""
        moving = ~self.still[regime]
        if not self:
            return np.clip(innovation, lowest, highest) * moving
        found, columns = np.empty_like(innovation), innovation.shape[1]
        by_regime, lives = self.by_regime, packed.slices[0][1]
        decay = np.repeat(PAST, columns)
        every = np.zeros((lives, 4 * columns))
        same = np.zeros((lives, len(self.coefficients), 4 * columns))
        known = np.zeros((lives, len(self.coefficients), 1), dtype=bool)
        for step, (a, b) in enumerate(packed.slices):
            past, here = every[: b - a], (np.arange(b - a), regime[a:b])
            if by_regime:
                past = np.concatenate([past, same[here]], axis=1)
            now = np.clip(innovation[a:b] + self.says(past, regime[a:b]), lowest, highest)
            found[a:b] = now = now * moving[a:b]
            row = np.tile(now, 4)
            every = row if step == 0 else decay * every[: b - a] + (1 - decay) * row
            if by_regime:
                same[here] = np.where(known[here], decay * same[here] + (1 - decay) * row, row)
                known[here] = True
        return found


def _past(residual: Floats, packed: Packed, regime: Ints, by_regime: bool) -> Floats:
    past = past_of(residual, packed)
    if not by_regime:
        return past
    return np.concatenate([past, same_regime_past_of(residual, packed, regime)], axis=1)


def some_lives(packed: Packed, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return all rows, or where they are many the first ones of some lives drawn at random: a third
    of lives with rows that are asked."""
    if len(packed.life) <= FIT_ROWS:
        return np.ones(len(packed.life), dtype=bool)
    rows = np.minimum(np.diff(packed.starts), FIT_ROWS // 4)
    having = np.logical_or.reduceat(asked, packed.starts[:-1])
    chosen = np.zeros(len(rows), dtype=bool)
    for mine, share in ((having, 1 / 3), (~having, 2 / 3)):
        order = np.random.default_rng(1).permutation(np.flatnonzero(mine))
        before = np.cumsum(rows[order]) - rows[order]
        chosen[order[before < share * FIT_ROWS]] = True
    return np.asarray(chosen[packed.life] & (packed.age < FIT_ROWS // 4))


def _blocks(packed: Packed) -> Iterator[tuple[slice, Packed]]:
    """Yield the rows of so many whole lives at a time that memory stays small."""
    lives, block = np.diff(packed.starts), packed.starts[:-1] // BLOCK_ROWS
    for number in np.unique(block):
        mine = np.flatnonzero(block == number)
        rows = slice(int(packed.starts[mine[0]]), int(packed.starts[mine[-1] + 1]))
        yield rows, Packed(lives[mine])


def ridge(past: Floats, residual: Floats, rows: float = 1.0) -> Floats:
    """Return regression coefficients (terms, columns), shrunk as by so many rows of nothing."""
    gram = past.T @ past + (1e-3 * len(past) + rows) * np.eye(past.shape[1])
    return np.asarray(np.linalg.solve(gram, past.T @ residual))


def _stable(coefficients: Floats) -> Floats:
    """Shrink the coefficients until the recursion's spectral radius is below 1."""
    columns = coefficients.shape[1]
    if not coefficients.any():
        return coefficients
    both = len(coefficients) // 2
    keep = np.kron(np.diag(PAST), np.eye(columns))
    take = np.kron(np.array([[1 - decay] for decay in PAST]), np.eye(columns))
    for _ in range(40):
        radius = np.abs(
            np.linalg.eigvals(keep + take @ (coefficients[:both] + coefficients[both:]).T)
        ).max()
        if radius < 0.998:
            break
        coefficients = coefficients * 0.97
    return coefficients
