"""What a column of a user's file holds: numbers, dates, booleans or texts, in the right type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

SAMPLE_ROWS = 40_000
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?[iI]nf(inity)?$"
THOUSANDS = r"^[+-]?\d{{1,3}}(\{0}\d{{3}})+(\{1}\d+)?$"
WHOLE = r"^[+-]?\d{1,18}$"
MOSTLY = 0.9
"""A text column of which at least this share are numbers is one of numbers with slips."""
DATES = (
    "%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y",
    "%Y/%m/%d", "%d-%b-%Y", "%d-%b-%y", "%d-%m-%Y",
)  # fmt: skip
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
DATE_FORMATS = ("iso", *(date + time for date in DATES for time in TIMES))

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass
class Column:
    """What one column holds.

    `kind` is one of missing, whole, number, bool, date, text, unusable. `values` are in the type
    that is written: null where a text stands among numbers. `example`: the row and the text of the
    first cell that is no number.
    """

    name: str
    kind: str
    values: pa.ChunkedArray
    source_type: pa.DataType
    numbers: int = 0
    slips: int = 0
    example: tuple[int, str] = (0, "")
    date_formats: tuple[str, ...] = ()
    nullable: bool = False
    missing: int = 0
    infinite: bool = False
    counts_rows: bool = False
    minimum: float | None = None
    maximum: float | None = None
    sample: Floats = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.missing = self.values.null_count
        self.sample = np.empty(0)
        if not self.numeric:
            return
        array = pc.cast(self.values, pa.float64(), safe=False).drop_null().to_numpy()
        array = array[~np.isnan(array)]
        finite = array[np.isfinite(array)]
        self.missing = len(self.values) - len(array)
        self.infinite = len(finite) < len(array)
        if not len(array):
            self.kind = "missing"
        if len(finite):
            self.minimum, self.maximum = float(finite.min()), float(finite.max())
            self.counts_rows = len(finite) > 1 and bool((np.diff(finite) == 1).all())
            self.sample = finite[:: 1 + len(finite) // SAMPLE_ROWS].copy()

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.kind in ("whole", "number")

    @property
    def present(self) -> int:
        """How many cells are not empty."""
        return len(self.values) - self.missing

    @cached_property
    def shares(self) -> dict[str, float]:
        """The different values and their shares, of numbers among an even sample of the rows."""
        if self.numeric:
            levels, counts = np.unique(self.sample, return_counts=True)
            names = [f"{level:g}" for level in levels]
        elif self.kind in ("text", "bool", "date"):
            found = plain(self.values).drop_null().value_counts()
            names = [str(level) for level in found.field("values")]
            counts = found.field("counts").to_numpy()
        else:
            return {}
        return dict(zip(names, (counts / counts.sum()).tolist(), strict=True))

    @property
    def distinct(self) -> int:
        """How many different values there are, of numbers among an even sample of the rows."""
        return len(np.unique(self.sample)) if self.numeric else len(self.shares)

    @property
    def constant(self) -> bool:
        """Whether all values that are there are the same."""
        if self.numeric:
            return self.minimum == self.maximum
        return self.kind in ("text", "bool") and self.distinct == 1

    @property
    def decimals(self) -> int:
        """How many decimals its numbers have, 9 at most."""
        for decimals in range(9):
            if np.allclose(self.sample, np.round(self.sample, decimals), rtol=0, atol=1e-10):
                return decimals
        return 9

    @property
    def outliers(self) -> int:
        """Values more than three times the span of the middle 98 % beyond it."""
        if not self.numeric or not len(self.sample):
            return 0
        low, high = np.quantile(self.sample, [0.01, 0.99])
        margin = 3 * (high - low)
        values = self.values.to_numpy()
        beyond = (values < low - margin) | (values > high + margin)
        return int(beyond.sum()) if margin > 0 else 0

    @property
    def series(self) -> pd.Series:
        """The values as pandas holds them: whole numbers with gaps as Int64, booleans as boolean.

        What had such a type in a Parquet file keeps it.
        """
        kind, dtype = self.values.type, ""
        if pa.types.is_floating(kind):
            dtype = f"Float{kind.bit_width}" if self.nullable and kind.bit_width > 16 else ""
        elif self.nullable or self.missing:
            if pa.types.is_boolean(kind):
                dtype = "boolean"
            elif pa.types.is_integer(kind):
                dtype = str(kind).replace("uint", "UInt").replace("int", "Int")
        mapper = (lambda _: pd.api.types.pandas_dtype(dtype)) if dtype else None
        return self.values.to_pandas(types_mapper=mapper)


def read_column(
    name: str, given: pa.ChunkedArray, decimal: str = ".", nullable: bool = False
) -> Column:
    """Find out what a column holds; `nullable`: it was of a type of pandas that has <NA>."""
    kind = given.type
    if given.null_count == len(given):
        return Column(name, "missing", given, kind)
    if is_text(kind):
        return _read_text(name, given, decimal)
    if pa.types.is_decimal(kind):  # by way of text: Arrow is a bit off
        return Column(name, "number", given.cast(pa.string()).cast(pa.float64()), kind)
    if pa.types.is_boolean(kind):
        what = "bool"
    elif pa.types.is_integer(kind):
        what = "whole"
    elif pa.types.is_floating(kind):
        what = "number"
    else:
        date = pa.types.is_temporal(kind) and not pa.types.is_time(kind)
        what = "date" if date else "unusable"
    return Column(name, what, given, kind, nullable=nullable)


def _read_text(name: str, given: pa.ChunkedArray, decimal: str) -> Column:
    values = plain(given)
    present = values.drop_null()
    numbers = to_numbers(values, decimal)
    found = len(numbers) - numbers.null_count
    slips = len(present) - found
    column = Column(name, "text", given, given.type, found, slips)
    if slips:
        row = pc.index(pc.and_(pc.is_valid(values), pc.is_null(numbers)), True).as_py()
        column.example = (row + 1, values[row].as_py())
    if found >= MOSTLY * len(present):
        whole = not slips and pc.all(pc.match_substring_regex(_trim(present), WHOLE)).as_py()
        values = numbers.cast(pa.int64()) if whole else numbers
        kind = "whole" if whole else "number"
        return Column(name, kind, values, given.type, found, slips, column.example)
    if found:
        return column
    if {text.strip().casefold() for text in present.unique().to_pylist()} <= {"true", "false"}:
        column.kind, column.values = "bool", pc.equal(pc.utf8_lower(_trim(values)), "true")
    else:
        likely = [form for form in DATE_FORMATS if _are_dates(present[:1], form)]
        column.date_formats = tuple(form for form in likely if _are_dates(present, form))
        if column.date_formats:
            column.kind, column.values = "date", to_dates(values, column.date_formats[0])
    return column


def to_numbers(values: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """Return texts as numbers, null where they are none; 1,234.5 and 12 % are some."""
    if decimal == ".":
        try:
            return values.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
    texts = _trim(values)
    group = "." if decimal == "," else ","
    grouped = pc.match_substring_regex(texts, THOUSANDS.format(group, decimal))
    texts = pc.if_else(grouped, pc.replace_substring(texts, group, ""), texts)
    if decimal == ",":
        texts = pc.replace_substring(texts, ",", ".")
    texts = pc.replace_substring_regex(texts, r"(\d)\s?%$", r"\1")
    number = pc.match_substring_regex(texts, NUMBER)
    return pc.if_else(number, texts, None).cast(pa.float64())


def to_dates(values: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """Return texts as times without zone; raises `ArrowInvalid` where one is not of this form."""
    texts = _trim(values)
    if form == "iso":
        try:
            return texts.cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            return texts.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    if not form.endswith(".%f"):
        return pc.strptime(texts, format=form, unit="us")
    whole = pc.replace_substring_regex(texts, r"[.,]\d+$", "")
    seconds = pc.strptime(whole, format=form.removesuffix(".%f"), unit="us")
    rest = pc.replace_substring_regex(texts, r"^.*[.,]", "0.").cast(pa.float64())
    micros = pc.round(pc.multiply(rest, 1e6)).cast(pa.int64())
    return pc.add(seconds.cast(pa.int64()), micros).cast(pa.timestamp("us"))


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds texts, as they are or numbered (a category of pandas)."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return categories as the values they stand for."""
    kind = values.type
    return values.cast(kind.value_type) if pa.types.is_dictionary(kind) else values


def _trim(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(values)


def _are_dates(present: pa.ChunkedArray, form: str) -> bool:
    try:
        first = pc.min(to_dates(present, form)).as_py()
    except pa.ArrowInvalid:
        return False
    return first.year >= 1000  # %Y takes two digits for the first century
