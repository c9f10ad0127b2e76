"""A machine from a user's own files: read, understood, converted, written whole or not at all."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from gan_lab.errors import BadParameter, BadTable
from gan_lab.machines import (
    Imported,
    OperatingState,
    Profile,
    Sensor,
    check_machine_id,
    profile_path,
    write_profile,
)
from gan_lab.schema import Message, Roles
from gan_lab.synth.life_order import settle_lives
from gan_lab.synth.readers import open_source
from gan_lab.synth.survey import Column, convert, guess_unit, survey, target_type
from gan_lab.synth.tables import seed_path

LEAST_ROWS = 10
MOST_TEXTS = 500
PERSON = re.compile(
    r"operator|employee|user|person|e-?_?mail|phone|worker|mitarbeiter|bediener|technician|"
    r"surname|vorname|nachname", re.IGNORECASE,
)  # fmt: skip
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
        table = pd.DataFrame([column.model_dump() for column in self.columns]).fillna("")
        lines = [f"{self.machine_id}: {self.rows} rows{lives}, {len(self.columns)} columns."]
        lines.append(table.to_string(index=False, justify="left"))
        lines += [f"Left out: {name!r}: {why}" for name, why in self.left_out.items()]
        return "\n".join([*lines, *self.notes])


def import_table(
    machine_id: str,
    files: Sequence[Path | str],
    *,
    life: str | None = None,
    time: str | None = None,
    rul: str | None = None,
    failure: str | None = None,
    state: str | None = None,
    columns: Sequence[str] | None = None,
    leave_out: Sequence[str] = (),
    life_per_file: bool = False,
    long: Sequence[str] | None = None,
    replace: bool = False,
) -> ImportSummary:
    """Make a machine of the user's own files and say what was understood.

    `life`, `time`, `rul`, `failure`, `state` name columns and may all be left out; without `time`
    the order of the rows counts. With `failure` and `life` but no `rul`, a column `rul` is made:
    what is left, in the unit of the time (hours for dates, else rows), until each failed life ends.
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
    files_life = "life" if life_per_file else None
    if long and len(long) != 3:
        raise BadParameter(f"long={','.join(long)!r}: name three columns, TAG,TIME,VALUE.")
    table = FileTable([Path(file) for file in files], long, files_life)
    roles = Roles(life=life or files_life, time=time, rul=rul, state=state, failure_mode=failure)
    if long and not time:
        roles.time = long[1]
    left_out = choose_columns(table.facts, roles, columns, leave_out)
    kept = {name: column for name, column in table.facts.items() if name not in left_out}
    check_columns(kept, roles, table.paths[0])
    notes = [*table.notes, *notes_on(kept)]
    beside = seed_path(machine_id).with_name(f".{machine_id}.{os.getpid()}.parquet")
    beside.parent.mkdir(parents=True, exist_ok=True)
    try:
        outliers = write_converted(table.chunks(), kept, beside)
        roles, lives, rows = settle_lives(beside, roles, notes)
        imported = Imported(
            files=[str(path) for path in table.paths], rows=rows, lives=lives,
            columns=pq.read_schema(beside).names, left_out=left_out, notes=notes,
        )  # fmt: skip
        profile = profile_from(machine_id, kept, roles, imported)
        write_profile(profile)
        beside.replace(seed_path(machine_id))
    finally:
        beside.unlink(missing_ok=True)
    return ImportSummary(
        machine_id=machine_id, rows=rows, lives=lives, seed_path=str(seed_path(machine_id)),
        columns=[_summary(column, roles, outliers.get(name, 0)) for name, column in kept.items()],
        left_out=left_out, notes=notes,
    )  # fmt: skip


class FileTable:
    """All files of one import as one table: its columns, its rows in order, what was noticed."""

    def __init__(self, paths: list[Path], long: Sequence[str] | None, life: str | None) -> None:
        if not paths:
            raise BadParameter("Name at least one file to import.")
        self.paths, self._life = paths, life
        self._sources = [open_source(path) for path in paths]
        self._decimal = "," if any(source.decimal == "," for source in self._sources) else "."
        self._check_same_columns()
        self.schema = self._sources[0].schema
        self._wide: pa.Table | None = None
        self._wide = self._turn_wide(long) if long else None
        if self._wide is not None:
            self.schema, self._decimal = self._wide.schema, "."
        elif life:
            self.schema = self.schema.insert(0, pa.field(life, pa.int64()))
        self.facts = survey(self.chunks(), self.schema, self._decimal)
        rows = next(iter(self.facts.values())).rows
        if rows < LEAST_ROWS:
            raise BadTable(
                f"{paths[0]} has {rows} rows: at least {LEAST_ROWS} are needed to learn anything."
            )

    @property
    def notes(self) -> list[str]:
        """What was noticed while reading."""
        return [note for source in self._sources for note in source.notes]

    def chunks(self) -> Iterator[pa.Table]:
        """Yield the rows of all files in order."""
        if self._wide is not None:
            yield self._wide
            return
        for number, source in enumerate(self._sources, 1):
            for chunk in source.chunks():
                if self._life:
                    column = pa.array(np.full(chunk.num_rows, number))
                    chunk = chunk.add_column(0, self._life, column)
                yield chunk.select(self.schema.names).cast(self.schema)

    def _check_same_columns(self) -> None:
        first = self._sources[0]
        for source in self._sources[1:]:
            differing = set(first.schema.names) ^ set(source.schema.names)
            if differing:
                raise BadTable(
                    f"{source.path} and {first.path} do not have the same columns: "
                    f"{', '.join(map(repr, sorted(differing)[:5]))} only in one of them."
                )

    def _turn_wide(self, long: Sequence[str]) -> pa.Table:
        """One row per moment, one column per tag; between its reports a tag keeps its value."""
        facts = survey(self.chunks(), self.schema, self._decimal)
        for name in long:
            _must_have(name, facts)
        tag, time, value = long
        tall = pa.concat_tables(
            pa.table({name: convert(chunk[name], facts[name]) for name in long})
            for chunk in self.chunks()
        ).to_pandas()
        wide = tall.pivot_table(index=time, columns=tag, values=value, aggfunc="last", sort=True)
        return pa.Table.from_pandas(wide.ffill().dropna().reset_index(), preserve_index=False)


def choose_columns(
    facts: dict[str, Column],
    roles: Roles,
    columns: Sequence[str] | None,
    leave_out: Sequence[str],
) -> dict[str, str]:
    """Return the columns that are left out, each with the reason; asked-for columns stay."""
    for name in [*roles.columns, *(columns or ()), *leave_out]:
        _must_have(name, facts)
    if len(set(roles.columns)) < len(roles.columns):
        raise BadParameter(f"One column cannot play two parts: {', '.join(roles.columns)}.")
    asked = {*roles.columns, *(columns or ())}
    left_out = {name: "as asked" for name in leave_out if name not in roles.columns}
    for name, column in facts.items():
        if columns is not None and name not in asked:
            left_out.setdefault(name, "not among the columns asked for")
        elif name not in asked and (reason := _reason_to_leave(column)):
            left_out.setdefault(name, f"{reason}; name it in --columns to keep it")
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
        return "nearly every row has a text of its own"
    if kind == "date":
        return "it is a date (--time makes it the time)"
    return ""


def check_columns(kept: dict[str, Column], roles: Roles, path: Path) -> None:
    """Raise `BadTable` where a column has no value, is infinite, or cannot play its part."""
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
        if column.kind not in kinds:
            example = f" ({column.odd[0][1]!r} in row {column.odd[0][0]})" if column.odd else ""
            raise BadTable(f"{name!r} cannot be the {part}: it is a {column.kind} column{example}.")
        if missing := _missing(column):
            example = f", {column.odd[0][1]!r} in row {column.odd[0][0]}" if column.odd else ""
            raise BadTable(f"{name!r} cannot be the {part}: {missing} rows lack it{example}.")
    if set(kept) <= set(roles.columns):
        raise BadTable(f"{path} has no column left to learn from beside {', '.join(kept)}.")


def notes_on(kept: dict[str, Column]) -> list[str]:
    """Return what a user should know of the columns, a sentence each."""
    notes = []
    for name, column in kept.items():
        if column.kind in ("whole", "number") and column.odd:
            slips = column.present - column.numbers
            row, text = column.odd[0]
            notes.append(
                f"{name!r} has {slips} texts among its numbers ({text!r} in row {row}): "
                "they count as missing."
            )
        alike = Counter(text.strip().casefold() for text in column.texts)
        for folded, count in alike.items():
            if column.kind == "text" and count > 1:
                forms = [text for text in column.texts if text.strip().casefold() == folded]
                notes.append(
                    f"{name!r} has {' and '.join(map(repr, forms))}: they stay apart; "
                    "write them alike in the file if they mean the same."
                )
        if (
            len(column.date_formats) > 1
            and column.kind == "date"
            and "iso" not in column.date_formats
        ):
            notes.append(
                f"{name!r} was read as {column.date_formats[0]}; days and months may be swapped."
            )
    constant = [name for name, column in kept.items() if _constant(column)]
    if constant:
        notes.append(f"Always the same: {', '.join(constant)}.")
    return notes


def write_converted(
    chunks: Iterator[pa.Table], kept: dict[str, Column], path: Path
) -> dict[str, int]:
    """Write the kept columns in their types; returns how many values of each lie far outside.

    Far outside: more than three times the span of the middle 98 % beyond it.
    """
    limits = {}
    for name, column in kept.items():
        if column.kind in ("whole", "number") and len(column.values):
            low, high = np.quantile(column.values, [0.01, 0.99])
            if high > low:
                limits[name] = (low - 3 * (high - low), high + 3 * (high - low))
    outliers: Counter[str] = Counter()
    schema = pa.schema([(name, target_type(column)) for name, column in kept.items()])
    with pq.ParquetWriter(path, schema) as writer:
        for chunk in chunks:
            columns = {name: convert(chunk[name], column) for name, column in kept.items()}
            writer.write_table(pa.table(columns, schema=schema))
            for name, (low, high) in limits.items():
                values = columns[name].to_numpy()
                outliers[name] += int(((values < low) | (values > high)).sum())
    return dict(outliers)


def profile_from(
    machine_id: str, kept: dict[str, Column], roles: Roles, imported: Imported
) -> Profile:
    """Make a profile of what the columns hold; its levels are the quantiles of 95 and 99 %."""
    sensors = {}
    for name, column in kept.items():
        if column.kind not in ("whole", "number") or name in roles.columns or _constant(column):
            continue
        typical, warning, critical = np.quantile(column.values, [0.5, 0.95, 0.99])
        unit, group = guess_unit(name)
        sensors[name] = Sensor(
            unit=unit, group=group, minimum=column.minimum, typical=float(typical),
            maximum=column.maximum, warning=float(warning), critical=float(critical),
            decimals=_decimals(column), source="quantiles of the imported table",
        )  # fmt: skip
    states = {}
    if roles.state and roles.state in kept:
        counts = kept[roles.state].texts
        total = max(1, counts.total())
        states = {text: OperatingState(share=count / total) for text, count in counts.items()}
    date = roles.time is not None and roles.time in kept and kept[roles.time].kind == "date"
    return Profile(
        machine_id=machine_id, rul_unit="h" if date else roles.time or "rows", sensors=sensors,
        states=states, roles=roles, imported=imported, sources=imported.files,
    )  # fmt: skip


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
    return len(column.texts) == 1


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


def _must_have(name: str, facts: dict[str, Column]) -> None:
    if name in facts:
        return
    folded = {known.casefold(): known for known in facts}
    close = get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.5)
    if close:
        hint = f"Did you mean {', '.join(repr(folded[item]) for item in close)}?"
    else:
        known = list(facts)
        more = f" and {len(known) - 10} more" if len(known) > 10 else ""
        hint = f"There are {', '.join(map(repr, known[:10]))}{more}."
    raise BadTable(f"There is no column {name!r}. {hint}")


def _way_out(path: Path, names: list[str], one: str, many: str) -> str:
    what = f"The column {names[0]!r} of {path.name} {one}"
    if len(names) > 1:
        what = f"{len(names)} columns of {path.name} {many}: {', '.join(map(repr, names))}"
    return f"{what}. Correct the file, or leave out what is wrong with --leave-out."
