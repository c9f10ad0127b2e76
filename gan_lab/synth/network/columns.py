"""What the numbers of a column look like: their type, range, decimals and grid, and how a table
holds them.

Dates are numbers of seconds. An import leaves numbers, booleans, text and dates, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadTable

Floats = NDArray[np.float64]

EXACT = 2.0**53  # integers from here on are not all numbers of float64


@dataclass
class NumericColumn:
    """One column of numbers or dates.

    `step` is that of the grid its values lie on, 0 where there is none. Dates are counted in
    seconds from `origin`, which is in nanoseconds.
    """

    name: Any
    dtype: str
    minimum: float = 0.0
    maximum: float = 0.0
    digits: int | None = None
    step: float = 0.0
    origin: int = 0

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
        """Whether the column holds dates."""
        return self.dtype.startswith("datetime64")

    def read(self, series: pd.Series[Any]) -> Floats:
        """Return a column of this kind as numbers, NaN where missing."""
        numbers = numbers_of(series, self.origin)
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
        series = pd.Series(pd.to_datetime(nanoseconds, utc=True))
        if "," not in self.dtype:  # without a zone
            series = series.dt.tz_localize(None)
        return series.mask(np.isnan(values)).astype(self.dtype)


def numbers_of(series: pd.Series[Any], origin: int = 0) -> Floats | None:
    """Return a column as numbers (dates as seconds), None where it holds words or booleans; raises
    `BadTable` for dates that nanoseconds cannot hold."""
    if series.dtype.kind == "M":
        try:
            nanoseconds = series.dt.as_unit("ns").astype("int64").to_numpy()
        except (OverflowError, ValueError):
            raise BadTable(
                f"Column {series.name!r} holds dates outside the years 1678 to 2261, which cannot "
                "be modelled. Correct or drop them."
            ) from None
        return np.where(series.isna(), np.nan, (nanoseconds - origin) / 1e9)
    if pd.api.types.is_bool_dtype(series) or not pd.api.types.is_numeric_dtype(series):
        return None
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


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
