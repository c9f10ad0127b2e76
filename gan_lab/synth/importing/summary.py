"""What was understood of a user's files: a table of the columns, and sentences."""

from __future__ import annotations

import pandas as pd
from pydantic import Field

from gan_lab.schema import Message, Roles
from gan_lab.synth.importing.columns import Column
from gan_lab.workspace.units import guess_unit


class ColumnSummary(Message):
    """What was understood of one column."""

    name: str
    type: str
    role: str = ""
    unit: str = ""
    missing: int = 0
    minimum: float | str | None = None
    maximum: float | str | None = None
    distinct: int = 0
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
        many = "life" if self.lives == 1 else "lives"
        lives = f" in {self.lives} {many}" if self.lives is not None else ""
        lines = [f"{self.machine_id}: {self.rows} rows{lives}, {len(self.columns)} columns."]
        table = pd.DataFrame([column.model_dump(exclude_defaults=True) for column in self.columns])
        lines.append(
            table.to_string(index=False, justify="left", na_rep="", float_format="{:.6g}".format)
        )
        lines += [f"Left out: {name!r}: {why}" for name, why in self.left_out.items()]
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__


def summarise(column: Column, roles: Roles, failure: str | None) -> ColumnSummary:
    """Return the line of one column; `failure` is the one that flags a failure."""
    parts = {failure: "failure"} | {name: part for part, name in roles.model_dump().items() if name}
    date = column.kind == "date"
    least = str(column.values.min()) if date else column.minimum
    most = str(column.values.max()) if date else column.maximum
    return ColumnSummary(
        name=column.name, type=column.kind, role=parts.get(column.name, ""),
        unit=guess_unit(column.name)[0], missing=column.missing, minimum=least, maximum=most,
        distinct=column.distinct,
        note="constant" if column.constant else "",
    )  # fmt: skip


def notes_on(kept: dict[str, Column]) -> list[str]:
    """Return what a user should know of the columns, a sentence each."""
    notes = [note for column in kept.values() for note in column.notes]
    if constant := [name for name, column in kept.items() if column.constant]:
        notes.append(f"Always the same: {', '.join(constant)}.")
    return notes
