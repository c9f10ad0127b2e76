"""What the numbers of a column look like: their type, range, decimals and grid, and how a table
holds them.

Dates and durations are numbers of seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadTable

Floats = NDArray[np.float64]

DATE = "date"  # stands for a format where a column holds objects of datetime.date
EXACT = 2.0**53  # integers from here on are not all numbers of float64


@dataclass
class NumericColumn:
    """One column of numbers, dates or durations.

    `step` is that of the grid its values lie on, 0 where there is none. Dates and durations are
    counted in seconds from `origin`, which is in nanoseconds; dates written as text have a
    `format`.
    """

    name: Any
    dtype: str
    minimum: float = 0.0
    maximum: float = 0.0
    digits: int | None = None
    step: float = 0.0
    origin: int = 0
    format: str | None = None

    @classmethod
    def of(cls, series: pd.Series[Any], values: Floats, /, **others: Any) -> Self:
        """Describe a column; `values` are its numbers, NaN where missing."""
        known = np.unique(values[np.isfinite(values)])
        digits = decimals(known)
        look = {
            "name": plain(series.name), "dtype": str(series.dtype), "digits": digits,
            "minimum": float(known[0]), "maximum": float(known[-1]),
            "step": greatest_step(known, digits),
        }  # fmt: skip
        return cls(**{**look, **others})

    @property
    def is_time(self) -> bool:
        """Whether the column holds dates or durations."""
        return self.format is not None or pd.api.types.pandas_dtype(self.dtype).kind in "mM"

    def read(self, series: pd.Series[Any]) -> Floats:
        """Return a column of this kind as numbers, NaN where missing."""
        numbers = numbers_of(parse_dates(series, self.format), self.origin)
        assert numbers is not None
        return numbers

    def write(self, values: Floats) -> pd.Series[Any]:
        """Return numbers on the column's grid, within its range, in its type."""
        values = self.on_grid(np.clip(values, self.minimum, self.maximum))
        if self.digits is not None:
            values = np.round(values, self.digits)
        return self.typed(np.clip(values, self.minimum, self.maximum))

    def on_grid(self, values: Floats, start: float | None = None) -> Floats:
        """Return the nearest values on the grid, which begins at `start` or at the minimum."""
        if not self.step:
            return values
        start = self.minimum if start is None else start
        return np.asarray(start + np.round((values - start) / self.step) * self.step)

    def typed(self, values: Floats) -> pd.Series[Any]:
        """Return numbers in the column's type; whole numbers with gaps become floats."""
        if self.is_time:
            return self._as_time(values)
        wanted, missing = pd.api.types.pandas_dtype(self.dtype), np.isnan(values).any()
        if pd.api.types.is_extension_array_dtype(wanted) and missing:
            return pd.Series(values).astype("Float64").astype(wanted)
        if pd.api.types.is_integer_dtype(wanted) and missing:
            return pd.Series(values)
        return pd.Series(values).astype(wanted)

    def _as_time(self, values: Floats) -> pd.Series[Any]:
        nanoseconds = np.round(np.nan_to_num(values) * 1e9).astype(np.int64) + self.origin
        series = pd.Series(nanoseconds)
        if self.dtype.startswith("timedelta"):
            series = pd.to_timedelta(series)
        else:
            series = pd.to_datetime(series, utc=True)
            if self.format:
                dates = self.format == DATE
                series = series.dt.date if dates else series.dt.strftime(self.format)
            elif "," not in self.dtype:
                series = series.dt.tz_localize(None)
        series = series.mask(np.isnan(values))
        return series.astype(object if self.format else self.dtype)


def numbers_of(series: pd.Series[Any], origin: int = 0) -> Floats | None:
    """Return a column as numbers (dates and durations as seconds), None where it holds words or
    booleans; raises `BadTable` for a type that is neither."""
    if pd.api.types.is_bool_dtype(series) or isinstance(series.dtype, pd.CategoricalDtype):
        return None
    if pd.api.types.is_complex_dtype(series) or isinstance(series.dtype, pd.PeriodDtype):
        raise BadTable(
            f"Column {series.name!r} is of type {series.dtype}, which cannot be modelled: "
            "numbers, text, booleans and dates can. Convert or drop the column."
        )
    if series.dtype.kind in "mM":
        seconds = (nanoseconds(series).astype("int64").to_numpy() - origin) / 1e9
        return np.where(series.isna(), np.nan, seconds)
    if pd.api.types.is_numeric_dtype(series):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return None


def nanoseconds(times: pd.Series[Any]) -> pd.Series[Any]:
    """Return dates or durations in nanoseconds; raises `BadTable` where they do not fit."""
    try:
        return times.dt.as_unit("ns")
    except (OverflowError, ValueError):
        raise BadTable(
            f"Column {times.name!r} holds dates outside the years 1678 to 2261, which cannot be "
            "modelled. Correct or drop them."
        ) from None


def parse_dates(series: pd.Series[Any], fmt: str | None) -> pd.Series[Any]:
    """Return a column of dates that are written in this format, or of date objects, as dates."""
    if fmt is None:
        return series
    try:
        return nanoseconds(pd.to_datetime(series, format=None if fmt == DATE else fmt))
    except (OverflowError, ValueError):
        raise BadTable(
            f"Column {series.name!r} holds dates outside the years 1678 to 2261, which cannot be "
            "modelled. Correct or drop them."
        ) from None


def date_format(series: pd.Series[Any]) -> str | None:
    """Return the format of a column of date texts that it can be written in again, else None."""
    if series.dtype.kind in "mM" or numbers_of(series) is not None:
        return None
    known = series.dropna()
    if pd.api.types.infer_dtype(known) == DATE:
        return DATE
    if not len(known) or not all(isinstance(text, str) for text in known.iloc[:1000]):
        return None
    first = str(known.iloc[0])
    for day_first in (False, True):
        fmt: str | None = pd.tseries.api.guess_datetime_format(first, dayfirst=day_first)
        fmt = fmt and (fmt.replace("%z", "Z") if first.endswith("Z") else fmt)
        if fmt and pd.to_datetime(known, format=fmt, errors="coerce").notna().all():
            return fmt
    return None


def plain(value: Any) -> Any:
    """Return a scalar of numpy as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


def decimals(values: Floats) -> int | None:
    """Return how many decimals the values have, None where over nine."""
    sample = values[:: max(1, len(values) // 1000)]
    for digits in range(10):
        if all((np.round(some, digits) == some).all() for some in (sample, values)):
            return digits
    return None


def greatest_step(values: Floats, digits: int | None) -> float:
    """Return the greatest distance that divides all distances of sorted values: 3600 for full
    hours; 0 where there is none."""
    if digits is None or len(values) < 2 or max(-values[0], values[-1]) * 10**digits >= EXACT:
        return 0.0
    whole = np.round(values * 10**digits).astype(np.int64)
    return float(np.gcd.reduce(np.diff(whole)) / 10**digits)
