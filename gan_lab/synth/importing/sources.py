"""Users' files as Arrow tables: CSV of any dialect (every cell as text), and Parquet."""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gan_lab.errors import BadTable, TooMuchMemory

HEAD_BYTES = 256 * 1024
SAMPLE_LINES = 200
SEPARATORS = (",", ";", "\t", "|", " ")
MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "#NV", "NaN", "nan", "null", "NULL", "None", "-", "--", "?",
    "#DIV/0!", "#WERT!", "#VALUE!", "Bad", "No Data", "<NA>",
)  # fmt: skip
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
MEMORY_FACTOR = 3
"""Memory that an import takes at least, in sizes of the file; short cells take up to ten."""


@dataclass
class Source:
    """What one file holds; `decimal` is the sign its decimals are written with, "" if unknown.

    `nullable`: the columns that had a type of pandas with <NA>. `notes`: what is to be said of it.
    """

    path: Path
    table: pa.Table
    decimal: str = ""
    nullable: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


@dataclass
class Dialect:
    """How a delimited text file is written: `first_line` is the first of its rows."""

    encoding: str
    separator: str
    decimal: str
    names: list[str]
    first_line: int
    multiline: bool


def read_source(path: Path) -> Source:
    """Read a file whole; raises `BadTable` where it is no table that can be read.

    Raises `TooMuchMemory` where the file is too large for the memory that is free.
    """
    if not path.is_file():
        raise BadTable(f"There is no file {path}." if not path.exists() else f"{path} is a folder.")
    size, free = path.stat().st_size, psutil.virtual_memory().available
    if MEMORY_FACTOR * size > free:
        raise TooMuchMemory(
            f"{path} holds {size / 1e9:.1f} GB, and an import takes at least {MEMORY_FACTOR} times "
            f"as much memory, of which {free / 1e9:.1f} GB are free: import a part of its rows."
        )
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise BadTable(f"{path} is empty.")
    if head.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b")):
        raise BadTable(
            f"{path} is an Excel workbook or an archive: save the sheet as CSV, or unpack it."
        )
    notes: list[str] = []
    dialect = _sniff(path, head, notes)
    table = _read_csv(path, dialect, notes)
    return Source(path, table, dialect.decimal, notes=notes)


def _read_parquet(path: Path) -> Source:
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise BadTable(
            f"{path} is not a readable Parquet file ({_first_line(error)}): "
            "export it again or fetch it anew."
        ) from None
    if not table.column_names:
        raise BadTable(f"{path} has no columns.")
    of_pandas = (table.schema.pandas_metadata or {}).get("columns", ())
    nullable = {
        str(column["name"])
        for column in of_pandas
        if re.fullmatch(r"U?Int\d+|Float\d+|boolean", str(column["numpy_type"]))
    }
    return Source(path, table, nullable=nullable)


def _read_csv(path: Path, dialect: Dialect, notes: list[str]) -> pa.Table:
    """Read the rows; those with a wrong number of fields go, unless they are more than 1 %."""
    names, encoding = dialect.names, dialect.encoding.removesuffix("-sig")
    wrong: list[pa_csv.InvalidRow] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        wrong.append(row)
        return "skip"

    try:
        table = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(
                skip_rows=dialect.first_line, column_names=names, encoding=encoding,
                use_threads=False,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=dialect.separator, newlines_in_values=dialect.multiline,
                invalid_row_handler=skip,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                null_values=list(MISSING), strings_can_be_null=True,
            ),
        )  # fmt: skip
    except pa.ArrowException as error:
        raise BadTable(f"{path} cannot be read as a table ({_first_line(error)}).") from None
    if not wrong:
        return table
    last = wrong[-1]
    data = last.text.encode(encoding)
    if last.actual_columns < len(names) and path.read_bytes().endswith(data):  # not even a new line
        raise BadTable(
            f"{path} ends in the middle of a row ({last.actual_columns} of {len(names)} fields): "
            "export it again or fetch it anew."
        )
    rows = table.num_rows + len(wrong)
    what = (
        f"{len(wrong)} of {rows} rows of {path.name} do not have {len(names)} fields (the first "
        f"has {wrong[0].actual_columns})"
    )
    if len(wrong) > max(1, 0.01 * rows):
        raise BadTable(f"{what}: export it again, with text in quotes.")
    notes.append(f"{what}: left out.")
    return table


def _sniff(path: Path, head: bytes, notes: list[str]) -> Dialect:
    """Find out how a text file is written; csv.Sniffer knows no decimal commas and no headings."""
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
    names, headings = _names(path, rows, notes)
    if any(line.strip() for line in lines[skip:first]):
        notes.append(f"{path.name} has {first - skip} lines before its heading: left out.")
    multiline = any(line.count('"') % 2 for line in lines)
    decimal = _decimal(rows, separator)
    return Dialect(encoding, separator, decimal, names, first + headings, multiline)


def _lines(path: Path, head: bytes, encoding: str) -> list[str]:
    text = codecs.getincrementaldecoder(encoding)(errors="strict").decode(head)
    if "\x00" in text:
        raise BadTable(f"{path} is neither text nor Parquet: export it as CSV or Parquet.")
    lines = text.splitlines()
    if len(head) == HEAD_BYTES and len(lines) > 1:
        lines.pop()  # cut in the middle
    return lines


def _names(path: Path, rows: list[list[str]], notes: list[str]) -> tuple[list[str], int]:
    """The names of the columns, and how many lines make the heading."""
    header = [cell.strip() for cell in rows[0]]
    if any(map(NUMBER.fullmatch, header)) and not re.search(r"[^\W\d]", "".join(header)):
        names = [f"column_{number}" for number in range(1, len(header) + 1)]
        notes.append(f"{path.name} has no heading: its columns are column_1 to {names[-1]}.")
        return names, 0
    units = _units(rows[1:])
    if units:
        notes.append(f"{path.name} has units below its heading ({units}): left out.")
    return _unique(header, path, notes), 2 if units else 1


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
    units = [cell for cell in first if cell not in MISSING]
    return "" if any(map(NUMBER.fullmatch, first)) else ", ".join(units[:3])


def _encoding(path: Path, head: bytes) -> str:
    for bom, name in BOMS.items():
        if head.startswith(bom):
            return name
    try:
        path.read_text("utf-8")
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
    """Whether decimals are written with comma or point; "" where no cell has any."""
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
