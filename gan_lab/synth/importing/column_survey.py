"""What the columns of users' files hold: found out in one pass, in constant memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gan_lab.workspace.profiles import Group

SAMPLE_ROWS = 20_000
DISTINCT_LIMIT = 10_000
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
FRACTION = r"[.,]\d+$"
BOOLS = {"true", "false"}
UNITS: dict[Group, dict[str, str]] = {
    "temperature": {"c": "degC", "degc": "degC", "°c": "degC", "k": "K", "f": "degF"},
    "vibration": {"mm/s": "mm/s", "mm_s": "mm/s", "g": "g", "in/s": "in/s", "mv": "mV"},
    "electrical": {"a": "A", "v": "V", "kw": "kW", "w": "W", "kva": "kVA", "ma": "mA", "hz": "Hz"},
    "hydraulic": {
        "bar": "bar", "mbar": "mbar", "psi": "psi", "pa": "Pa", "kpa": "kPa", "mpa": "MPa",
        "l/min": "l/min", "l_min": "l/min", "m3/h": "m3/h", "m3_h": "m3/h", "lpm": "l/min",
    },
    "wear": {"um": "um", "µm": "um", "cst": "cSt"},
    "process": {
        "rpm": "rpm", "pct": "%", "%": "%", "nm": "Nm", "n": "N", "kn": "kN", "mm": "mm", "m": "m",
        "s": "s", "min": "min", "h": "h", "kg": "kg", "m_s": "m/s", "m/s": "m/s", "ppm": "ppm",
        "deg": "deg", "kg_s": "kg/s", "ms": "ms", "kwh": "kWh", "t": "t",
    },
}  # fmt: skip


@dataclass
class Column:
    """What one column holds, so far."""

    name: str
    type: pa.DataType
    decimal: str = "."
    rows: int = 0
    missing: int = 0
    numbers: int = 0
    whole: int = 0
    infinite: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    rising_by_one: bool = True
    last: float | None = None
    texts: Counter[str] = field(default_factory=Counter)
    many_texts: bool = False
    odd: list[tuple[int, str]] = field(default_factory=list)
    date_formats: list[str] = field(default_factory=lambda: list(DATE_FORMATS))
    nullable: bool = False  # of a type of pandas that has <NA>
    stride: int = 1
    sample: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = field(default_factory=list)

    @property
    def present(self) -> int:
        """Values that are there."""
        return self.rows - self.missing

    @property
    def kind(self) -> str:
        """One of missing, whole, number, bool, date, text, unusable."""
        if not self.present:
            return "missing"
        if pa.types.is_boolean(self.type):
            return "bool"
        if pa.types.is_temporal(self.type) and not pa.types.is_time(self.type):
            return "date"
        if not _is_text(self.type):
            if not _is_number(self.type):
                return "unusable"
            return "whole" if pa.types.is_integer(self.type) else "number"
        few = self.texts if len(self.texts) < 7 else ("",)
        if not self.numbers and {text.strip().casefold() for text in few} <= BOOLS:
            return "bool"
        if self.numbers >= MOSTLY * self.present:
            return "whole" if self.whole == self.present else "number"
        return "date" if self.date_formats else "text"

    @property
    def distinct(self) -> int:
        """Different values: texts counted, numbers among the sampled rows."""
        return len(self.texts) + len(np.unique(self.values))

    @property
    def values(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The numbers of an even sample of the rows, in order."""
        return np.concatenate(self.sample) if self.sample else np.empty(0)

    def add(self, values: pa.ChunkedArray, first_row: int) -> None:
        """Take in the next rows."""
        self.rows += len(values)
        self.missing += values.null_count
        present = values.drop_null()
        if not len(present):
            return
        if _is_text(self.type):
            self._add_text(_plain(values), _plain(present), first_row)
        elif pa.types.is_boolean(self.type):
            self._add_texts(present.cast(pa.string()))
        elif _is_number(self.type):
            self._add_numbers(pc.cast(values, pa.float64(), safe=False))

    def _add_text(self, values: pa.ChunkedArray, present: pa.ChunkedArray, first_row: int) -> None:
        numbers = to_numbers(values, self.decimal)
        found = len(numbers) - numbers.null_count
        slips = len(present) - found
        if found:
            self._add_numbers(numbers)
            self.whole += int(pc.sum(pc.match_substring_regex(_trim(present), WHOLE)).as_py() or 0)
        if slips:
            where = pc.and_(pc.is_valid(values), pc.is_null(numbers))
            rows = np.flatnonzero(where.to_numpy(zero_copy_only=False))
            texts = pc.filter(values, where)
            for row, text in zip(rows[:3], texts[:3].to_pylist(), strict=True):
                if len(self.odd) < 3:
                    self.odd.append((first_row + int(row) + 1, text))
            self._add_texts(texts)
        if self.date_formats:
            usable = self.date_formats if slips == len(present) else []
            usable = [form for form in usable if _all_dates(present[:1], form)]
            self.date_formats = [form for form in usable if _all_dates(present, form)]

    def _add_texts(self, texts: pa.ChunkedArray) -> None:
        if self.many_texts:
            return
        for item in pc.value_counts(texts):
            self.texts[item["values"].as_py()] += item["counts"].as_py()
        self.many_texts = len(self.texts) > DISTINCT_LIMIT

    def _add_numbers(self, numbers: pa.ChunkedArray) -> None:
        array = numbers.drop_null().to_numpy()
        array = array[~np.isnan(array)]
        if not _is_text(self.type):
            self.missing += len(numbers) - numbers.null_count - len(array)
        finite = array[np.isfinite(array)]
        self.numbers += len(array)
        self.infinite += len(array) - len(finite)
        if not len(finite):
            return
        self.minimum = min(self.minimum, float(finite.min()))
        self.maximum = max(self.maximum, float(finite.max()))
        if self.rising_by_one:
            steps = np.diff(finite, prepend=finite[0] - 1 if self.last is None else self.last)
            self.rising_by_one = bool((steps == 1).all())
            self.last = float(finite[-1])
        self.sample.append(finite[:: self.stride].copy())  # a view would keep the whole chunk
        while sum(map(len, self.sample)) > 2 * SAMPLE_ROWS:
            self.sample, self.stride = [np.concatenate(self.sample)[::2]], self.stride * 2


def survey(chunks: Iterable[pa.Table], schema: pa.Schema, decimal: str) -> dict[str, Column]:
    """Return what each column holds, by name, after one pass over all rows."""
    columns = {item.name: Column(item.name, item.type, decimal) for item in schema}
    first_row = 0
    for chunk in chunks:
        for name, column in columns.items():
            column.add(chunk.column(name), first_row)
        first_row += chunk.num_rows
    return columns


def convert(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Return a column of a chunk in the type its kind asks for; Parquet's own types stay."""
    if not _is_text(column.type):
        if pa.types.is_decimal(column.type):  # by way of text: Arrow is a bit off
            return values.cast(pa.string()).cast(pa.float64())
        return values
    if column.kind in ("whole", "number"):
        numbers = to_numbers(_plain(values), column.decimal)
        return numbers.cast(pa.int64()) if column.kind == "whole" else numbers
    if column.kind == "date":
        return to_dates(_plain(values), column.date_formats[0])
    if column.kind == "bool":
        return pc.equal(pc.utf8_lower(_trim(_plain(values))), "true")
    return values


def target_type(column: Column) -> pa.DataType:
    """Return the type that `convert` gives a column."""
    if not _is_text(column.type):
        return pa.float64() if pa.types.is_decimal(column.type) else column.type
    kinds = {"whole": pa.int64(), "number": pa.float64(), "date": pa.timestamp("us")}
    return {**kinds, "bool": pa.bool_()}.get(column.kind, column.type)


def nullable_type(column: Column) -> str:
    """Return the type of pandas that keeps whole numbers and booleans what they are beside <NA>.

    "" where pandas needs none: no value is missing, and the source had no such type either.
    """
    kind = target_type(column)
    if pa.types.is_floating(kind) and column.nullable:
        return {32: "Float32", 64: "Float64"}.get(kind.bit_width, "")
    if not (column.nullable or column.missing):
        return ""
    if pa.types.is_boolean(kind):
        return "boolean"
    whole = pa.types.is_integer(kind)
    return str(kind).replace("uint", "UInt").replace("int", "Int") if whole else ""


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
    seconds = pc.strptime(
        pc.replace_substring_regex(texts, FRACTION, ""), format=form[:-3], unit="us"
    )
    rest = pc.replace_substring_regex(texts, r"^.*[.,]", "0.").cast(pa.float64())
    micros = pc.round(pc.multiply(rest, 1e6)).cast(pa.int64())
    return pc.add(seconds.cast(pa.int64()), micros).cast(pa.timestamp("us"))


def guess_unit(name: str) -> tuple[str, Group]:
    """Return the unit and the group that a column's name gives away: `Torque [Nm]`, `flow_m3_h`."""
    bracket = re.search(r"[\[(]([^\])]+)[\])]\s*$", name)
    parts = re.split(r"[_\s]", name)
    endings = (
        [bracket[1]] if bracket else ["_".join(parts[-2:]), parts[-1]] if len(parts) > 1 else []
    )
    for ending in endings:
        for group, units in UNITS.items():
            if unit := units.get(ending.strip().lower()):
                return unit, group
    return (bracket[1], "process") if bracket else ("", "process")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = values.type
    return values.cast(kind.value_type) if pa.types.is_dictionary(kind) else values


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _trim(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(values)


def _all_dates(present: pa.ChunkedArray, form: str) -> bool:
    try:
        first = pc.min(to_dates(present, form)).as_py()
    except pa.ArrowInvalid:
        return False
    return first.year >= 1000  # %Y takes two digits for the first century
