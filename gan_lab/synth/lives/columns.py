"""The columns of a table of lives that hold numbers: sensors and counters, the time, and how the
numbers of whole lives are distributed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from gan_lab.errors import BadTable
from gan_lab.synth.lives.packed import Floats, Packed
from gan_lab.synth.lives.scale import Scale
from gan_lab.synth.network.columns import NumericColumn, decimals, greatest_step, numbers_of
from gan_lab.synth.network.encoding import FEW_VALUES

MAX_VALUES = 200  # distinct ones that a column keeps to, where each comes five times or more
STEP_BINS = 16
MAX_BEYOND = 0.4  # of the logarithm, that a value lies beyond those seen
LIMIT_SHARE = 0.1  # of values that are the largest one: it is a limit


@dataclass
class SensorColumn(NumericColumn):
    """A column of readings, or of a number of each life; `values` are the only ones it takes, where
    these are few.

    Of a `counter`, range, grid and values are those of its rises from row to row; one of what is
    left falls, down to `floor`.
    """

    values: list[float] = field(default_factory=list)
    counter: bool = False
    floor: float | None = None
    scale: Scale = field(default_factory=Scale)

    @classmethod
    def of(cls, series: pd.Series[Any], values: Floats, /, **others: Any) -> Self:
        """Describe a column; `values` are its numbers, NaN where missing."""
        finite = values[np.isfinite(values)]
        known = np.unique(finite)
        few = known.tolist() if len(known) <= min(MAX_VALUES, len(finite) / 5) else []
        return super().of(series, values, step=even_step(known), values=few, **others)

    @classmethod
    def from_json(cls, column: dict[str, Any]) -> Self:
        """Build the column that `dataclasses.asdict` wrote."""
        return cls(**{**column, "scale": Scale(**column["scale"])})

    def on_grid(self, values: Floats, start: float | None = None) -> Floats:
        """Return the nearest of the values that the column can take."""
        if not self.values:
            return super().on_grid(values, start)
        known = np.array(self.values)
        nearest = known[np.searchsorted((known[1:] + known[:-1]) / 2, values)]
        return np.where(np.isnan(values), values, nearest)

    def count(self, rises: Floats, start: Floats, packed: Packed) -> Floats:
        """Return what a counter shows: the start of each life and what it rose since; NaN stays."""
        risen = self.on_grid(np.nan_to_num(np.clip(rises, self.minimum, self.maximum)))
        total = np.cumsum(np.where(packed.age > 0, risen, 0.0))
        since = total - total[packed.starts[packed.life]]
        shown = np.where(np.isnan(rises), np.nan, start[packed.life] + since)
        return shown if self.floor is None else np.maximum(-shown, self.floor)

    def write(self, values: Floats) -> pd.Series[Any]:
        """Return numbers on the column's grid, within its range, in its type; what a counter shows
        has no range but that of its type."""
        if not self.counter:
            return super().write(values)
        if self.digits is not None:
            values = np.round(values, self.digits)
        wanted = pd.api.types.pandas_dtype(self.dtype)
        if pd.api.types.is_integer_dtype(wanted) and wanted.itemsize < 8:
            limits = np.iinfo(getattr(wanted, "numpy_dtype", wanted))
            values = np.clip(values, limits.min, limits.max)
        return self.typed(values)


@dataclass
class TimeColumn(NumericColumn):
    """The column of time, whose steps may vary.

    `mean_step` is in the column's unit, seconds for dates; `steps` the levels that steps take, or
    where they are `varying` freely their quantiles. Where a life `wears_by_rows`, each row counts
    as one step, however long it took.
    """

    mean_step: float = 1.0
    steps: list[float] = field(default_factory=lambda: [1.0])
    varying: bool = False
    wears_by_rows: bool = False

    @classmethod
    def fit(cls, table: pd.DataFrame, name: str | None, packed: Packed) -> tuple[Self, Floats]:
        """Return the column and each row's time; without a name, rows are counted from 0."""
        if name is None:
            return cls(None, "int64", digits=0, step=1.0), packed.age.astype(float)
        seconds = numbers_of(table[name])
        if seconds is None:
            raise BadTable(
                f"Column {name!r} should hold the time but is of type {table[name].dtype}: "
                "convert it to numbers or dates."
            )
        taken = steps_between(seconds, packed)[packed.age > 0]
        distinct = np.unique(np.round(taken, 6)) if len(taken) else np.array([1.0])
        varying = len(distinct) > FEW_VALUES
        levels = np.quantile(taken, np.linspace(0, 1, STEP_BINS**2 + 1)) if varying else distinct
        times = np.unique(seconds)
        column = cls.of(
            table[name],
            seconds,
            step=greatest_step(times - times[0], decimals(times)),
            mean_step=float(taken.mean()) if len(taken) and taken.mean() > 0 else 1.0,
            steps=levels.tolist(),
            varying=varying,
        )
        return column, seconds

    def elapsed(self, steps: Floats, packed: Packed) -> Floats:
        """Return the age of each row in mean steps, from its step since the row before."""
        if self.wears_by_rows:
            return packed.age.astype(np.float64)
        total = np.cumsum(steps) / self.mean_step
        return np.asarray(total - total[packed.starts[packed.life]])

    def write(self, values: Floats) -> pd.Series[Any]:
        """Return times in the column's unit as the column holds them."""
        digits = 6 if self.is_time and self.digits is None else self.digits
        return self.typed(values if digits is None else np.round(values, digits))


@dataclass
class Quantiles:
    """A distribution by its quantiles, with the normal scores that tie it to others (Gaussian
    copula)."""

    values: list[float]

    @classmethod
    def of(cls, values: Floats) -> Quantiles:
        """Keep the sorted values, at most a thousand of them."""
        ordered = np.sort(values)
        picks = np.linspace(0, len(ordered) - 1, min(len(ordered), 1000)).round().astype(int)
        return cls([float(v) for v in ordered[picks]])

    def scores(self, values: Floats) -> Floats:
        """Return the normal score of each value; equal values share their span of ranks evenly."""
        return np.asarray(ndtri(ranks(values)))

    def draw(self, scores: Floats) -> Floats:
        """Return the value of each normal score, between the smallest and the largest seen."""
        return np.interp(ndtr(scores), self._shares, self.values)

    def draw_beyond(self, scores: Floats) -> Floats:
        """Return the same of positive values, with log-normal tails beyond the smallest and the
        largest, by half of these at most; no tail where a tenth of all values end: records are cut
        there."""
        values = np.array(self.values)
        low, high = ndtri(self._shares[[0, -1]])
        least, most = (
            np.mean(values == end) <= max(LIMIT_SHARE, 1 / len(values)) for end in values[[0, -1]]
        )
        beyond = most * np.maximum(scores - high, 0.0) - least * np.maximum(low - scores, 0.0)
        reach = np.clip(np.log(values).std() * beyond, -MAX_BEYOND, MAX_BEYOND)
        return np.asarray(self.draw(scores) * np.exp(reach))

    @property
    def _shares(self) -> Floats:
        return (np.arange(len(self.values)) + 0.5) / len(self.values)


def ranks(values: Floats) -> Floats:
    """Return the share of values below each, in (0, 1); equal ones share their span evenly."""
    chance = np.random.default_rng(0).random(len(values))
    return np.asarray((np.argsort(np.lexsort((chance, values))) + 0.5) / len(values))


def steps_between(seconds: Floats, packed: Packed) -> Floats:
    """Return each row's step since the row before, 0 in a life's first row."""
    return np.where(packed.age > 0, np.diff(seconds, prepend=0.0), 0.0)


def even_step(distinct: Floats) -> float:
    """Return the step of the even grid that all sorted values lie on, 0 where there is none."""
    if not 2 <= len(distinct) <= 5000:
        return 0.0
    step = float(np.diff(distinct).min())
    places = (distinct - distinct[0]) / step
    return step if np.abs(places - np.round(places)).max() < 1e-3 else 0.0
