"""A table of lives as arrays, and back: which column is what, and how it looked.

A column is constant, a condition (constant within every life), a counter (only rises), a category,
or a number. Time becomes steps, remaining useful life the distance to the life's end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from gan_lab.errors import BadTable
from gan_lab.schema import Roles
from gan_lab.synth.lives.packed import Floats, Ints, Packed
from gan_lab.synth.lives.scale import Scale

FEW_VALUES = 20
MOST_VALUES = 200  # distinct ones that a column keeps to, where each comes five times or more
STEP_BINS = 16


@dataclass
class Track:
    """One column of numbers: its type, its range, and the grid or the values it keeps to.

    Of a counter, these are those of its rises from row to row.
    """

    name: str
    dtype: str
    minimum: float
    maximum: float
    digits: int | None
    step: float | None
    values: list[float]
    counter: bool = False
    floor: float | None = None  # of a counter of what is left, whose rises are its falls
    scale: Scale = field(default_factory=Scale)

    @classmethod
    def of(
        cls,
        series: pd.Series[Any],
        values: Floats,
        counter: bool = False,
        floor: float | None = None,
    ) -> Track:
        """Describe a column; `values` are its numbers, NaN where missing."""
        finite = values[np.isfinite(values)]
        known = np.unique(finite)
        few = len(known) <= min(MOST_VALUES, len(finite) / 5)
        return cls(
            name=str(series.name),
            dtype=str(series.dtype),
            minimum=float(known[0]),
            maximum=float(known[-1]),
            digits=_digits(known),
            step=_grid(known),
            values=known.tolist() if few else [],
            counter=counter,
            floor=floor,
        )

    def write(self, values: Floats) -> pd.Series[Any]:
        """Return numbers on the column's grid, within its range, in its type."""
        if not self.counter:
            values = self.on_grid(np.clip(values, self.minimum, self.maximum))
        if self.digits is not None:
            values = np.round(values, self.digits)
        wanted = pd.api.types.pandas_dtype(self.dtype)
        if self.counter and pd.api.types.is_integer_dtype(wanted) and wanted.itemsize < 8:
            limits = np.iinfo(getattr(wanted, "numpy_dtype", wanted))
            values = np.clip(values, limits.min, limits.max)
        return _typed(values, self.dtype)

    def on_grid(self, values: Floats) -> Floats:
        """Return the nearest of the values that the column can take."""
        if self.values:
            known = np.array(self.values)
            nearest = known[np.searchsorted((known[1:] + known[:-1]) / 2, values)]
            return np.where(np.isnan(values), values, nearest)
        if self.step is None:
            return values
        return np.asarray(self.minimum + np.round((values - self.minimum) / self.step) * self.step)


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
        middles = (np.arange(len(self.values)) + 0.5) / len(self.values)
        return np.interp(ndtr(scores), middles, self.values)


def ranks(values: Floats) -> Floats:
    """Return the share of values below each, in (0, 1); equal ones share their span evenly."""
    chance = np.random.default_rng(0).random(len(values))
    return np.asarray((np.argsort(np.lexsort((chance, values))) + 0.5) / len(values))


@dataclass
class Clock:
    """The column of time: a number or a date whose steps may vary."""

    name: str | None
    dtype: str
    date: bool
    step: float  # mean, in the column's unit; seconds for dates
    steps: list[float]  # the levels that steps take, or where they vary freely their quantiles
    digits: int | None
    grid: float  # that all times lie on, counted from the first; 0: none
    varying: bool = False

    def on_grid(self, times: Floats, origin: float = 0.0) -> Floats:
        """Return the nearest times (or steps) that can occur."""
        if not self.grid:
            return times
        return np.asarray(origin + np.round((times - origin) / self.grid) * self.grid)

    def write(self, seconds: Floats) -> pd.Series[Any]:
        """Return times in the column's unit as the column holds them."""
        digits = 6 if self.date and self.digits is None else self.digits
        return _typed(seconds if digits is None else np.round(seconds, digits), self.dtype)


@dataclass
class Wear:
    """The column of remaining useful life as a function of the distance to the life's end.

    `rate` per mean step, `cap` where it is capped; where it is not linear, `curve` (distance, rul),
    the distance in mean steps or, where `relative`, as a share of the life.
    """

    name: str
    track: Track
    rate: float
    cap: float | None
    lowest: float
    curve: tuple[list[float], list[float]] | None = None
    relative: bool = False

    def write(self, elapsed: Floats, remaining: Floats) -> pd.Series[Any]:
        """Return the remaining useful life so many mean steps after the start and before the end;
        NaN is missing."""
        if self.curve is not None:
            distance = share_left(elapsed, remaining) if self.relative else remaining
            values = np.interp(distance, *self.curve)
        else:
            values = self.lowest + self.rate * remaining
        if self.cap is not None:
            values = np.minimum(values, self.cap)
        return _typed(
            np.round(values, 9 if self.track.digits is None else self.track.digits),
            self.track.dtype,
        )


@dataclass
class Lives:
    """Many lives as arrays, life by life, in the order of time."""

    rows: Ints
    elapsed: Floats  # mean steps since the life's first row
    remaining: Floats  # mean steps to its end; NaN where that is not known
    regime: Ints
    numbers: Floats  # (rows, numbers), NaN: missing
    codes: NDArray[np.int16]  # (rows, categories)
    steps: Floats  # since the row before, in the clock's unit; 0 in a life's first row
    missing: NDArray[np.bool_]  # (rows, numbers)


def sorted_lives(table: pd.DataFrame, roles: Roles) -> tuple[pd.DataFrame, Ints]:
    """Return the rows life by life in the order of time, and the rows of each life.

    Raises `BadTable` naming the column where a life or a time is missing, or a number infinite.
    """
    for role, name in roles.model_dump().items():
        if name is not None and name not in table:
            raise BadTable(f"The table has no column {name!r}, which should hold the {role}.")
    for name in (roles.life, roles.time):
        if name is not None and table[name].isna().any():
            raise BadTable(
                f"Column {name!r} is missing in {table[name].isna().sum():,} rows: drop these rows."
            )
    for name in table.select_dtypes(["number"], ["complex", "timedelta"]):
        if np.isinf(table[name].to_numpy(np.float64, na_value=np.nan)).any():
            raise BadTable(
                f"Column {name!r} holds infinite values: make them missing or drop the rows."
            )
    if not len(table):
        raise BadTable("The table has no rows: there is nothing to learn from.")
    keys = [name for name in (roles.life, roles.time) if name is not None]
    table = table.sort_values(keys, kind="stable", ignore_index=True) if keys else table
    if roles.life is None:
        return table, np.array([len(table)])
    code = pd.factorize(table[roles.life])[0]
    return table, np.bincount(code).astype(np.int64)


def numbers_of(series: pd.Series[Any]) -> Floats | None:
    """Return a column as numbers (dates and times as seconds), None where it holds words or
    booleans."""
    if pd.api.types.is_bool_dtype(series) or isinstance(series.dtype, pd.CategoricalDtype):
        return None
    if series.dtype.kind in "mM":
        stamps = series.dt.as_unit("ns").astype("int64").to_numpy() / 1e9
        return np.where(series.isna(), np.nan, stamps)
    if pd.api.types.is_numeric_dtype(series) and series.dtype.kind != "c":
        return series.to_numpy(np.float64, na_value=np.nan)
    return None


def classify(values: Floats, packed: Packed) -> str:
    """Return what a column of numbers is: number, category, counter or falling counter.

    What falls to the same end in all lives is not counted but tells how far that end is.
    """
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) <= FEW_VALUES:
        step = _grid(distinct)
        filled = step is not None and np.ptp(distinct) / step < 1.25 * len(distinct)
        if len(distinct) < 10 or not filled:
            return "category"
    rises = np.diff(values)[packed.age[1:] > 0]
    rises = rises[np.isfinite(rises)]
    if not len(rises) or not rises.any() or rises.min() < 0 < rises.max():
        return "number"
    if rises.max() > 0:
        return "counter"
    readings = pd.Series(values).groupby(packed.life)
    return "number" if readings.last().std() <= readings.first().std() else "falling counter"


def constant_within(series: pd.Series[Any], packed: Packed) -> bool:
    """Return whether a column never changes within a life; lives of one row say nothing."""
    code = pd.factorize(series, use_na_sentinel=True)[0]
    same_life = packed.age[1:] > 0
    return bool(same_life.any() and (code[1:] == code[:-1])[same_life].all())


def increments(values: Floats, packed: Packed) -> Floats:
    """Return by how much a counter rises at each row, in as many digits as it has; at a life's
    first row, as at its second."""
    digits = _digits(np.unique(values[np.isfinite(values)]))
    filled = pd.Series(values).groupby(packed.life).ffill().groupby(packed.life).bfill().to_numpy()
    rises = np.r_[0.0, np.diff(filled)]
    first = np.flatnonzero(packed.age == 0)
    second = np.minimum(first + 1, len(values) - 1)
    rises[first] = np.where(packed.age[second] == 1, rises[second], 0.0)
    rises = np.nan_to_num(rises)
    return np.asarray(rises if digits is None else np.round(rises, digits))


def read_clock(
    table: pd.DataFrame, name: str | None, packed: Packed
) -> tuple[Clock, Floats, Floats]:
    """Return the clock, each row's step since the row before (0 at a life's first) and its
    start."""
    if name is None:
        clock = Clock(None, "int64", False, 1.0, [1.0], 0, 1.0)
        return clock, (packed.age > 0) * 1.0, np.zeros(len(packed.starts) - 1)
    seconds = numbers_of(table[name])
    if seconds is None:
        raise BadTable(
            f"Column {name!r} should hold the time but is of type {table[name].dtype}: "
            "convert it to numbers or dates."
        )
    steps = np.where(packed.age > 0, np.r_[0.0, np.diff(seconds)], 0.0)
    taken = steps[packed.age > 0]
    distinct = np.unique(np.round(taken, 6)) if len(taken) else np.array([1.0])
    varying = len(distinct) > FEW_VALUES
    levels = np.quantile(taken, np.linspace(0, 1, STEP_BINS**2 + 1)) if varying else distinct
    mean = float(taken.mean()) if len(taken) and taken.mean() > 0 else 1.0
    digits = _digits(np.unique(seconds))
    clock = Clock(
        name=name,
        dtype=str(table[name].dtype),
        date=pd.api.types.is_datetime64_any_dtype(table[name]),
        step=mean,
        steps=[float(x) for x in levels],
        digits=digits,
        grid=0.0 if digits is None else _greatest_step(seconds - seconds.min(), digits),
        varying=varying,
    )
    return clock, steps, seconds[packed.starts[:-1]]


def read_wear(series: pd.Series[Any], elapsed: Floats, packed: Packed) -> tuple[Wear, Floats]:
    """Return how remaining useful life falls, and each row's distance to the life's end.

    A life whose record ends before its failure (censored) has a distance left in its last row.
    """
    rul = numbers_of(series)
    if rul is None or not np.isfinite(rul).any():
        raise BadTable(
            f"Column {series.name!r} should hold the remaining useful life but no numbers."
        )
    track = Track.of(series, rul)
    ends = packed.starts[1:] - 1
    seen = np.flatnonzero(np.isfinite(rul))
    same_life = np.diff(packed.life[seen]) == 0
    falls, spans = -np.diff(rul[seen]), np.diff(elapsed[seen])
    inside = same_life & (spans > 0)
    if (falls[inside] < -1e-6 * max(track.maximum, 1)).any():
        raise BadTable(
            f"Column {series.name!r} rises within a life: remaining useful life can only fall. "
            "Give each run to failure its own life."
        )
    top = track.maximum
    before = rul[seen][:-1]
    flat = same_life & (falls == 0) & (before == top)
    cap = top if flat.any() else None
    falling = inside & (before < top) if cap is not None else inside
    slopes = (falls / np.where(spans > 0, spans, 1))[falling]
    rate = float(slopes.mean()) if len(slopes) and slopes.mean() > 0 else 1.0
    known = pd.Series(np.where(np.isfinite(rul), np.arange(len(rul)), -1))
    last = known.groupby(packed.life).max().to_numpy()  # -1: censored, nobody knows how long before
    lowest = float(rul[last[last >= 0]].min())
    wear = Wear(str(series.name), track, rate, cap, lowest)
    whole = np.where(last < 0, np.nan, elapsed[last] + (rul[last] - lowest) / rate)
    remaining = whole[packed.life] - elapsed
    written = numbers_of(wear.write(elapsed, remaining))
    assert written is not None
    tolerance = 0.02 * max(top - lowest, 1e-9)
    if np.nanquantile(np.abs(written - rul), 0.99) > tolerance:
        if not elapsed.any():
            raise BadTable(
                f"Column {series.name!r} falls within lives in which no time passes: name another "
                "column of time, or none."
            )
        ended = (last >= 0) & (rul[last] <= lowest + tolerance)
        remaining = np.where(ended, elapsed[ends], np.nan)[packed.life] - elapsed
        views = remaining, share_left(elapsed, remaining)
        curves = [_falling_curve(view, rul) for view in views]
        wear.relative = curves[1][0] < curves[0][0]
        wear.curve = curves[wear.relative][1]
        # A life whose record ends before its failure is as far from it as its last reading says,
        # and one that shows no wear yet as most are.
        distance = np.interp(rul[last], *wear.curve[::-1])
        lengths = elapsed[ends][ended]
        if wear.relative:
            distance *= elapsed[last] / np.maximum(1 - distance, 1e-9)
        fresh = rul[last] >= wear.curve[1][-1] - tolerance
        distance = np.where(fresh, np.maximum(np.median(lengths) - elapsed[last], 1.0), distance)
        whole = np.where(ended, elapsed[ends], elapsed[last] + np.minimum(distance, lengths.max()))
        remaining = np.where(last < 0, np.nan, whole)[packed.life] - elapsed
    return wear, remaining


def share_left(elapsed: Floats, remaining: Floats) -> Floats:
    """Return which share of its life a row has before it."""
    return np.asarray(remaining / np.maximum(elapsed + remaining, 1e-9))


def _falling_curve(distance: Floats, rul: Floats) -> tuple[float, tuple[list[float], list[float]]]:
    """Return the error of the mean rul at each distance to the end, and knots of it, made to rise
    with the distance."""
    from sklearn.isotonic import IsotonicRegression

    known = np.isfinite(rul) & np.isfinite(distance)
    knots = np.unique(np.quantile(distance[known], np.linspace(0, 1, 200)))
    model = IsotonicRegression(out_of_bounds="clip").fit(distance[known], rul[known])
    curve = knots.tolist(), model.predict(knots).tolist()
    return float(np.abs(np.interp(distance[known], *curve) - rul[known]).mean()), curve


def _digits(values: Floats) -> int | None:
    for digits in range(9):
        if (np.round(values, digits) == values).all():
            return digits
    return None


def _grid(distinct: Floats) -> float | None:
    """Return the step of the even grid that all values lie on, None where there is none."""
    if not 2 <= len(distinct) <= 5000:
        return None
    step = float(np.diff(distinct).min())
    places = (distinct - distinct[0]) / step
    return step if np.abs(places - np.round(places)).max() < 1e-3 else None


def _greatest_step(distances: Floats, digits: int) -> float:
    """Return the greatest step that divides all distances of so many decimals."""
    whole = np.round(distances * 10.0**digits)
    if whole.max(initial=0) >= 2**53:
        return 0.0
    return float(np.gcd.reduce(whole.astype(np.int64))) / 10**digits


def _typed(values: Floats, dtype: str) -> pd.Series[Any]:
    if dtype.startswith("datetime64"):
        stamps = pd.to_datetime(pd.Series(np.round(np.nan_to_num(values) * 1e9).astype(np.int64)))
        if "," in dtype:
            stamps = stamps.dt.tz_localize("UTC")
        return stamps.mask(np.isnan(values)).astype(dtype)
    if dtype.startswith("timedelta"):
        return pd.to_timedelta(pd.Series(values), unit="s").astype(dtype)
    wanted = pd.api.types.pandas_dtype(dtype)
    if pd.api.types.is_extension_array_dtype(wanted):
        return pd.Series(values).astype("Float64").round(9).astype(wanted)
    if pd.api.types.is_integer_dtype(wanted) and np.isnan(values).any():
        return pd.Series(values)
    return pd.Series(values).astype(wanted)
