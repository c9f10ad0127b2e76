"""Users' files as one table: CSV (every cell as text), Parquet, Excel, or data frames."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mode
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gan_lab.errors import BadParameter, BadTable, TooMuchMemory

HEAD_BYTES = 256 * 1024
CELL_BYTES = 8
BLOCK_BYTES = 16 * 1024 * 1024
GZIP = b"\x1f\x8b"
SEPARATORS = ";\t|,"
TEXT = pd.ArrowDtype(pa.string())
MISSING = (
    "", "NA", "N/A", "n/a", "#N/A", "#NV", "NaN", "nan", "null", "NULL", "None", "-", "--", "?",
    "#DIV/0!", "#WERT!", "#VALUE!", "Bad", "No Data", "<NA>",
)  # fmt: skip
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
MEMORY_FACTOR = 3
"""Memory that an import takes at least, in sizes of the file; short cells take up to ten."""


@dataclass
class Source:
    """What one file holds; `decimal` is the sign its decimals are written with, "" if unknown.

    `text`: it is CSV, its cells all text. `notes`: what is to be said of it.
    """

    name: str
    table: pd.DataFrame
    text: bool = False
    decimal: str = ""
    notes: list[str] = field(default_factory=list)


def read_source(given: Any, sheet: str | None = None, option: str = "--sheet") -> Source:
    """Read a file whole, or take a data frame of any library; raises `BadTable` where it is no
    table.

    `sheet`: of an Excel workbook, named by this `option`. Raises `TooMuchMemory` where the file is
    too large for the memory that is free.
    """
    if not isinstance(given, str | Path | pd.DataFrame) and hasattr(given, "__dataframe__"):
        given = pd.api.interchange.from_dataframe(given)
    if isinstance(given, pd.DataFrame):
        return Source("the data frame", _without_index(given))
    if not isinstance(given, str | Path):
        raise BadParameter(f"{given!r} is no table: name a file, or give a data frame.")
    path = Path(given)
    if not path.is_file():
        raise BadTable(f"There is no file {path}." if not path.exists() else f"{path} is a folder.")
    _check_size(path, path.stat().st_size)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise BadTable(f"{path} is empty.")
    if head.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
        return Source(path.name, _read_parquet(path))
    if head.startswith(b"PK\x03\x04"):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            _check_size(path, sum(part.file_size for part in archive.infolist()))
        return _read_excel(path, sheet, option)
    if sheet is not None:
        raise BadParameter(f"sheet={sheet!r} is of an Excel workbook, and {path} is none.")
    if head.startswith(GZIP):
        return _read_csv(path, _unpacked(path))
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise BadTable(f"{path} is an Excel workbook of before 2007: save it as .xlsx or CSV.")
    return _read_csv(path, path.read_bytes())


def one_table(sources: Sequence[Source], life: str | None, life_per_file: bool) -> pd.DataFrame:
    """Return the rows of all files; with `life_per_file` each gets its number as its `life`.

    Raises `BadTable` where the files do not go together.
    """
    first = sources[0]
    for other in sources[1:]:
        if differing := set(first.table.columns) ^ set(other.table.columns):
            raise BadTable(
                f"{other.name} and {first.name} do not have the same columns: "
                f"{', '.join(map(repr, sorted(differing)[:5]))} only in one of them."
            )
        if other.text != first.text:
            raise BadTable(f"{other.name} and {first.name} are CSV and Parquet: bring one kind.")
    written = {source.decimal: source.name for source in sources if source.decimal}
    if len(written) > 1:
        raise BadTable(
            f"{written[',']} writes decimals with a comma, {written['.']} with a point: "
            "export them alike."
        )
    table = pd.concat([source.table for source in sources], ignore_index=True)
    if life_per_file and life in table:
        raise BadParameter(
            f"The files have a column {life!r}: use --life {life}, not --life-per-file."
        )
    if life_per_file:
        numbers = [n for n, source in enumerate(sources, 1) for _ in range(len(source.table))]
        table.insert(0, life, numbers)
    return table


def _without_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose index is a column where it has a name, and gone where it has none."""
    frame = frame.reset_index(drop=not any(frame.index.names))
    names = [str(name) for name in frame.columns]
    _check_names("The table", names)
    return frame.set_axis(names, axis=1)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        footer = pq.read_metadata(path)  # a few kilobytes can claim gigabytes of equal rows
        pages = sum(footer.row_group(n).total_byte_size for n in range(footer.num_row_groups))
        _check_size(path, max(CELL_BYTES * footer.num_rows * footer.num_columns, pages))
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise BadTable(
            f"{path} is not a readable Parquet file ({_first_line(error)}): "
            "export it again or fetch it anew."
        ) from None
    if not table.column_names:
        raise BadTable(f"{path} has no columns.")
    frame = table.to_pandas(date_as_object=False)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_integer(column.type) and column.null_count:  # else they would be floats
            integer = str(column.type).replace("uint", "UInt").replace("int", "Int")
            frame[name] = frame[name].astype(integer)
    return _without_index(frame)


def _check_size(path: Path, size: int) -> None:
    """Raise `TooMuchMemory` where there is not enough for so many bytes of a table."""
    free = psutil.virtual_memory().available
    if MEMORY_FACTOR * size > free:
        raise TooMuchMemory(
            f"{path} holds {size / 1e9:.1f} GB, and an import takes at least {MEMORY_FACTOR} times "
            f"as much memory, of which {free / 1e9:.1f} GB are free: import a part of its rows."
        )


def _unpacked(path: Path) -> bytes:
    data = bytearray()
    try:
        with gzip.open(path) as file:
            while block := file.read(BLOCK_BYTES):
                data += block
                _check_size(path, len(data))
    except (EOFError, OSError, zlib.error) as error:
        raise BadTable(f"{path} cannot be unpacked ({_first_line(error)}).") from None
    return bytes(data)


def _read_excel(path: Path, sheet: str | None, option: str) -> Source:
    """Read one sheet of a workbook as if it had been saved as CSV, from its fullest row on."""
    try:
        with pd.ExcelFile(path, engine="openpyxl") as book:
            names = [str(name) for name in book.sheet_names]
            if sheet not in names and (sheet or len(names) > 1):
                raise BadTable(
                    f"{path} has the sheets {', '.join(map(repr, names))}: name one with {option}."
                )
            cells = book.parse(sheet or names[0], header=None, dtype=object)
    except (KeyError, ValueError, OSError, SyntaxError, zipfile.BadZipFile) as error:
        raise BadTable(
            f"{path} is not a readable Excel workbook ({_first_line(error)}): save the sheet as "
            "CSV, or unpack the archive."
        ) from None
    filled = cells.notna().sum(axis=1)
    if len(filled) < 2:
        raise BadTable(f"{path} has a heading but no rows.")
    rows = cells.loc[filled.idxmax() :].dropna(how="all").dropna(how="all", axis=1)
    return _read_csv(path, rows.to_csv(index=False, header=False).encode())


def _read_csv(path: Path, data: bytes) -> Source:
    """Read the rows below the heading, every cell as text."""
    encoding = _encoding(data)
    lines = _lines(path, data, encoding)
    separator = _separator(lines)
    rows = list(csv.reader(lines, delimiter=separator))
    first = list(map(len, rows)).index(mode(len(row) for row in rows if row))
    names = _names(path, rows[first])
    above = f"{path.name} has {first} lines before its heading: left out."
    read = pa_csv.ReadOptions(
        skip_rows=first + 1, column_names=names, encoding=encoding.removesuffix("-sig"),
        use_threads=False,
    )  # fmt: skip
    quotes = any('"' in line for line in lines)
    parse = pa_csv.ParseOptions(delimiter=separator, newlines_in_values=quotes)
    table, notes = _read_rows(path, data, read, parse)
    frame = table.to_pandas(types_mapper={pa.string(): TEXT}.get)
    decimal = _decimal(rows[first + 1 :], separator)
    return Source(path.name, frame, True, decimal, [above, *notes] if first else notes)


def _read_rows(
    path: Path, data: bytes, read: pa_csv.ReadOptions, parse: pa_csv.ParseOptions
) -> tuple[pa.Table, list[str]]:
    """Read the rows; those with a wrong number of fields go, unless they are more than 1 %."""
    names, wrong = read.column_names, list[pa_csv.InvalidRow]()

    def skip(row: pa_csv.InvalidRow) -> str:
        wrong.append(row)
        return "skip"

    parse.invalid_row_handler = skip
    as_text = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=list(MISSING), strings_can_be_null=True,
    )  # fmt: skip
    try:
        table = pa_csv.read_csv(pa.BufferReader(data), read, parse, as_text)
    except pa.ArrowException as error:
        raise BadTable(f"{path} cannot be read as a table ({_first_line(error)}).") from None
    if not wrong:
        return table, []
    rows = table.num_rows + len(wrong)
    what = (
        f"{len(wrong)} of {rows} rows of {path.name} do not have {len(names)} fields (the first "
        f"has {wrong[0].actual_columns})"
    )
    if len(wrong) > max(1, 0.01 * rows):
        raise BadTable(f"{what}: export it again, with text in quotes.")
    return table, [f"{what}: left out."]


def _lines(path: Path, data: bytes, encoding: str) -> list[str]:
    head = data[:HEAD_BYTES]
    text = codecs.getincrementaldecoder(encoding)().decode(head)
    if "\x00" in text:
        raise BadTable(f"{path} is neither text nor Parquet: export it as CSV or Parquet.")
    lines = text.splitlines()
    if len(head) == HEAD_BYTES and len(lines) > 1:
        lines.pop()  # cut in the middle
    if len([line for line in lines if line.strip()]) < 2:
        raise BadTable(f"{path} has a heading but no rows.")
    return lines


def _encoding(data: bytes) -> str:
    for bom, name in BOMS.items():
        if data.startswith(bom):
            return name
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        undefined = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
        return "latin-1" if set(data[:HEAD_BYTES]) & undefined else "cp1252"
    return "utf-8"


def _separator(lines: list[str]) -> str:
    """The separator by which most lines fall into the same, and the greatest, number of fields."""

    def score(separator: str) -> tuple[float, bool, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        usual = mode(counts)
        return round(counts.count(usual) / len(counts), 1), counts[0] == usual, usual

    return max(SEPARATORS, key=lambda separator: (score(separator)[2] > 1, *score(separator)))


def _names(path: Path, heading: list[str]) -> list[str]:
    """The names of the columns; one without a name, such as an index, is numbered."""
    cells = [cell.strip() for cell in heading]
    if not re.search(r"[^\W\d]", "".join(cells)):
        raise BadTable(
            f"{path} has no heading, or its lines have no separator in common: put a line above "
            "the rows that names the columns, and separate all by the same of , ; | and tab."
        )
    names = [cell or f"column_{number}" for number, cell in enumerate(cells, 1)]
    _check_names(path, names)
    return names


def _check_names(source: object, names: list[str]) -> None:
    twice = max(names, key=names.count, default="")
    if names.count(twice) > 1:
        raise BadTable(f"{source} has the column {twice!r} twice: give each a name of its own.")


def _decimal(rows: list[list[str]], separator: str) -> str:
    """Whether decimals are written with comma or point; "" where no cell has any."""
    cells = [cell.strip() for row in rows for cell in row]
    points = sum(bool(re.fullmatch(r"[+-]?[\d,]*\d\.\d+", cell)) for cell in cells)
    commas = sum(bool(re.fullmatch(r"[+-]?[\d.]*\d,\d+", cell)) for cell in cells)
    if separator == ",":  # quoted: 1,234 is a thousand
        commas = 0
    return "," if commas > points else "." if points else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")[:200]
