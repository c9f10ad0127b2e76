"""A table as a matrix and back: one softmax group a column, in plain numpy.

Each column becomes a group of *cells* of which a row takes one. A cell is a value that occurs
often, a category, "missing", or a stretch of numbers; within a stretch a row also has a *deviation*
in (-1, 1), its normal score. That is SDV's mode-specific normalisation (Xu et al. 2019,
arXiv:1907.00503) with as few modes as there are: what ties one number to another shows in their
deviations, and need not be learned through a choice of cells. A column with one cell and no
deviation is constant and costs the network nothing. Values that stand apart (a capped remaining
useful life, zeros) get a cell of their own (mixed-type encoding, Zhao et al. 2021,
arXiv:2102.08369).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadTable
from gan_lab.synth.network.normal_scores import Stretch, stretches

Floats = NDArray[np.float64]
Codes = NDArray[np.int16]
Deviations = NDArray[np.float32]
Generator = np.random.Generator

FEW_VALUES = 20  # a number with at most so many distinct values is a category
MAX_LEVELS = 500  # text beyond its most frequent levels shares one cell
SPREAD = 4.0  # a deviation of 1 is a normal score of four, as SDV's modes reach
DATE = "date"  # stands for a format where a column holds objects of datetime.date
EXACT = 2.0**53  # integers from here on are not all numbers of float64


@dataclass(frozen=True)
class Column:
    """One column: its cells and what its values must look like when they come back.

    The cells of a number are its `stretches`, its `atoms` and, last, "missing"; those of a text its
    `levels`. `rare` are the levels that share the last cell, with their counts.
    """

    name: Any
    dtype: str
    kind: str  # "number", "time", "text"
    stretches: list[Stretch] = field(default_factory=list)
    atoms: list[float] = field(default_factory=list)
    missing: bool = False
    minimum: float = 0.0
    maximum: float = 0.0
    digits: int | None = None
    step: float = 0.0  # what all distances between values are multiples of, 0 if nothing is
    origin: int = 0
    format: str | None = None
    levels: list[Any] = field(default_factory=list)
    categories: list[Any] | None = None
    ordered: bool = False
    rare: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.levels) or len(self.stretches) + len(self.atoms) + self.missing

    @property
    def missing_cell(self) -> int | None:
        """The cell of a missing value, None where none is missing."""
        if not self.levels:
            return self.cells - 1 if self.missing else None
        unnamed = [cell for cell, level in enumerate(self.levels) if level is None]
        return unnamed[0] if len(unnamed) > bool(self.rare) else None

    @property
    def names(self) -> list[str | None]:
        """What each cell is called, None where it holds no one value."""
        if self.levels:
            return [None if level is None else str(level) for level in self.levels]
        atoms = [f"{atom:g}" for atom in self.atoms]
        return [None] * len(self.stretches) + atoms + [None] * self.missing

    def numbers(self, codes: Codes, deviations: Deviations) -> Floats:
        """Return the numbers that cells and deviations stand for, NaN where missing."""
        numbers = np.array([np.nan] * len(self.stretches) + self.atoms + [np.nan])[codes]
        for code, (values, scores) in enumerate(self.stretches):
            mine = codes == code
            numbers[mine] = np.interp(SPREAD * deviations[mine], scores, values)
        return numbers


@dataclass(frozen=True)
class Encoded:
    """Rows as the network sees them.

    `deviations`: float32 (rows, columns with stretches), NaN where the row's cell is none.
    `codes`: int16 (rows, columns with several cells), the cell each row takes.
    """

    deviations: Deviations
    codes: Codes

    def __len__(self) -> int:
        return len(self.codes)


class Encoding:
    """How the columns of one table are turned into deviations and codes, and back."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = list(columns)
        self.modal = [column for column in self.columns if column.stretches]
        self.groups = [column for column in self.columns if column.cells > 1]
        self.widths = [column.cells for column in self.groups]

    @property
    def varies(self) -> bool:
        """Whether any column is not constant."""
        return bool(self.modal or self.groups)

    @classmethod
    def fit(cls, table: pd.DataFrame, few_values: int = FEW_VALUES) -> Encoding:
        """Learn the encoding of a table; raises `BadTable` naming a column that cannot be
        modelled."""
        table = table.infer_objects(copy=False)
        return cls([_fit_column(table[name], few_values) for name in table.columns])

    def encode(self, table: pd.DataFrame) -> Encoded:
        """Turn rows into deviations and codes."""
        table = table.infer_objects(copy=False)
        deviations = np.empty((len(table), len(self.modal)), dtype=np.float32)
        codes = np.empty((len(table), len(self.groups)), dtype=np.int16)
        for column, cells, scores in self.parts(Encoded(deviations, codes)):
            if column.kind == "text":
                cells[:] = _encode_text(column, table[column.name])
            else:
                cells[:], scores[:] = _encode_number(column, table[column.name])
        return Encoded(deviations, codes)

    def decode(self, encoded: Encoded, rng: Generator) -> pd.DataFrame:
        """Turn deviations and codes into rows with the table's own names, types and order."""
        series = [
            _decode_text(column, codes, rng)
            if column.kind == "text"
            else _decode_number(column, codes, deviations)
            for column, codes, deviations in self.parts(encoded)
        ]
        table = pd.concat(series, axis=1)
        table.columns = pd.Index([column.name for column in self.columns])
        return table

    def parts(self, encoded: Encoded) -> Iterator[tuple[Column, Codes, Deviations]]:
        """Yield each column, its codes (0 where it has one cell) and its deviations, as views."""
        codes, deviations = iter(encoded.codes.T), iter(encoded.deviations.T)
        for column in self.columns:
            yield (
                column,
                next(codes) if column.cells > 1 else np.zeros(len(encoded), dtype=np.int16),
                next(deviations) if column.stretches else np.zeros(len(encoded), dtype=np.float32),
            )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the encoding as plain JSON values."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, columns: list[dict[str, Any]]) -> Encoding:
        """Build the encoding that `to_json` wrote."""
        return cls([Column(**column) for column in columns])


def _fit_column(series: pd.Series[Any], few_values: int) -> Column:
    name, dtype = _plain(series.name), str(series.dtype)
    kind, numbers, origin, fmt = _as_numbers(series)
    if kind == "text":
        return _fit_text(series)
    assert numbers is not None
    known = numbers[~np.isnan(numbers)]
    if np.isinf(known).any():
        raise BadTable(
            f"Column {name!r} holds infinite values. Replace them by missing values or drop the "
            "rows."
        )
    if not len(known):
        raise BadTable(f"Column {name!r} has no value in any row. Drop the column.")
    values, counts = np.unique(known, return_counts=True)
    if pd.api.types.is_integer_dtype(series.dtype) and max(-values[0], values[-1]) >= EXACT:
        raise BadTable(
            f"Column {name!r} holds integers beyond 2^53, which cannot be told apart. Drop it if "
            "they name rows, or divide them: nanoseconds into seconds."
        )
    atoms = values if len(values) <= few_values else _atoms(values, counts)
    rest = ~np.isin(values, atoms)
    digits = _digits(values)
    return Column(
        name=name,
        dtype=dtype,
        kind=kind,
        stretches=stretches(values[rest], counts[rest]) if rest.any() else [],
        atoms=atoms.tolist(),
        missing=len(known) < len(numbers),
        minimum=float(values[0]),
        maximum=float(values[-1]),
        digits=digits,
        step=0.0 if digits is None else _step(values, digits),
        origin=origin,
        format=fmt,
    )


def _fit_text(series: pd.Series[Any]) -> Column:
    name = _plain(series.name)
    counts = series.astype(object).value_counts(dropna=True)
    for level in counts.index:
        if not isinstance(level, str | bool | int | float | np.bool_ | np.integer | np.floating):
            raise BadTable(
                f"Column {name!r} holds values of type {type(level).__name__}, which cannot be "
                "modelled: numbers, text, booleans and dates can. Convert or drop the column."
            )
    if not len(counts):
        raise BadTable(f"Column {name!r} has no value in any row. Drop the column.")
    if len(counts) > MAX_LEVELS and len(counts) > 0.5 * len(series):
        raise BadTable(
            f"Column {name!r} holds {len(counts):,} different texts in {len(series):,} rows: it "
            "names "
            "rows rather than describing them. Drop it, or replace it by a coarser category."
        )
    levels = [_plain(level) for level in counts.index[:MAX_LEVELS]]
    rest = counts.iloc[MAX_LEVELS:]
    rare = {"levels": [_plain(x) for x in rest.index], "counts": rest.tolist()} if len(rest) else {}
    words = levels + [None] * bool(series.isna().any()) + [None] * bool(rare)
    categories = getattr(series.dtype, "categories", None)
    return Column(
        name=name,
        dtype="category" if categories is not None else str(series.dtype),
        kind="text",
        levels=words,
        categories=None if categories is None else [_plain(level) for level in categories],
        ordered=bool(getattr(series.dtype, "ordered", False)),
        rare=rare,
    )


def _plain(level: Any) -> Any:
    return level.item() if isinstance(level, np.generic) else level


def _as_numbers(series: pd.Series[Any]) -> tuple[str, Floats | None, int, str | None]:
    """Return kind, numbers (NaN: missing), nanoseconds of the origin and the format of dates."""
    if isinstance(series.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(series):
        return "text", None, 0, None
    if pd.api.types.is_complex_dtype(series) or isinstance(series.dtype, pd.PeriodDtype):
        raise BadTable(
            f"Column {series.name!r} is of type {series.dtype}, which cannot be modelled: "
            "numbers, text, booleans and dates can. Convert or drop the column."
        )
    if pd.api.types.is_numeric_dtype(series):
        return "number", series.to_numpy(dtype=np.float64, na_value=np.nan), 0, None
    fmt = None
    if series.dtype.kind not in "mM" and (fmt := _date_format(series)) is None:
        return "text", None, 0, None
    times = _as_times(series, fmt)
    if pd.isna(first := times.min()):
        raise BadTable(f"Column {series.name!r} has no value in any row. Drop the column.")
    return "time", _seconds(times, first.value), first.value, fmt


def _as_times(series: pd.Series[Any], fmt: str | None) -> pd.Series[Any]:
    """Return times in nanoseconds; `fmt` is that of a column of texts or dates."""
    try:
        times = pd.to_datetime(series, format=None if fmt == DATE else fmt) if fmt else series
        return times.dt.as_unit("ns")
    except (OverflowError, ValueError):
        raise BadTable(
            f"Column {series.name!r} holds dates outside the years 1678 to 2261, which cannot be "
            "modelled. Correct or drop them."
        ) from None


def _seconds(times: pd.Series[Any], origin: int) -> Floats:
    seconds = (times.astype("int64").to_numpy() - origin) / 1e9
    return np.where(times.isna(), np.nan, seconds)


def _date_format(series: pd.Series[Any]) -> str | None:
    """Return the format of a column of date texts that it can be written in again, else None."""
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


def _atoms(values: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return the values that stand apart: 2 % of the rows and five times a value's even share."""
    share = counts / counts.sum()
    frequent = np.flatnonzero(share >= max(0.02, 5 / len(values)))
    return values[np.sort(frequent[np.argsort(-share[frequent], kind="stable")][:10])]


def _digits(values: Floats) -> int | None:
    """Return how many decimals the values have, None where over nine."""
    sample = values[:: max(1, len(values) // 1000)]
    for digits in range(10):
        if (np.round(sample, digits) == sample).all() and (
            np.round(values, digits) == values
        ).all():
            return digits
    return None


def _step(values: Floats, digits: int) -> float:
    """Return the greatest distance that divides all distances: 3600 for full hours."""
    if max(-values[0], values[-1]) * 10**digits >= EXACT or len(values) < 2:
        return 0.0
    whole = np.round(values * 10**digits).astype(np.int64)
    return float(np.gcd.reduce(np.diff(whole)) / 10**digits)


def _encode_number(column: Column, series: pd.Series[Any]) -> tuple[Floats, Floats]:
    """Return codes and deviations: an atom where a number is one, else the stretch it lies in."""
    if column.kind == "time":
        numbers = _seconds(_as_times(series, column.format), column.origin)
    else:
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
    firsts = [values[0] for values, _ in column.stretches]
    codes = (np.searchsorted(firsts, numbers, side="right") - 1).clip(0)
    deviations = np.full(len(numbers), np.nan)
    for code, (values, scores) in enumerate(column.stretches):
        mine = codes == code
        deviations[mine] = np.interp(numbers[mine], values, scores) / SPREAD
    if column.atoms:
        atoms = np.array(column.atoms)
        nearest = np.searchsorted((atoms[1:] + atoms[:-1]) / 2, numbers)
        apart = (atoms[nearest] == numbers) | (not firsts)
        codes[apart], deviations[apart] = len(firsts) + nearest[apart], np.nan
    missing = np.isnan(numbers)
    codes[missing], deviations[missing] = column.cells - 1, np.nan
    return codes, deviations.clip(-0.99, 0.99)


def _encode_text(column: Column, series: pd.Series[Any]) -> Codes:
    known = len(column.levels) - sum(level is None for level in column.levels)
    cell = {level: code for code, level in enumerate(column.levels[:known])}
    cell |= dict.fromkeys(column.rare.get("levels", []), len(column.levels) - 1)
    codes = series.astype(object).map(cell)
    unseen = codes.isna() & series.notna()
    if unseen.any():
        raise BadTable(
            f"Column {column.name!r} holds {series[unseen].iloc[0]!r}, which the model has not "
            "seen."
        )
    return codes.fillna(known).to_numpy(dtype=np.int16)


def _decode_number(column: Column, codes: Codes, deviations: Deviations) -> pd.Series[Any]:
    numbers = column.numbers(codes, deviations)
    if column.step:
        numbers = column.minimum + np.round((numbers - column.minimum) / column.step) * column.step
    if column.digits is not None:
        numbers = np.round(numbers, column.digits)
    numbers = np.clip(numbers, column.minimum, column.maximum)
    return _as_time(column, numbers) if column.kind == "time" else _as_number(column, numbers)


def _as_number(column: Column, numbers: Floats) -> pd.Series[Any]:
    missing = np.isnan(numbers)
    dtype = pd.api.types.pandas_dtype(column.dtype)
    if pd.api.types.is_extension_array_dtype(dtype) and missing.any():
        return pd.Series(numbers).astype("Float64").astype(dtype)
    return pd.Series(numbers).astype(dtype)


def _as_time(column: Column, numbers: Floats) -> pd.Series[Any]:
    nanoseconds = np.round(np.nan_to_num(numbers) * 1e9).astype(np.int64) + column.origin
    series = pd.Series(nanoseconds)
    if column.dtype.startswith("timedelta"):
        series = pd.to_timedelta(series)
    else:
        series = pd.to_datetime(series, utc=True)
        if column.format:
            dates = column.format == DATE
            series = series.dt.date if dates else series.dt.strftime(column.format)
        elif "," not in column.dtype:
            series = series.dt.tz_localize(None)
    series = series.mask(np.isnan(numbers))
    return series.astype(object if column.format else column.dtype)


def _decode_text(column: Column, codes: Codes, rng: Generator) -> pd.Series[Any]:
    words = np.array([*column.levels, None], dtype=object)[:-1][codes]
    if column.rare:
        chances = np.array(column.rare["counts"], dtype=float)
        rare = np.array([*column.rare["levels"], None], dtype=object)[:-1]
        hit = codes == len(column.levels) - 1
        words[hit] = rng.choice(rare, size=int(hit.sum()), p=chances / chances.sum())
    if column.categories is not None:
        dtype = pd.CategoricalDtype(column.categories, ordered=column.ordered)
        return pd.Series(words).astype(dtype)
    return pd.Series(words, dtype=object).astype(column.dtype)
