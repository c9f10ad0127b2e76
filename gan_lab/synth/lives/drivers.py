"""What drives a machine and is not driven by it: columns such as a load that drifts.

The other columns follow a driver as it is and as it was in the rows before (distributed lags, Almon
1965), so it is drawn first and the degradation curve is told of it, as it is told of the regimes:
else a temperature is as warm as its load makes it only on average. A driver without memory is none:
what it does to its own row is tied exactly by `dependence`, and its past by `past`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_lab.errors import BadParameter
from gan_lab.synth.lives import row_context as situation
from gan_lab.synth.lives.memory import past_of, ridge, some_lives
from gan_lab.synth.lives.packed import Floats, Packed
from gan_lab.synth.lives.wear_curve import Curve

LAGS = (0.0, *situation.LAGS)  # decays of averages of a driver: now, and over 2 to 50 rows
MOST_DRIVERS = 3
FEWEST_LIVES = 8  # that tell what wears
LATE = 0.2  # of a life: its last fifth, where wear shows
SURE, WORN = 3.0, 0.1  # standard errors, and spreads, that a column changes late in life, if worn
LEAST_MEMORY = 0.25  # of a driver's variance, to be said by its own past
MOST_TOLD = 0.3  # of what a driver's past says of another: the most that another's says of it
LEAST_LAG = 0.1  # of what a driver as it is leaves of a column, to be explained by it as it was
LEAST_DRIVEN = 0.15  # of what drivers already chosen leave of a column, to be explained by it


@dataclass
class Drivers:
    """`tracks` (drivers,) are their places among the columns of numbers, `center` and `spread`
    (drivers,) of all their readings."""

    tracks: NDArray[np.int64]
    center: Floats
    spread: Floats

    @classmethod
    def of(
        cls,
        wanted: str,
        names: list[str],
        candidates: NDArray[np.bool_],
        numbers: Floats,
        features: NDArray[np.float32],
        packed: Packed,
        asked: NDArray[np.bool_],
    ) -> Drivers:
        """Return the drivers that are `wanted`: "none", names with commas, or "auto", see `find`.

        Raises `BadParameter` for a name that is not among the `candidates` (columns,).
        """
        if wanted == "auto":
            found = find(candidates, numbers, features, packed, asked)
        else:
            able = {name: place for place, name in enumerate(names) if candidates[place]}
            listed = [wanted] if wanted in able else [name.strip() for name in wanted.split(",")]
            chosen = dict.fromkeys(listed if wanted != "none" else [])
            for name in chosen:
                if name not in able:
                    raise BadParameter(
                        f"Column {name!r} cannot be a driver: that is a column of numbers that "
                        "move, without gaps, and no counter. There are: "
                        f"{', '.join(able) or 'none'}."
                    )
            found = [able[name] for name in chosen]
        tracks = np.array(found, dtype=np.int64)
        return cls(tracks, numbers[:, tracks].mean(axis=0), numbers[:, tracks].std(axis=0) + 1e-12)

    def __bool__(self) -> bool:
        return len(self.tracks) > 0

    def among(self, columns: int) -> NDArray[np.bool_]:
        """Return which of so many columns are drivers, (columns,)."""
        return np.isin(np.arange(columns), self.tracks)

    @property
    def width(self) -> int:
        """How many numbers a row is told of the drivers."""
        return len(LAGS) * len(self.tracks)

    def told(self, numbers: Floats, packed: Packed) -> NDArray[np.float32]:
        """Return what a row is told of the drivers, (rows, `width`), from the numbers (rows,
        columns) of whole lives."""
        scaled = (numbers[:, self.tracks] - self.center) / self.spread
        return packed.averages(scaled, LAGS).astype(np.float32)

    def levels(
        self,
        curve: Curve,
        features: NDArray[np.float32],
        w: NDArray[np.float32],
        numbers: Floats | None,
        packed: Packed,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the curve's value of rows (rows, columns) and its last hidden layer; of columns
        other than drivers these follow the drivers among the `numbers`, where they are known."""
        untold = np.zeros((len(features), self.width), dtype=np.float32)
        value, hidden = curve.levels(np.concatenate([features, untold, w], axis=1))
        if not self or numbers is None:
            return value, hidden
        first = value[:, self.tracks]
        told = self.told(numbers, packed)
        value, hidden = curve.levels(np.concatenate([features, told, w], axis=1))
        value[:, self.tracks] = first
        return value, hidden


def find(
    candidates: NDArray[np.bool_],
    numbers: Floats,
    features: NDArray[np.float32],
    packed: Packed,
    asked: NDArray[np.bool_],
) -> list[int]:
    """Choose drivers among the `candidates` (columns,).

    A driver does not wear and remembers; its past says of another column what that one's own does
    not (Granger 1969), and the others' pasts say far less of it (something where its sensor is
    noisy, for what it drives is a second reading of it); and what it drives follows it as it was,
    not only as it is. The one that explains most comes first. `numbers` is (rows, columns),
    `features` (rows, n) what else is told of a row but wear. Rows that are `asked` decide; few
    lives do not tell what wears.
    """
    if not candidates.any() or len(packed.order) < FEWEST_LIVES:
        return []
    some = some_lives(packed, asked)
    packed = Packed(np.unique(packed.life[some], return_counts=True)[1])
    center, spread = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0) + 1e-12
    asked, scaled = asked[some], np.nan_to_num((numbers[some] - center) / spread)
    known = np.concatenate([features[some], np.ones((len(scaled), 1))], axis=1, dtype=np.float64)
    left = scaled - known @ ridge(known[~asked], scaled[~asked])
    left -= _sums(left, packed)[packed.life] / np.diff(packed.starts)[packed.life, None]
    own, with_other = _Errors(past_of(left, packed), left, asked).missed(own=True)
    remembers = own < (left[asked] ** 2).sum(axis=0) * (1 - LEAST_MEMORY)
    said = np.maximum(1 - with_other / own, 0.0)
    free = candidates & ~_worn(left, packed) & remembers
    told = said.max(axis=0) / np.maximum(said.max(axis=1), 1e-9)
    free &= told < MOST_TOLD
    errors = _Errors(packed.averages(left, LAGS), left, asked)
    lagging = errors.missed()[1] < (1 - LEAST_LAG) * _Errors(left, left, asked).missed()[1]
    chosen: list[int] = []
    while free.any() and len(chosen) < MOST_DRIVERS:
        before, beside = errors.missed(chosen)
        gains = np.where(lagging & (beside < (1 - LEAST_DRIVEN) * before), 1 - beside / before, 0.0)
        np.fill_diagonal(gains, 0.0)
        driving = gains.sum(axis=1) * (1 - told) * free  # of two readings of it the cleaner one
        if not driving.any():
            break
        chosen.append(int(driving.argmax()))
        free[chosen] = False
    return chosen


class _Errors:
    """How far linear terms miss columns, from sums over rows alone; `terms` (rows, n x columns) are
    n of each column."""

    def __init__(self, terms: Floats, left: Floats, asked: NDArray[np.bool_]) -> None:
        self.columns = left.shape[1]
        self.lags = np.arange(terms.shape[1] // self.columns) * self.columns
        self.sums = []
        for rows in (~asked, asked):
            mine, wanted = terms[rows], left[rows]
            self.sums.append((mine.T @ mine, mine.T @ wanted, (wanted**2).sum(axis=0)))
        self.ridge = 1.0 + 1e-5 * (~asked).sum()

    def missed(self, known: Sequence[int] = (), own: bool = False) -> tuple[Floats, Floats]:
        """Return the sums of squares, of rows that are asked, that terms of the `known` columns and
        of each its own leave, (columns,), and that another's beside these leave, (columns of the
        other, columns)."""
        before, beside = np.empty(self.columns), np.empty((self.columns, self.columns))
        others = np.arange(self.columns)[:, None]
        for column in range(self.columns):
            base = np.array([[*known, *[column] * own]], dtype=np.int64)
            before[column] = self._missed(column, base)[0]
            whose = np.concatenate([np.tile(base, (self.columns, 1)), others], axis=1)
            beside[:, column] = self._missed(column, whose)
        return before, beside

    def _missed(self, column: int, whose: NDArray[np.int64]) -> Floats:
        """Return the sum of squares of rows asked that each set of columns leaves, (sets,)."""
        lines = (self.lags[:, None] + whose[:, None, :]).reshape(len(whose), -1)
        across = lines[:, :, None], lines[:, None, :]
        (gram, with_it, _), (asked, asked_with, square) = self.sums
        shrunk = gram[across] + self.ridge * np.eye(lines.shape[1])
        found = np.linalg.solve(shrunk, with_it[lines, column][..., None])[..., 0]
        missed = square[column] - 2 * (found * asked_with[lines, column]).sum(axis=1)
        return np.asarray(missed + np.einsum("si,sij,sj->s", found, asked[across], found)) + 1e-9


def _worn(left: Floats, packed: Packed) -> NDArray[np.bool_]:
    """Return which columns change late in life more than lives by chance do."""
    rows = np.diff(packed.starts)
    late = packed.age >= (1 - LATE) * rows[packed.life]
    early, lately = (
        _sums(left * mine[:, None], packed) / np.maximum(_sums(mine, packed), 1)[:, None]
        for mine in (~late, late)
    )
    change = lately - early
    error = change.std(axis=0) / np.sqrt(len(rows)) + 1e-12
    size = np.abs(change.mean(axis=0))
    return np.asarray((size > SURE * error) & (size > WORN * left.std(axis=0)))


def _sums(values: NDArray[Any], packed: Packed) -> Floats:
    """Return the sums over the rows of each life."""
    return np.add.reduceat(values, packed.starts[:-1], axis=0, dtype=np.float64)
