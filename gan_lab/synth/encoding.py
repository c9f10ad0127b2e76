"""A table as a matrix and back: SDV's encoding, one softmax group a column, in plain numpy.

Each column becomes a group of *cells* of which a row takes one. A cell is a value that occurs
often, a category, "missing", or a mode of a Gaussian mixture (mode-specific normalisation, Xu et
al. 2019, arXiv:1907.00503); within a mode a row also has a *deviation* in (-1, 1). A column with
one cell is constant and costs the network nothing. Values that stand apart (a capped remaining
useful life, zeros) get a cell of their own beside the modes (mixed-type encoding, Zhao et al. 2021,
arXiv:2102.08369).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadTable
from gan_lab.synth.mixture import cover, fit_mixture, responsibilities, summarize

Floats = NDArray[np.float64]
Codes = NDArray[np.int16]
Cells = NDArray[np.int64]
Generator = np.random.Generator

FEW_VALUES = 20  # a number with at most so many distinct values is a category
MAX_LEVELS = 500  # text beyond its most frequent levels shares one cell
SPREAD = 4.0  # a mode reaches four standard deviations to each side, as SDV's does
BLOCK_ROWS = 65_536
DATE = "date"  # stands for a format where a column holds objects of datetime.date
EXACT = 2.0**53  # integers from here on are not all numbers of float64


@dataclass(frozen=True)
class Column:
    """One column: its cells and what its values must look like when they come back.

    A cell is its `center` plus its `width` times the deviation; `levels` are the words the cells
    stand for where the column holds text. `rare` are the levels that share the last cell, with
    their counts.
    """

    name: Any
    dtype: str
    kind: str  # "number", "time", "text"
    centers: list[float | None]
    widths: list[float]
    minimum: float = 0.0
    maximum: float = 0.0
    digits: int | None = None
    step: float = (
        0.0  # of numbers without decimals: they lie so far apart, counted from the minimum
    )
    origin: int = 0
    format: str | None = None
    levels: list[Any] = field(default_factory=list)
    categories: list[Any] | None = None
    ordered: bool = False
    rare: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def cells(self) -> int:
        """How many cells the column's softmax group has."""
        return len(self.widths)

    @property
    def modes(self) -> int:
        """How many of them (the first) have a width."""
        return sum(width > 0 for width in self.widths)


@dataclass(frozen=True)
class Encoded:
    """Rows as the network sees them.

    `deviations`: float32 (rows, columns with modes), NaN where the row's cell has no width.
    `codes`: int16 (rows, groups), the cell each row takes; groups with modes come first.
    """

    deviations: NDArray[np.float32]
    codes: Codes

    def __len__(self) -> int:
        return len(self.codes)


class Encoding:
    """How the columns of one table are turned into deviations and codes, and back."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = list(columns)
        self.modal = [column for column in self.columns if column.modes]
        self.groups = self.modal + [c for c in self.columns if c.cells > 1 and not c.modes]
        self.widths = [column.cells for column in self.groups]

    @classmethod
    def fit(cls, table: pd.DataFrame, few_values: int = FEW_VALUES) -> Encoding:
        """Learn the encoding of a table; raises `BadTable` naming a column that cannot be
        modelled."""
        table = table.infer_objects(copy=False)
        return cls([_fit_column(table[name], few_values) for name in table.columns])

    def encode(self, table: pd.DataFrame, seed: int | None = None) -> Encoded:
        """Turn rows into deviations and codes.

        Where modes overlap, the most likely one is taken; with a seed, one is drawn (as SDV does).
        """
        rng = None if seed is None else np.random.default_rng(seed)
        table = table.infer_objects(copy=False)
        deviations = np.full((len(table), len(self.modal)), np.nan, dtype=np.float32)
        codes = np.zeros((len(table), len(self.groups)), dtype=np.int16)
        for group, column in enumerate(self.groups):
            encode = _encode_text if column.kind == "text" else _encode_number
            part = encode(column, table[column.name], rng)
            codes[:, group] = part[0]
            if column.modes:
                deviations[:, group] = part[1]
        return Encoded(deviations, codes)

    def decode(self, encoded: Encoded, rng: Generator) -> pd.DataFrame:
        """Turn deviations and codes into rows with the table's own names, types and order."""
        place = {id(column): group for group, column in enumerate(self.groups)}
        zeros = np.zeros(len(encoded), dtype=np.int16)
        series: list[pd.Series[Any]] = []
        for column in self.columns:
            group = place.get(id(column))
            codes = zeros if group is None else encoded.codes[:, group]
            if column.kind == "text":
                series.append(_decode_text(column, codes, rng))
            else:
                deviations = encoded.deviations[:, group] if column.modes else None
                series.append(_decode_number(column, codes, deviations))
        table = pd.concat(series, axis=1)
        table.columns = pd.Index([column.name for column in self.columns])
        return table

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
    centers: list[float | None] = []
    widths: list[float] = []
    if len(atoms) < len(values):
        rest = ~np.isin(values, atoms)
        _, means, stds = fit_mixture(*summarize(values[rest], counts[rest]))
        means, stds = cover(values[rest], means, stds, SPREAD)
        centers, widths = list(map(float, means)), [float(SPREAD * std) for std in stds]
    centers += list(map(float, atoms)) + [None] * (len(known) < len(numbers))
    return Column(
        name=name,
        dtype=dtype,
        kind=kind,
        centers=centers,
        widths=widths + [0.0] * (len(centers) - len(widths)),
        minimum=float(values[0]),
        maximum=float(values[-1]),
        digits=(digits := _digits(values)),
        step=_step(values) if digits == 0 else 0.0,
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
        centers=[],
        widths=[0.0] * len(words),
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


def _step(values: Floats) -> float:
    """Return the greatest distance that divides all distances of whole numbers: 3600 for full
    hours."""
    if max(-values[0], values[-1]) >= EXACT:
        return 1.0
    return float(np.gcd.reduce(np.diff(values).astype(np.int64))) if len(values) > 1 else 1.0


def _encode_number(
    column: Column, series: pd.Series[Any], rng: Generator | None
) -> tuple[Codes, NDArray[np.float32]]:
    if column.kind == "time":
        numbers = _seconds(_as_times(series, column.format), column.origin)
    else:
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
    codes = np.empty(len(numbers), dtype=np.int16)
    deviations = np.empty(len(numbers), dtype=np.float32)
    for start in range(0, len(numbers), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        codes[block], deviations[block] = _encode_block(column, numbers[block], rng)
    return codes, deviations


def _encode_block(column: Column, numbers: Floats, rng: Generator | None) -> tuple[Cells, Floats]:
    """Return codes and deviations: an atom where a number is one, else the mode it belongs to."""
    centers = np.array([np.nan if c is None else c for c in column.centers])
    widths = np.array(column.widths)
    modes, missing = column.modes, np.isnan(numbers)
    atoms = centers[modes : len(centers) - (column.centers[-1] is None)]
    codes = np.full(len(numbers), len(centers) - 1)
    deviations = np.full(len(numbers), np.nan)
    is_atom = np.zeros(len(numbers), dtype=bool)
    if len(atoms):
        nearest = _nearest(atoms, numbers)
        is_atom = ~missing & ((atoms[nearest] == numbers) | (modes == 0))
        codes[is_atom] = modes + nearest[is_atom]
    rest = ~(missing | is_atom)
    if modes and rest.any():
        x = numbers[rest]
        chances = responsibilities(x, column.centers[:modes], widths[:modes] / SPREAD)
        mode = _choose(chances, rng)
        codes[rest] = mode
        deviations[rest] = np.clip((x - centers[mode]) / widths[mode], -0.99, 0.99)
    return codes, deviations


def _nearest(sorted_values: Floats, numbers: Floats) -> Cells:
    """Return the index of the nearest of the sorted values."""
    right = np.searchsorted(sorted_values, numbers).clip(0, len(sorted_values) - 1)
    left = (right - 1).clip(0)
    nearer = np.abs(numbers - sorted_values[left]) < np.abs(sorted_values[right] - numbers)
    return np.where(nearer, left, right)


def _choose(chances: Floats, rng: Generator | None) -> Cells:
    if rng is None:
        return np.asarray(chances.argmax(axis=1))
    threshold = rng.random((len(chances), 1))
    drawn = (chances.cumsum(axis=1) < threshold).sum(axis=1)
    return np.asarray(np.minimum(drawn, chances.shape[1] - 1), dtype=np.int64)


def _encode_text(
    column: Column, series: pd.Series[Any], rng: Generator | None
) -> tuple[Codes, NDArray[np.float32]]:
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
    return codes.fillna(known).to_numpy(dtype=np.int16), np.empty(0, dtype=np.float32)


def _decode_number(
    column: Column, codes: Codes, deviations: NDArray[np.float32] | None
) -> pd.Series[Any]:
    centers = np.array([np.nan if c is None else c for c in column.centers])
    numbers = centers[codes]
    if deviations is not None:
        wide = np.array(column.widths)[codes]
        numbers = np.where(wide > 0, numbers + wide * np.clip(deviations, -1, 1), numbers)
    if column.step > 1:
        numbers = column.minimum + np.round((numbers - column.minimum) / column.step) * column.step
    elif column.digits is not None:
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
