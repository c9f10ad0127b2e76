"""Users' files as streams of Arrow tables: CSV of any dialect (every cell as text), and Parquet."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gan_lab.errors import BadTable

BLOCK_BYTES = 2 * 1024 * 1024
BLOCK_ROWS = 100_000
HEAD_BYTES = 256 * 1024
SAMPLE_LINES = 200
SEPARATORS = (",", ";", "\t", "|", " ")
MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "#NV", "NaN", "nan", "null", "NULL", "None", "-", "--", "?",
    "#DIV/0!", "#WERT!", "#VALUE!", "Bad", "No Data", "<NA>",
)  # fmt: skip
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


@dataclass
class ParquetSource:
    """One Parquet file."""

    path: Path
    decimal: str = ""
    notes: list[str] = field(default_factory=list)

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns and types; raises `BadTable` where the file is truncated or no Parquet."""
        try:
            return pq.read_schema(self.path)
        except (pa.ArrowException, OSError) as error:
            raise BadTable(
                f"{self.path} is not a readable Parquet file ({_first_line(error)}): "
                "export it again or fetch it anew."
            ) from None

    def chunks(self) -> Iterator[pa.Table]:
        """Yield the rows in order, some 100,000 at a time."""
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(BLOCK_ROWS):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise BadTable(f"{self.path} is damaged inside ({_first_line(error)}).") from None


@dataclass
class CsvSource:
    """One delimited text file, with what was found out about its dialect."""

    path: Path
    encoding: str
    separator: str
    decimal: str
    names: list[str]
    skip_lines: int
    multiline: bool
    notes: list[str] = field(default_factory=list)

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns, all of them text: the survey decides what they hold."""
        return pa.schema([(name, pa.string()) for name in self.names])

    def chunks(self) -> Iterator[pa.Table]:
        """Yield the rows in order, some megabytes at a time; rows with a wrong number of fields go.

        Raises `BadTable` where more than 1 % of the rows do.
        """
        wrong: list[int] = []
        rows, last = 0, ""

        def skip(row: pa_csv.InvalidRow) -> str:
            nonlocal last
            wrong.append(row.actual_columns)
            last = row.text
            return "skip"

        try:
            with pa_csv.open_csv(
                self.path,
                read_options=pa_csv.ReadOptions(
                    block_size=BLOCK_BYTES, skip_rows=self.skip_lines, column_names=self.names,
                    encoding=self.encoding.removesuffix("-sig"), use_threads=False,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=self.separator, newlines_in_values=self.multiline,
                    invalid_row_handler=skip,
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types={name: pa.string() for name in self.names},
                    null_values=list(MISSING), strings_can_be_null=True,
                ),
            ) as reader:  # fmt: skip
                for batch in reader:
                    rows += batch.num_rows
                    yield pa.Table.from_batches([batch])
        except pa.ArrowException as error:
            if "Empty CSV" not in str(error):
                raise BadTable(
                    f"{self.path} cannot be read as a table ({_first_line(error)})."
                ) from None
        if wrong and wrong[-1] < len(self.names) and self._ends_with(last):
            raise BadTable(
                f"{self.path} ends in the middle of a row ({wrong[-1]} of {len(self.names)} "
                "fields): export it again or fetch it anew."
            )
        self._judge(wrong, rows)

    def _ends_with(self, row: str) -> bool:
        """Whether nothing follows this row in the file, not even a new line."""
        data = row.encode(self.encoding.removesuffix("-sig"))
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - len(data)))
            return file.read() == data

    def _judge(self, wrong: list[int], rows: int) -> None:
        if not wrong:
            return
        what = (
            f"{len(wrong)} of {rows + len(wrong)} rows of {self.path.name} do not have "
            f"{len(self.names)} fields (the first has {wrong[0]})"
        )
        if len(wrong) > max(1, 0.01 * (rows + len(wrong))):
            raise BadTable(f"{what}: export it again, with text in quotes.")
        note = f"{what}: left out."
        if note not in self.notes:
            self.notes.append(note)


Source = ParquetSource | CsvSource


def open_source(path: Path) -> Source:
    """Find out what a file is; raises `BadTable` where it is no table that can be read."""
    if not path.is_file():
        raise BadTable(f"There is no file {path}." if not path.exists() else f"{path} is a folder.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise BadTable(f"{path} is empty.")
    if head.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
        source = ParquetSource(path)
        if not source.schema.names:
            raise BadTable(f"{path} has no columns.")
        return source
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b")):
        raise BadTable(
            f"{path} is an Excel workbook or an archive: save the sheet as CSV, or unpack it."
        )
    return _sniff(path, head)


def _sniff(path: Path, head: bytes) -> CsvSource:
    encoding = _encoding(path, head)
    lines = _lines(path, head, encoding)
    skip, separator = 0, ""
    if lines[0].lower().startswith("sep="):  # Excel writes its separator so
        skip, separator = 1, lines[0][4:5]
    sample = [line for line in lines[skip : skip + SAMPLE_LINES] if line.strip()]
    if len(sample) < 2:
        raise BadTable(f"{path} has a heading but no rows." if sample else f"{path} is empty.")
    separator = separator or _separator(sample)
    first = _heading(lines, skip, separator)
    sample = lines[first : first + SAMPLE_LINES]
    rows = [row for row in csv.reader(sample, delimiter=separator) if row]
    names, headings, notes = _names(path, rows)
    if any(line.strip() for line in lines[skip:first]):
        notes.append(f"{path.name} has {first - skip} lines before its heading: left out.")
    return CsvSource(
        path, encoding, separator, _decimal(rows, separator), names, first + headings,
        multiline=any(line.count('"') % 2 for line in lines), notes=notes,
    )  # fmt: skip


def _lines(path: Path, head: bytes, encoding: str) -> list[str]:
    text = codecs.getincrementaldecoder(encoding)(errors="strict").decode(head)
    if "\x00" in text:
        raise BadTable(f"{path} is neither text nor Parquet: export it as CSV or Parquet.")
    lines = text.splitlines()
    if len(head) == HEAD_BYTES and len(lines) > 1:
        lines.pop()  # cut in the middle
    return lines


def _names(path: Path, rows: list[list[str]]) -> tuple[list[str], int, list[str]]:
    """The names of the columns, how many lines make the heading, and what is to be said of it."""
    notes: list[str] = []
    header = [cell.strip() for cell in rows[0]]
    if any(map(NUMBER.fullmatch, header)) and not re.search(r"[^\W\d]", "".join(header)):
        names = [f"column_{number}" for number in range(1, len(header) + 1)]
        return names, 0, [f"{path.name} has no heading: its columns are column_1 to {names[-1]}."]
    units = _units(rows[1:])
    if units:
        notes.append(f"{path.name} has units below its heading ({units}): left out.")
    return _unique(header, path, notes), 2 if units else 1, notes


def _heading(lines: list[str], skip: int, separator: str) -> int:
    """The line of the heading: behind comments, and lines of not half as many fields as usual."""
    sample = lines[skip : skip + SAMPLE_LINES]
    fields = [len(row) for row in csv.reader(sample, delimiter=separator) if row]
    usual = max(set(fields), key=fields.count)
    for number, line in enumerate(sample, skip):
        count = len(next(csv.reader([line], delimiter=separator), []))
        if 2 * count > usual and (count == usual or not line.startswith("#")):
            return number
    return skip


def _units(rows: list[list[str]]) -> str:
    """The first row, where it has no number and the rows below it are numbers; else nothing."""
    numeric = [
        column
        for column in range(len(rows[0]) if rows else 0)
        if (cells := [row[column].strip() for row in rows[1:] if column < len(row)])
        and all(NUMBER.fullmatch(cell) or cell in MISSING for cell in cells)
        and any(map(NUMBER.fullmatch, cells))
    ]
    first = [rows[0][column].strip() for column in numeric]
    told = [cell for cell in first if cell not in MISSING]
    return "" if any(map(NUMBER.fullmatch, first)) else ", ".join(told[:3])


def _encoding(path: Path, head: bytes) -> str:
    for bom, name in BOMS.items():
        if head.startswith(bom):
            return name
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                decoder.decode(block)
    except UnicodeDecodeError:
        return "cp1252" if not set(head) & {0x81, 0x8D, 0x8F, 0x90, 0x9D} else "latin-1"
    return "utf-8"


def _separator(sample: list[str]) -> str:
    """The separator by which most lines fall into the same, and the greatest, number of fields."""

    def score(separator: str) -> tuple[float, bool, int]:
        counts = [len(row) for row in csv.reader(sample, delimiter=separator)]
        usual = max(set(counts), key=counts.count)
        agreeing = counts.count(usual) / len(counts) if usual > 1 else 0.0
        agreeing = round(agreeing, 1) if separator != " " else agreeing * 0.5
        return agreeing, counts[0] == usual, usual

    best = max(SEPARATORS, key=score)
    return best if score(best)[0] > 0 else ","


def _decimal(rows: list[list[str]], separator: str) -> str:
    """Whether decimals are written with comma or point; "" where no cell tells."""
    cells = [cell.strip() for row in rows[1:] for cell in row]
    commas = sum(bool(re.fullmatch(r"[+-]?[\d.]*\d,\d+", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[+-]?[\d,]*\d\.\d+", cell)) for cell in cells)
    if separator == ",":  # quoted: 1,234 is rather a thousand
        commas -= sum(bool(re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", cell)) for cell in cells)
    if not commas and not points:
        return ""
    return "," if commas > points else "."


def _unique(header: list[str], path: Path, notes: list[str]) -> list[str]:
    """The headings, numbered where they are there twice, made up where they are missing."""
    names: list[str] = []
    for number, heading in enumerate(header, 1):
        name = wanted = heading or f"column_{number}"
        repeat = 2
        while name in names:
            name, repeat = f"{wanted}_{repeat}", repeat + 1
        if name != wanted:
            notes.append(f"{path.name} has the column {wanted!r} twice: the later one is {name!r}.")
        names.append(name)
    return names


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")[:200]
