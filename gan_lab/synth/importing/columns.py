"""What a column of a user's file holds: numbers, dates, booleans or texts, in the right type."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gan_lab.errors import BadTable

SAMPLE_ROWS = 40_000
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?[iI]nf(inity)?$"
THOUSANDS = r"^[+-]?\d{{1,3}}(\{0}\d{{3}})+(\{1}\d+)?$"
WHOLE = r"^[+-]?\d{1,18}$"
MOSTLY = 0.9
"""A text column of which at least this share are numbers is one of numbers with slips."""
DATES = (
    "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%Y", "%d-%b-%y",
    "%d-%m-%Y", "%Y/%m/%d",
)  # fmt: skip
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
SWAPPED = "days and months may be swapped"
DATE_FORMATS = ("ISO8601", *(date + time for date in DATES for time in TIMES))
ZONE = re.compile(r"[T ].*[+-]\d{2}:?\d{2}$")


@dataclass
class Column:
    """What one column holds.

    `kind` is one of missing, whole, number, bool, date, text, unusable. `values` are in the type
    that is written: missing where a text stands among numbers. `example`: the row and the text of
    the first cell that is no number. `notes`: what a user should know of it.
    """

    name: str
    kind: str
    values: pd.Series
    example: tuple[int, str] = (0, "")
    notes: list[str] = field(default_factory=list)
    zoned: bool = False  # dates that were written with their zone; they are in UTC now

    def __post_init__(self) -> None:
        self.missing = int(self.values.isna().sum())
        self.infinite, self.counts_rows = False, False
        self.minimum: float | None = None
        self.maximum: float | None = None
        self.sample = np.empty(0)
        if self.numeric:
            numbers = self.values.dropna().to_numpy(float)
            finite = numbers[np.isfinite(numbers)]
            self.infinite = len(finite) < len(numbers)
            self.sample = finite[:: 1 + len(finite) // SAMPLE_ROWS].copy()
            if len(finite):
                self.minimum, self.maximum = float(finite.min()), float(finite.max())
                self.counts_rows = len(finite) > 1 and bool((np.diff(finite) == 1).all())

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.kind in ("whole", "number")

    @property
    def present(self) -> int:
        """How many cells are not empty."""
        return len(self.values) - self.missing

    @property
    def shares(self) -> dict[str, float]:
        """The different values and their shares, of numbers among an even sample of the rows."""
        if self.kind in ("missing", "unusable"):
            return {}
        values = pd.Series(self.sample) if self.numeric else self.values
        shares = values.value_counts(normalize=True, sort=False)
        form = "{:g}".format if self.numeric else str
        return {form(value): float(share) for value, share in shares.items()}

    @property
    def distinct(self) -> int:
        """How many different values there are, of numbers among an even sample of the rows."""
        if self.kind == "unusable":
            return 0
        return len(np.unique(self.sample)) if self.numeric else self.values.nunique()

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


def read_column(name: str, given: pd.Series, decimal: str = ".", form: str | None = None) -> Column:
    """Find out what a column holds; what had a type of its own keeps it. Dates are read as `form`
    says, or in a usual form; raises `BadTable` where they are written otherwise."""
    if form and (dates := _dates_as(given, form)) is not None:
        return Column(name, "date", dates)
    column = _usual_column(name, given, decimal)
    if form:
        if column.kind != "date":
            row, text = column.example
            raise BadTable(
                f"{name!r} is not written as {form!r}, nor in a usual form: {text!r} in row {row}. "
                f"It looks like {likely_format(text)}."
            )
        column.notes.append(f"{name!r} is not written as {form!r}, but in a usual form.")
    return column


def _usual_column(name: str, given: pd.Series, decimal: str) -> Column:
    held = pd.api.types.infer_dtype(given.astype(object) if given.dtype == "category" else given)
    if given.isna().all():
        return Column(name, "missing", given)
    if held == "string":
        return _read_text(name, given, decimal)
    if held == "decimal":
        return Column(name, "number", given.astype("float64"))
    if held == "boolean":
        return Column(name, "bool", given.astype("boolean") if given.dtype == object else given)
    if pd.api.types.is_datetime64_any_dtype(given):
        return Column(name, "date", given, zoned=given.dt.tz is not None)
    if pd.api.types.is_numeric_dtype(given):
        whole = pd.api.types.is_integer_dtype(given)
        return Column(name, "whole" if whole else "number", given)
    return Column(name, "unusable", given, (0, type(given.dropna().iloc[0]).__name__))


def _read_text(name: str, given: pd.Series, decimal: str) -> Column:
    plain_type = object if given.dtype == "category" else given.dtype
    texts = pa.array(given.astype(plain_type), pa.string(), from_pandas=True)
    numbers = to_numbers(texts, decimal)
    present, found = texts.drop_null(), len(numbers) - numbers.null_count
    slips, notes, example = len(present) - found, [], (0, "")
    if slips:
        row = pc.index(pc.and_(pc.is_valid(texts), pc.is_null(numbers)), True).as_py()
        example = (row + 1, texts[row].as_py())
    cell = f"({example[1]!r} in row {example[0]})"
    if found >= MOSTLY * len(present):
        whole = not slips and pc.all(pc.match_substring_regex(_trim(present), WHOLE)).as_py()
        values = numbers.to_pandas()
        if whole:
            values = values.astype("Int64" if numbers.null_count else "int64")
        if slips:
            notes = [f"{name!r} has {slips} texts among its numbers {cell}: they count as missing."]
        return Column(name, "whole" if whole else "number", values, example, notes)
    plain = given.astype(object) if given.dtype != "category" else given
    if found:
        notes = [
            f"{name!r} mixes {found} numbers with texts {cell}: it counts as text; empty the cells "
            "that are not numbers to make it one."
        ]
        return Column(name, "text", plain, example, notes)
    if {text.strip().casefold() for text in present.unique().to_pylist()} <= {"true", "false"}:
        truth = plain.str.strip().str.lower().map({"true": True, "false": False})
        return Column(name, "bool", truth.astype("boolean" if len(present) < len(given) else bool))
    stripped = pd.Series(present.to_pandas()).str.strip()
    forms = [form for form in DATE_FORMATS if _dates(stripped[:1], form) is not None]
    forms = [form for form in forms if _dates(stripped, form) is not None]
    if not forms:
        return Column(name, "text", plain, example)
    if len(forms) > 1 and forms[0] != "ISO8601":
        notes.append(f"{name!r} was read as {forms[0]}; {SWAPPED}.")
    if ZONE.search(example[1]):
        notes.append(f"{name!r} has a time zone {cell}: it is now UTC.")
    zoned = bool(ZONE.search(example[1]) or example[1].endswith("Z"))
    dates = _dates(texts.to_pandas().str.strip(), forms[0])
    assert dates is not None
    return Column(name, "date", dates, example, notes, zoned)


def to_numbers(values: pa.Array, decimal: str) -> pa.Array:
    """Return texts as numbers, null where they are none; 1,234.5 and 12 % are some."""
    if decimal == ".":
        try:
            return values.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
    texts = _trim(values)
    group = "." if decimal == "," else ","
    grouped = pc.match_substring_regex(texts, THOUSANDS.format(group, decimal or "."))
    texts = pc.if_else(grouped, pc.replace_substring(texts, group, ""), texts)
    if decimal == ",":
        texts = pc.replace_substring(texts, ",", ".")
    texts = pc.replace_substring_regex(texts, r"(\d)\s?%$", r"\1")
    number = pc.match_substring_regex(texts, NUMBER)
    return pc.if_else(number, texts, None).cast(pa.float64())


def _dates(texts: pd.Series, form: str) -> pd.Series | None:
    """Return texts as times in UTC without zone; None where one is not of this form."""
    try:
        dates = pd.to_datetime(texts.str.replace(",", "."), format=form, utc=True)
    except ValueError:
        return None
    return dates.dt.tz_localize(None)


def _dates_as(given: pd.Series, form: str) -> pd.Series | None:
    """Return dates written as `form` says, in UTC without zone; None where one is not."""
    texts = given.astype(str).str.strip().where(given.notna())
    dates = pd.to_datetime(texts, format=form, utc=True, errors="coerce")
    return None if (dates.isna() & given.notna()).any() else dates.dt.tz_localize(None)


def likely_format(text: str) -> str:
    """Return how a date is likely written: 2004.02.12 as %Y.%m.%d, 12.02.2004 as %d.%m.%Y."""
    first = ("%Y", "%m", "%d") if re.match(r"\d{4}", text) else ("%d", "%m", "%Y")
    codes = iter((*first, "%H", "%M", "%S", "%f"))
    return re.sub(r"\d+", lambda _: next(codes, "%f"), text.replace("%", "%%"))


def _trim(values: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(values)
