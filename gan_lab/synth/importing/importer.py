"""A machine from a user's own files: read, understood, converted, written whole or not at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import Message, Roles
from gan_lab.synth.importing.column_survey import (
    Column,
    convert,
    guess_unit,
    nullable_type,
    survey,
    target_type,
)
from gan_lab.synth.importing.life_order import settle_lives
from gan_lab.synth.importing.one_table import FileTable, must_have
from gan_lab.synth.importing.sources import ParquetSource
from gan_lab.workspace.files import written_beside
from gan_lab.workspace.profiles import (
    Imported,
    OperatingState,
    Profile,
    Sensor,
    check_machine_id,
    profile_path,
    write_profile,
)
from gan_lab.workspace.tables import seed_path

MOST_TEXTS, MOST_STATES = 500, 30
HASHED_ROWS = 400_000
FALLS = 0.3  # correlation with the remaining useful life
PERSON = re.compile(
    r"operator|employee|user|person|e-?_?mail|phone|worker|mitarbeiter|bediener|technician|"
    r"surname|vorname|nachname|customer|kunde|inspector|pruefer|prüfer|fahrer", re.IGNORECASE,
)  # fmt: skip
ZONE = re.compile(r"[T ].*[+-]\d{2}:?\d{2}$")
LIFE = re.compile(
    r"(unit|life|engine|asset|machine|experiment|run)([\W_]?(id|no|nr|number))?$", re.I
)
STATE = re.compile(
    r"(^|[\W_])(state|status|mode|phase|process|regime|zustand|betriebsart)([\W_]|$)", re.IGNORECASE
)
SERIAL = re.compile(
    r"(^|[\W_])(serial|serien\w*|s/?n|imei|uuid|guid|udi|id)([\W_]|$)", re.IGNORECASE
)


class ColumnSummary(Message):
    """What was understood of one column."""

    name: str
    type: str
    role: str = ""
    unit: str = ""
    missing: int = 0
    minimum: float | None = None
    maximum: float | None = None
    distinct: int = 0
    outliers: int = 0
    note: str = ""


class ImportSummary(Message):
    """What was made of the user's files."""

    machine_id: str
    rows: int
    lives: int | None
    seed_path: str
    columns: list[ColumnSummary]
    left_out: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)

    def __str__(self) -> str:
        lives = f" in {self.lives} lives" if self.lives is not None else ""
        lines = [f"{self.machine_id}: {self.rows} rows{lives}, {len(self.columns)} columns."]
        table = pd.DataFrame([column.model_dump() for column in self.columns]).map(_cell)
        table = table.loc[:, (table != "").any()]
        rows = [list(table.columns), *table.to_numpy().tolist()]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines += [f"Left out: {name!r}: {why}" for name, why in self.left_out.items()]
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__


def _cell(value: object) -> str:
    if value is None or value != value or (value == 0 and not isinstance(value, float)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def import_table(
    machine_id: str,
    files: Sequence[Path | str],
    *,
    life: str | None = None,
    time: str | None = None,
    rul: str | None = None,
    failure: str | None = None,
    failure_mode: str | None = None,
    state: str | None = None,
    columns: Sequence[str] | None = None,
    leave_out: Sequence[str] = (),
    life_per_file: bool = False,
    long: Sequence[str] | None = None,
    replace: bool = False,
) -> ImportSummary:
    """Make a machine of the user's own files and say what was understood.

    `life`, `time`, `rul`, `failure`, `failure_mode`, `state` name columns and may all be left out;
    without `time` the order of the rows counts. With `failure` and `life` but no `rul`, a column
    `rul` is made: what is left, in the unit of the time (hours for dates, else rows), until each
    failed life ends; it is missing where a life has not failed. `failure` is the failure mode too
    where it is the same all life long and no `failure_mode` is named.
    `columns` takes only these; `leave_out` takes all but these; `life_per_file` makes each file a
    life; `long` names the tag, time and value columns of a historian's export, turned wide. Writes
    `data/seed/<id>.parquet` and `data/machines/<id>.yaml`, or nothing. Raises `BadParameter` on an
    id in use (unless `replace`) or an unknown column, `BadTable` on files that cannot be used.
    Memory stays constant, whatever the size of the files, unless rows have to be put in order.
    """
    check_machine_id(machine_id)
    if profile_path(machine_id).exists() and not replace:
        raise BadParameter(
            f"There is a machine {machine_id} already: choose another id, or use --replace."
        )
    if long is not None and len(long) != 3:
        raise BadParameter(f"long={','.join(long)!r}: name three columns, TAG,TIME,VALUE.")
    life = life or ("life" if life_per_file else None)
    table = FileTable([Path(file) for file in files], long, life, life_per_file)
    time = time or (long[1] if long else None)
    mode = failure_mode or failure
    roles = Roles(life=life, time=time, rul=rul, state=state, failure_mode=mode)
    parts = [*roles.columns, *([failure] if failure and failure_mode else [])]
    left_out = choose_columns(table.facts, parts, columns, leave_out)
    kept = {name: column for name, column in table.facts.items() if name not in left_out}
    check_columns(kept, roles, table.paths[0])
    notes = [*table.notes, *notes_on(kept)]
    if not roles.life and (units := [name for name in kept if LIFE.match(name)]):
        notes.append(f"Without a life the rows have no order: is it {units[0]!r} (--life)?")
    with written_beside(seed_path(machine_id)) as beside:
        outliers = write_converted(table.chunks(), kept, beside, notes)
        roles, lives, rows = settle_lives(beside, roles, failure, notes)
        if pq.read_schema(beside).names != list(kept):  # with a rul or lives made
            written = ParquetSource(beside)
            kept = survey(written.chunks(), written.schema, ".")
        imported = Imported(
            files=[str(path) for path in table.paths], rows=rows, lives=lives,
            columns=pq.read_schema(beside).names, left_out=left_out, notes=notes,
        )  # fmt: skip
        write_profile(profile_from(machine_id, kept, roles, imported))
    return ImportSummary(
        machine_id=machine_id, rows=rows, lives=lives, seed_path=str(seed_path(machine_id)),
        columns=[_summary(column, roles, outliers.get(name, 0)) for name, column in kept.items()],
        left_out=left_out, notes=notes,
    )  # fmt: skip


def choose_columns(
    facts: dict[str, Column],
    parts: Sequence[str],
    columns: Sequence[str] | None,
    leave_out: Sequence[str],
) -> dict[str, str]:
    """Return the columns that are left out, each with the reason; asked-for columns stay."""
    for name in [*parts, *(columns or ()), *leave_out]:
        must_have(name, facts)
    if len(set(parts)) < len(parts):
        raise BadParameter(f"One column cannot play two parts: {', '.join(parts)}.")
    asked = {*parts, *(columns or ())}
    left_out = {name: "as asked" for name in leave_out if name not in parts}
    for name, column in facts.items():
        if columns is not None and name not in asked:
            left_out.setdefault(name, "not among the columns asked for")
        elif name not in asked and (reason := _reason_to_leave(column)):
            keep = "" if column.kind == "unusable" else "; name it in --columns to keep it"
            left_out.setdefault(name, reason + keep)
    return left_out


def _reason_to_leave(column: Column) -> str:
    name, kind = column.name, column.kind
    if kind == "missing" and re.fullmatch(r"column_\d+|Unnamed: \d+", name):
        return "it has neither a heading nor a value"
    if name.startswith("__index_level_"):
        return "it is the index of a data frame"
    if kind == "unusable":
        return f"it holds {column.type}, which no model here learns"
    if kind in ("text", "whole") and PERSON.search(name):
        return "it seems to identify a person"
    if kind in ("text", "whole") and SERIAL.search(name):
        return "it seems to be an identifier"
    if kind == "whole" and column.rising_by_one and column.rows > 1:
        return "it only counts the rows (a time or a life is named by --time, --life)"
    if kind == "text" and column.distinct > min(MOST_TEXTS, 0.9 * column.present):
        row, text = column.odd[0]
        return f"it has too many different texts ({text!r} in row {row})"
    if kind == "date":
        return "it is a date (--time makes it the time)"
    return ""


def check_columns(kept: dict[str, Column], roles: Roles, path: Path) -> None:
    """Raise `BadTable` where a column has no value, is infinite, or cannot play its part."""
    unusable = [name for name, column in kept.items() if column.kind == "unusable"]
    if unusable:
        types = ", ".join(f"{name!r} ({kept[name].type})" for name in unusable)
        raise BadTable(
            f"{types} of {path.name} cannot be modelled: numbers, text, booleans and dates can. "
            "Leave it out with --leave-out, or convert it in the file."
        )
    if roles.rul and kept[roles.rul].kind == "missing":
        raise BadTable(
            f"{roles.rul!r} cannot be the rul: no row has one. Fill it, or name with --failure the "
            "column that says which lives failed."
        )
    empty = [name for name, column in kept.items() if column.kind == "missing"]
    if empty:
        raise BadTable(_way_out(path, empty, "has no value in any row", "have no value in any row"))
    infinite = [name for name, column in kept.items() if column.infinite]
    if infinite:
        raise BadTable(_way_out(path, infinite, "holds infinite values", "hold infinite values"))
    wanted = {
        "life": ("whole", "number", "text"),
        "time": ("whole", "number", "date"),
        "rul": ("whole", "number"),
    }
    for part, kinds in wanted.items():
        name = getattr(roles, part)
        if name is None:
            continue
        column = kept[name]
        example = f" ({column.odd[0][1]!r} in row {column.odd[0][0]})" if column.odd else ""
        if column.kind not in kinds:
            raise BadTable(f"{name!r} cannot be the {part}: it is a {column.kind} column{example}.")
        if (missing := _missing(column)) and not (part == "rul" and roles.life):
            raise BadTable(f"{name!r} cannot be the {part}: {missing} rows lack it{example}.")
    learned = [c for name, c in kept.items() if name not in (roles.life, roles.time, roles.rul)]
    if learned and all(_constant(column) and not _missing(column) for column in learned):
        raise BadTable(
            f"Every column of {path.name} is constant beside life, time and rul: there is nothing "
            "to learn. Import columns that change."
        )
    if set(kept) <= set(roles.columns):
        raise BadTable(f"{path} has no column left to learn from beside {', '.join(kept)}.")


def notes_on(kept: dict[str, Column]) -> list[str]:
    """Return what a user should know of the columns, a sentence each."""
    notes = [note for column in kept.values() for note in _notes_on_one(column)]
    firsts: dict[bytes, str] = {}
    for name, column in kept.items():
        if column.kind in ("whole", "number") and not _constant(column):
            first = firsts.setdefault(column.values.tobytes(), name)
            if first != name:
                notes.append(f"{name!r} repeats {first!r}.")
    constant = [name for name, column in kept.items() if _constant(column)]
    return [*notes, f"Always the same: {', '.join(constant)}."] if constant else notes


def _notes_on_one(column: Column) -> Iterator[str]:
    name, kind = column.name, column.kind
    row, example = column.odd[0] if column.odd else (0, "")
    if kind in ("whole", "number") and example:
        slips = column.present - column.numbers
        yield (
            f"{name!r} has {slips} texts among its numbers ({example!r} in row {row}): "
            "they count as missing."
        )
    elif kind == "text":
        if column.numbers:
            yield (
                f"{name!r} mixes {column.numbers} numbers with texts ({example!r} in row {row}): "
                "it counts as text; empty the cells that are not numbers to make it one."
            )
        forms: dict[str, list[str]] = {}
        for text in column.texts:
            forms.setdefault(text.strip().casefold(), []).append(text)
        for alike in forms.values():
            if len(alike) > 1:
                yield (
                    f"{name!r} has {' and '.join(map(repr, alike))}: they stay apart; "
                    "write them alike in the file if they mean the same."
                )
    if pa.types.is_decimal(column.type):
        yield f"{name!r} holds decimals ({column.type}): they are now float64."
    elif kind == "date" and example:
        if len(column.date_formats) > 1 and "iso" not in column.date_formats:
            yield f"{name!r} was read as {column.date_formats[0]}; days and months may be swapped."
        if ZONE.search(example):
            yield f"{name!r} has a time zone ({example!r} in row {row}): it is now UTC."


def write_converted(
    chunks: Iterator[pa.Table], kept: dict[str, Column], path: Path, notes: list[str]
) -> dict[str, int]:
    """Write the kept columns in their types; returns how many values of each lie far outside.

    Far outside: more than three times the span of the middle 98 % beyond it. Rows that are there
    more than once (among the first `HASHED_ROWS`) are noted.
    """
    limits = {}
    for name, column in kept.items():
        if column.kind in ("whole", "number") and len(column.values):
            low, high = np.quantile(column.values, [0.01, 0.99])
            if high > low:
                limits[name] = (low - 3 * (high - low), high + 3 * (high - low))
    outliers: Counter[str] = Counter()
    hashes = np.empty(0, dtype=np.uint64)
    schema = pa.schema([(name, target_type(column)) for name, column in kept.items()])
    if nullable := {name: kind for name, c in kept.items() if (kind := nullable_type(c))}:
        frame = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in nullable.items()})
        schema = schema.with_metadata(pa.Schema.from_pandas(frame, preserve_index=False).metadata)
    with pq.ParquetWriter(path, schema) as writer:
        for chunk in chunks:
            columns = {name: convert(chunk[name], column) for name, column in kept.items()}
            table = pa.table(columns, schema=schema)
            writer.write_table(table)
            if len(hashes) < HASHED_ROWS:
                rows = pd.util.hash_pandas_object(
                    table.to_pandas(ignore_metadata=True), index=False
                )
                hashes = np.concatenate([hashes, rows])
            for name, (low, high) in limits.items():
                values = columns[name].to_numpy()
                outliers[name] += int(((values < low) | (values > high)).sum())
    if repeated := len(hashes) - len(np.unique(hashes)):
        notes.append(f"Rows that repeat an earlier row: {repeated}.")
    return dict(outliers)


def profile_from(
    machine_id: str, kept: dict[str, Column], roles: Roles, imported: Imported
) -> Profile:
    """Make a profile of what the columns hold; its levels are the quantiles of 95 and 99 %.

    Of 5 and 1 % where a column falls with the remaining useful life; none where they are the same.
    """
    rul = kept[roles.rul].values if roles.rul in kept else np.empty(0)
    sensors = {}
    for name, column in kept.items():
        if column.kind not in ("whole", "number") or name in roles.columns or _constant(column):
            continue
        values = column.values
        falls = len(values) == len(rul) and np.corrcoef(values, rul)[0, 1] > FALLS
        typical, *levels = np.quantile(
            values, [0.5, 0.05, 0.01] if falls else [0.5, 0.95, 0.99], method="nearest"
        )
        apart = len({typical, *levels}) == 3
        unit, group = guess_unit(name)
        sensors[name] = Sensor(
            unit=unit, group=group, minimum=column.minimum, typical=float(typical),
            maximum=column.maximum, warning=float(levels[0]) if apart else None,
            critical=float(levels[1]) if apart else None,
            decimals=_decimals(column), source="quantiles of the imported table",
        )  # fmt: skip
    found = [name for name, c in kept.items() if c.kind in ("text", "whole") and STATE.search(name)]
    states = _states(kept[roles.state or found[0]]) if roles.state or found else {}
    date = roles.time is not None and roles.time in kept and kept[roles.time].kind == "date"
    return Profile(
        machine_id=machine_id, rul_unit="h" if date else roles.time or "rows", sensors=sensors,
        states=states, roles=roles, imported=imported, sources=imported.files,
    )  # fmt: skip


def _states(column: Column) -> dict[str, OperatingState]:
    """The levels of a column and their shares of the rows; none where there are too many."""
    if not 2 <= column.distinct <= MOST_STATES:
        return {}
    levels, counts = np.unique(column.values, return_counts=True)
    sampled = column.numbers / max(1, counts.sum()) / column.present
    shares = {text: count / column.present for text, count in column.texts.items()}
    if column.kind == "bool":  # as the table that is written calls them
        yes = sum(share for text, share in shares.items() if text.strip().casefold() == "true")
        return {"True": OperatingState(share=yes), "False": OperatingState(share=1 - yes)}
    shares |= {f"{level:g}": count * sampled for level, count in zip(levels, counts, strict=True)}
    return {name: OperatingState(share=share) for name, share in shares.items()}


def _summary(column: Column, roles: Roles, outliers: int) -> ColumnSummary:
    numeric = column.kind in ("whole", "number")
    parts = {name: part for part, name in roles.model_dump().items() if name}
    return ColumnSummary(
        name=column.name, type=column.kind, role=parts.get(column.name, ""),
        unit=guess_unit(column.name)[0], missing=_missing(column),
        minimum=column.minimum if numeric else None, maximum=column.maximum if numeric else None,
        distinct=column.distinct, outliers=outliers, note="constant" if _constant(column) else "",
    )  # fmt: skip


def _constant(column: Column) -> bool:
    if column.kind in ("whole", "number"):
        return column.minimum == column.maximum
    return column.kind in ("text", "bool") and column.distinct == 1


def _missing(column: Column) -> int:
    slips = column.present - column.numbers if column.kind in ("whole", "number") else 0
    return column.missing + slips


def _decimals(column: Column) -> int:
    if column.kind == "whole":
        return 0
    for decimals in range(9):
        if np.allclose(column.values, np.round(column.values, decimals), rtol=0, atol=1e-10):
            return decimals
    return 9


def _way_out(path: Path, names: list[str], one: str, many: str) -> str:
    what = f"The column {names[0]!r} of {path.name} {one}"
    if len(names) > 1:
        what = f"{len(names)} columns of {path.name} {many}: {', '.join(map(repr, names))}"
    return f"{what}. Correct the file, or leave out what is wrong with --leave-out."
