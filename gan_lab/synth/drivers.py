"""What drives a machine and is not driven by it: columns such as load and ambient temperature.

The other columns follow a driver as it is and as it was in the rows before (distributed lags, Almon
1965), so it is drawn first and the degradation curve is told of it, as it is told of the regimes:
else a temperature is as warm as its load makes it only on average. A driver without memory is none:
what it does to its own row is tied exactly by `dependence`, and its past by `past`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_lab.errors import BadParameter
from gan_lab.synth.degradation import Curve
from gan_lab.synth.past import past_of, ridge, some_lives
from gan_lab.synth.regimes import Floats, Packed

LAGS = (0.0, 0.5, 0.8, 0.95, 0.98)  # decays of averages of a driver: now, and over 2 to 50 rows
MOST_DRIVERS = 4  # where more seem to be, all columns have causes that none of them is
FEWEST_LIVES = 8  # that tell what wears
LATE = 0.2  # of a life: its last fifth, where wear shows
SURE = 3.0  # standard errors that a column changes late in life, to be worn
LEAST_MEMORY = 0.25  # of a driver's variance, to be said by its own past
LEAST_GAIN = 0.003  # of what its own past leaves of a column, to be said by another's
LEAST_DRIVEN = 0.05  # the same, to be driven by it


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
            found = []
            asked_for = [] if wanted == "none" else [name.strip() for name in wanted.split(",")]
            for name in dict.fromkeys(asked_for):
                if name not in able:
                    raise BadParameter(
                        f"Column {name!r} cannot be a driver: that is a column of numbers without "
                        f"gaps. There are: {', '.join(able) or 'none'}."
                    )
                found.append(able[name])
        tracks = np.array(found, dtype=np.int64)
        return cls(tracks, numbers[:, tracks].mean(axis=0), numbers[:, tracks].std(axis=0) + 1e-12)

    def __bool__(self) -> bool:
        return len(self.tracks) > 0

    @property
    def width(self) -> int:
        """How many numbers a row is told of the drivers."""
        return len(LAGS) * len(self.tracks)

    def told(self, numbers: Floats, packed: Packed) -> NDArray[np.float32]:
        """Return what a row is told of the drivers, (rows, 5 x drivers), from the numbers (rows,
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

    A driver does not wear and remembers; no other column's past says of it what its own does
    not; and its past says of another column what that one's own does not (Granger 1969). The
    one that says most comes first. `numbers` is (rows, columns), `features` (rows, n) what else
    is told of a row but wear. Rows that are `asked` decide; few lives do not tell what wears.
    """
    some = some_lives(packed, asked)
    packed = Packed(np.unique(packed.life[some], return_counts=True)[1])
    if not candidates.any() or len(packed.order) < FEWEST_LIVES:
        return []
    center, spread = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0) + 1e-12
    asked, scaled = asked[some], np.nan_to_num((numbers[some] - center) / spread)
    told = np.concatenate([features[some], np.ones((len(scaled), 1))], axis=1, dtype=np.float64)
    left = scaled - told @ ridge(told[~asked], scaled[~asked])
    left -= _sums(left, packed)[packed.life] / np.diff(packed.starts)[packed.life, None]
    errors = _Errors(past_of(left, packed), left, asked)
    chosen: list[int] = []
    free, known = candidates & ~_worn(left, packed), np.eye(len(center), dtype=bool)
    while free.any() and len(chosen) <= MOST_DRIVERS:
        gains = errors.gains(known, free)
        if not chosen:
            free &= (gains.max(axis=0) < LEAST_GAIN) & (errors.own() > LEAST_MEMORY)
        gains[:, chosen] = 0.0
        driving = np.where(gains > LEAST_DRIVEN, gains, 0.0).sum(axis=1) * free
        if not driving.any():
            break
        chosen.append(int(driving.argmax()))
        free[chosen], known[:, chosen] = False, True
    return chosen if len(chosen) <= MOST_DRIVERS else []


class _Errors:
    """How far linear terms miss columns, from sums over rows alone; `terms` (rows, n x columns) are
    n of each column."""

    def __init__(self, terms: Floats, left: Floats, asked: NDArray[np.bool_]) -> None:
        self.columns = left.shape[1]
        self.sums = [
            (terms[rows].T @ terms[rows], terms[rows].T @ left[rows], (left[rows] ** 2).sum(axis=0))
            for rows in (~asked, asked)
        ]
        self.ridge = 1.0 + 1e-5 * (~asked).sum()

    def gains(self, known: NDArray[np.bool_], some: NDArray[np.bool_]) -> Floats:
        """Return which share of what the terms of those `known` leave of a column, rows that are
        asked, another's explain: (columns of the other, columns); `known` (columns, columns) says
        for each column of which. 0 where neither is one of `some` (columns,)."""
        every = np.eye(self.columns, dtype=bool)
        before = [self._missed(column, known[column]) for column in range(self.columns)]
        found = np.zeros((self.columns, self.columns))
        for column, other in zip(*np.nonzero(~every & (some | some[:, None])), strict=True):
            missed = self._missed(column, known[column] | every[other])
            found[other, column] = 1 - missed / before[column]
        return found

    def own(self) -> Floats:
        """Return which share of each column its own terms explain on rows that are asked."""
        every = np.eye(self.columns, dtype=bool)
        missed = [self._missed(column, every[column]) for column in range(self.columns)]
        return 1 - np.array(missed) / (self.sums[1][2] + 1e-9)

    def _missed(self, column: int, whose: NDArray[np.bool_]) -> float:
        """Return the sum of squares that these columns' terms leave."""
        lines = np.flatnonzero(np.tile(whose, len(self.sums[0][0]) // self.columns))
        (gram, with_it, _), (asked, asked_with, square) = self.sums
        gram = gram[np.ix_(lines, lines)] + self.ridge * np.eye(len(lines))
        found = np.linalg.solve(gram, with_it[lines, column])
        missed = square[column] - 2 * found @ asked_with[lines, column]
        return float(missed + found @ asked[np.ix_(lines, lines)] @ found) + 1e-9


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
    return np.asarray(np.abs(change.mean(axis=0)) > SURE * error)


def _sums(values: NDArray[Any], packed: Packed) -> Floats:
    """Return the sums over the rows of each life."""
    return np.add.reduceat(values, packed.starts[:-1], axis=0, dtype=np.float64)
