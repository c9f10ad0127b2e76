"""What was understood of a user's files: a table of the columns, and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
from pydantic import Field

from gan_lab.schema import Message, Roles
from gan_lab.synth.importing.columns import Column
from gan_lab.workspace.units import guess_unit

LIFE = re.compile(
    r"(unit|life|engine|asset|machine|experiment|run)([\W_]?(id|no|nr|number))?$", re.IGNORECASE
)
ZONE = re.compile(r"[T ].*[+-]\d{2}:?\d{2}$")


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


def summarise(column: Column, roles: Roles) -> ColumnSummary:
    """Return the line of one column."""
    parts = {name: part for part, name in roles.model_dump().items() if name}
    return ColumnSummary(
        name=column.name, type=column.kind, role=parts.get(column.name, ""),
        unit=guess_unit(column.name)[0], missing=column.missing, minimum=column.minimum,
        maximum=column.maximum, distinct=column.distinct, outliers=column.outliers,
        note="constant" if column.constant else "",
    )  # fmt: skip


def notes_on(kept: dict[str, Column], roles: Roles) -> list[str]:
    """Return what a user should know of the columns, a sentence each."""
    notes = [note for column in kept.values() for note in _notes_on_one(column)]
    firsts: dict[bytes, str] = {}
    for name, column in kept.items():
        if column.numeric and not column.constant:
            first = firsts.setdefault(column.sample.tobytes(), name)
            if first != name:
                notes.append(f"{name!r} repeats {first!r}.")
    if constant := [name for name, column in kept.items() if column.constant]:
        notes.append(f"Always the same: {', '.join(constant)}.")
    if not roles.life and (lives := [name for name in kept if LIFE.match(name)]):
        notes.append(f"Without a life the rows have no order: is it {lives[0]!r} (--life)?")
    return notes


def _notes_on_one(column: Column) -> Iterator[str]:
    name, kind = column.name, column.kind
    row, example = column.example
    if column.numeric and column.slips:
        yield (
            f"{name!r} has {column.slips} texts among its numbers ({example!r} in row {row}): "
            "they count as missing."
        )
    elif kind == "text":
        if column.numbers:
            yield (
                f"{name!r} mixes {column.numbers} numbers with texts ({example!r} in row {row}): "
                "it counts as text; empty the cells that are not numbers to make it one."
            )
        forms: dict[str, list[str]] = {}
        for text in column.shares:
            forms.setdefault(text.strip().casefold(), []).append(text)
        for alike in forms.values():
            if len(alike) > 1:
                yield (
                    f"{name!r} has {' and '.join(map(repr, alike))}: they stay apart; "
                    "write them alike in the file if they mean the same."
                )
    if pa.types.is_decimal(column.source_type):
        yield f"{name!r} holds decimals ({column.source_type}): they are now float64."
    elif kind == "date" and example:
        if len(column.date_formats) > 1 and "iso" not in column.date_formats:
            yield f"{name!r} was read as {column.date_formats[0]}; days and months may be swapped."
        if ZONE.search(example):
            yield f"{name!r} has a time zone ({example!r} in row {row}): it is now UTC."


def _cell(value: object) -> str:
    if value is None or value != value or (value == 0 and not isinstance(value, float)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
