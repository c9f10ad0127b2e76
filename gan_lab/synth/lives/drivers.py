"""What drives a machine and is not driven by it: columns such as a load that drifts.

The other columns follow a driver as it is and as it was in the rows before (distributed lags, Almon
1965), so it is drawn first and is an input of the degradation curve, as the regimes are: else a
temperature is as warm as its load makes it only on average. A column without memory is no driver:
what it does to its own row is tied exactly by `dependence`, and to later ones by `memory`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.errors import BadParameter
from gan_lab.synth.lives import row_context
from gan_lab.synth.lives.degradation_curve import Curve
from gan_lab.synth.lives.evidence import folds_of, without_wear
from gan_lab.synth.lives.memory import past_averages, ridge, sample_lives
from gan_lab.synth.lives.packed import Floats, Ints, Packed

LAGS = (0.0, *row_context.LAGS)  # decays of averages of a driver: now, and over 2 to 50 rows
MAX_DRIVERS = 3
MIN_LIVES = 8  # to find what wears
LATE = 0.2  # of a life: its last fifth, where wear shows
WEAR_ERRORS, WEAR_SPREADS = 3.0, 0.1  # that the mean of a column changes late in life, if it wears
MIN_MEMORY = 0.25  # of a driver's variance, explained by its own past
MAX_CAUSED = 0.3  # of what a driver's past explains of another: the most that another's does of it
MIN_LAG = 0.1  # of what a driver as it is leaves of a column, explained by it as it was
MIN_DRIVEN = 0.15  # of what drivers already chosen leave of a column, explained by it


@dataclass
class Drivers:
    """`tracks` (drivers,) are their places among the columns of numbers, `center` and `spread`
    (drivers,) of all their readings."""

    tracks: Ints
    center: Floats
    spread: Floats

    @classmethod
    def fit(cls, tracks: list[int], numbers: Floats) -> Drivers:
        """Return the drivers at these places of the numbers (rows, columns)."""
        values = numbers[:, tracks]
        return cls(
            np.array(tracks, dtype=np.int64), values.mean(axis=0), values.std(axis=0) + 1e-12
        )

    def __bool__(self) -> bool:
        return len(self.tracks) > 0

    def among(self, columns: int) -> NDArray[np.bool_]:
        """Return which of so many columns are drivers, (columns,)."""
        return np.isin(np.arange(columns), self.tracks)

    @property
    def width(self) -> int:
        """How many features of a row are of the drivers."""
        return len(LAGS) * len(self.tracks)

    def features(self, numbers: Floats, packed: Packed) -> NDArray[np.float32]:
        """Return averages of the drivers up to each row, (rows, `width`), from the numbers (rows,
        columns) of whole lives."""
        scaled = (numbers[:, self.tracks] - self.center) / self.spread
        return packed.averages(scaled, LAGS).astype(np.float32)

    def predict(
        self,
        curve: Curve,
        features: NDArray[np.float32],
        effects: NDArray[np.float32],
        numbers: Floats | None,
        packed: Packed,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the curve's value of rows (rows, columns) and its last hidden layer; columns other
        than drivers follow the drivers among the `numbers`, where these are known."""
        unknown = np.zeros((len(features), self.width), dtype=np.float32)
        value, hidden = curve.predict(np.concatenate([features, unknown], axis=1), effects)
        if not self or numbers is None:
            return value, hidden
        own = value[:, self.tracks]
        known = self.features(numbers, packed)
        value, hidden = curve.predict(np.concatenate([features, known], axis=1), effects)
        value[:, self.tracks] = own
        return value, hidden


def named_drivers(wanted: str, names: list[str], candidates: NDArray[np.bool_]) -> list[int]:
    """Return the places of the drivers that are named, with commas between them; "none": of none.

    Raises `BadParameter` for a name that is not among the `candidates` (columns,).
    """
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
    return [able[name] for name in chosen]


def find_drivers(
    candidates: NDArray[np.bool_],
    numbers: Floats,
    features: NDArray[np.float32],
    packed: Packed,
) -> list[int]:
    """Return the places of drivers among the `candidates` (columns,).

    A driver does not wear and remembers; its past says of another column what that one's own does
    not (Granger 1969), and the others' pasts say far less of it (something where its sensor is
    noisy, for what it drives is a second reading of it); and what it drives follows it as it was,
    not only as it is. The one that explains most comes first. `numbers` is (rows, columns),
    `features` (rows, n) those of a row but wear. All of it is asked of lives left out of the fit,
    wear apart (`evidence`).
    """
    if not candidates.any() or len(packed.rows) < MIN_LIVES:
        return []
    some = sample_lives(packed, np.zeros(len(numbers), dtype=bool))
    packed = Packed(np.unique(packed.life[some], return_counts=True)[1])
    center, spread = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0) + 1e-12
    scaled = np.nan_to_num((numbers[some] - center) / spread)
    inputs = np.concatenate([features[some], np.ones((len(scaled), 1))], axis=1, dtype=np.float64)
    scaled -= inputs @ ridge(inputs, scaled)
    left, fold = without_wear(scaled, packed), folds_of(packed)
    own, with_other = _Errors(past_averages(left, packed), left, fold).squared(own=True)
    remembers = own < (left**2).sum(axis=0) * (1 - MIN_MEMORY)
    explains = np.maximum(1 - with_other / own, 0.0)  # (columns, columns): the first the second
    caused = explains.max(axis=0) / np.maximum(explains.max(axis=1), 1e-9)
    free = candidates & ~_wears(scaled, packed) & remembers & (caused < MAX_CAUSED)
    errors = _Errors(packed.averages(left, LAGS), left, fold)
    lagging = errors.squared()[1] < (1 - MIN_LAG) * _Errors(left, left, fold).squared()[1]
    chosen: list[int] = []
    while free.any() and len(chosen) < MAX_DRIVERS:
        before, beside = errors.squared(chosen)
        gains = np.where(lagging & (beside < (1 - MIN_DRIVEN) * before), 1 - beside / before, 0.0)
        np.fill_diagonal(gains, 0.0)
        driving = gains.sum(axis=1) * (1 - caused) * free  # of two readings of it the cleaner one
        if not driving.any():
            break
        chosen.append(int(driving.argmax()))
        free[chosen] = False
    return chosen


class _Errors:
    """Squared errors of linear predictions of columns in the lives of a fold, fitted to the other
    folds, from sums over rows alone; `terms` (rows, n x columns) are n inputs of each column."""

    def __init__(self, terms: Floats, left: Floats, fold: Ints) -> None:
        self.columns = left.shape[1]
        self.lags = np.arange(terms.shape[1] // self.columns) * self.columns
        folds = [fold == number for number in range(fold.max() + 1)]
        self.gram = np.stack([terms[rows].T @ terms[rows] for rows in folds])
        self.cross = np.stack([terms[rows].T @ left[rows] for rows in folds])
        self.square = (left**2).sum(axis=0)
        self.ridge = 1.0 + 1e-5 * len(left)

    def squared(self, known: Sequence[int] = (), own: bool = False) -> tuple[Floats, Floats]:
        """Return the sums of squared errors with the terms of the `known` columns and of each
        column's `own`, (columns,), and with another's beside these, (columns of the other,
        columns)."""
        before, beside = np.empty(self.columns), np.empty((self.columns, self.columns))
        others = np.arange(self.columns)[:, None]
        for column in range(self.columns):
            base = np.array([[*known, *[column] * own]], dtype=np.int64)
            before[column] = self._squared(column, base)[0]
            sets = np.concatenate([np.tile(base, (self.columns, 1)), others], axis=1)
            beside[:, column] = self._squared(column, sets)
        return before, beside

    def _squared(self, column: int, sets: Ints) -> Floats:
        """Return the sum of squared errors with the terms of each set of columns, (sets,)."""
        lines = (self.lags[:, None] + sets[:, None, :]).reshape(len(sets), -1)
        held = self.gram[:, lines[:, :, None], lines[:, None, :]]  # (folds, sets, terms, terms)
        cross = self.cross[:, lines, column]
        fitted = held.sum(axis=0) - held + self.ridge * np.eye(lines.shape[1])
        found = np.linalg.solve(fitted, (cross.sum(axis=0) - cross)[..., None])[..., 0]
        error = np.einsum("fsi,fsij,fsj->s", found, held, found) - 2 * (found * cross).sum((0, 2))
        return np.asarray(self.square[column] + error) + 1e-9


def _wears(left: Floats, packed: Packed) -> NDArray[np.bool_]:
    """Return which columns change late in life more than lives by chance do."""
    late = packed.age >= (1 - LATE) * packed.rows[packed.life]
    early_mean, late_mean = (
        packed.sums(left * mine[:, None]) / np.maximum(packed.sums(mine), 1)[:, None]
        for mine in (~late, late)
    )
    change = late_mean - early_mean
    error = change.std(axis=0) / np.sqrt(len(packed.rows)) + 1e-12
    size = np.abs(change.mean(axis=0))
    return np.asarray((size > WEAR_ERRORS * error) & (size > WEAR_SPREADS * left.std(axis=0)))
