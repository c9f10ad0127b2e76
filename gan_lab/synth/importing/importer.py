"""A machine from a user's own files: read, understood, converted, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import ImportConfig, Roles, validated
from gan_lab.synth.importing.column_choice import (
    check_columns,
    choose_columns,
    must_have,
    propose_parts,
)
from gan_lab.synth.importing.columns import SWAPPED, Column, read_column
from gan_lab.synth.importing.events import check_log_options, cut_at_events
from gan_lab.synth.importing.lives import settle_lives, sort_rows
from gan_lab.synth.importing.relations import find_relations
from gan_lab.synth.importing.sources import Source, one_table, read_source
from gan_lab.synth.importing.summary import ImportSummary, notes_on, summarise
from gan_lab.workspace.files import written_beside
from gan_lab.workspace.profiles import (
    Imported,
    OperatingState,
    Profile,
    Relation,
    Sensor,
    check_unused,
    write_profile,
)
from gan_lab.workspace.tables import seed_path
from gan_lab.workspace.units import guess_unit

MIN_ROWS, MAX_STATES = 10, 30


def import_table(machine_id: str, files: Sequence[Any], **options: Any) -> ImportSummary:
    """Make a machine of the user's own files, or data frames, and say what was understood.

    The options are those of `gan_lab.schema.ImportConfig`; without `time` the order of the rows
    counts. With `failure` and `life` but no `rul`, a column `rul` is made: what is left, in the
    unit of the time (hours for dates, else rows), until each failed life ends; it is missing where
    a life has not failed. `failure` is the failure mode too where it is the same all life long and
    no `failure_mode` is named. `events` (a table like `files`) cuts units into lives, see
    `cut_at_events`. Writes `data/seed/<id>.parquet` and `data/machines/<id>.yaml`, or
    nothing. Raises `BadParameter` on an id in use (unless `replace`) or an unknown column,
    `BadTable` on files that cannot be used. The files are read into memory: `TooMuchMemory` where
    that is not free.
    """
    config = validated(ImportConfig, options, "import")
    check_unused(machine_id, config.replace)
    if not files:
        raise BadParameter("Name at least one file to import.")
    roles = config.roles
    check_log_options(config)
    sources = [read_source(file, config.sheet) for file in files]
    log = None if config.events is None else _read_log(config)
    facts = _read_columns(sources, config, _formats(config))
    parts = [*roles.columns, *([config.failure] if config.failure and config.failure_mode else [])]
    left_out = choose_columns(facts, parts, config.columns, config.leave_out or [])
    kept = {name: column for name, column in facts.items() if name not in left_out}
    check_columns(kept, roles, sources[0].name)
    notes = [note for source in sources for note in source.notes]
    notes += notes_on(kept) + propose_parts(facts, roles)
    read = pd.DataFrame({name: column.values for name, column in kept.items()})
    if log is not None:
        read, roles, found = cut_at_events(
            sort_rows(read, roles), kept[str(roles.time)], log, config
        )
        notes += found
    table, roles, found = settle_lives(read, roles, config.failure, config.ends_in_failure)
    notes += found
    if len(table.columns) > len(kept):  # with a rul or lives made
        kept = {name: read_column(name, table[name]) for name in table}
    known = [*roles.columns, config.failure]
    numbers = {name: column for name, column in kept.items() if name not in known}
    relations = _relations(table, numbers) if config.relations else []
    if relations:
        held = ", ".join(map(str, relations))
        notes.append(f"Every row has {held}: so will rows that are drawn (--no-relations).")
    lives = table[roles.life].nunique() if roles.life else None
    names = [str(f) if isinstance(f, str | Path) else "data frame" for f in files]
    imported = Imported(
        time_format=config.time_format, relations=relations,
        files=names, rows=len(table), lives=lives,
        columns=list(table.columns), left_out=left_out, notes=notes,
    )  # fmt: skip
    with written_beside(seed_path(machine_id)) as beside:
        table.to_parquet(beside, index=False)
        write_profile(profile_from(machine_id, kept, roles, imported, config.failure))
    return ImportSummary(
        machine_id=machine_id, rows=len(table), lives=lives, seed_path=str(seed_path(machine_id)),
        columns=[summarise(column, roles, config.failure) for column in kept.values()],
        left_out=left_out, notes=notes,
    )  # fmt: skip


def _relations(table: pd.DataFrame, columns: Mapping[str, Column]) -> list[Relation]:
    decimals = {
        name: column.decimals
        for name, column in columns.items()
        if column.numeric and column.distinct > 2
    }
    return find_relations(table, decimals)


def _formats(config: ImportConfig) -> dict[str, str]:
    """Return how the columns of time are written, where that was said."""
    if config.time_format is None:
        return {}
    times = (config.roles.time, config.event_time)
    return {name: config.time_format for name in times if name}


def read_table(given: Any, formats: Mapping[str, str] = MappingProxyType({})) -> pd.DataFrame:
    """Return the rows of a file, or a data frame, in the types that its cells are written in.

    `formats`: of dates, by column. Raises `BadTable` where it is no table, or where days and months
    cannot be told apart: a few rows of a machine are more often so than its whole record, and
    nobody looks at what was read.
    """
    source = read_source(given)
    columns = _typed(source.table, source.decimal, formats)
    for column in columns.values():
        if any(SWAPPED in note for note in column.notes):
            raise BadTable(
                f"The days and months of {column.name!r} cannot be told apart: write them as "
                "2026-11-28."
            )
    return pd.DataFrame({name: column.values for name, column in columns.items()})


def _read_log(config: ImportConfig) -> dict[str, Column]:
    source = read_source(config.events, config.event_sheet, "--event-sheet")
    return _typed(source.table, source.decimal, _formats(config))


def _typed(table: pd.DataFrame, decimal: str, formats: Mapping[str, str]) -> dict[str, Column]:
    """Return what each column holds; `decimal` is "" where no cell has any."""
    names = {str(name): table[name] for name in table}
    return {
        name: read_column(name, given, decimal or ".", formats.get(name))
        for name, given in names.items()
    }


def _read_columns(
    sources: Sequence[Source], config: ImportConfig, formats: Mapping[str, str]
) -> dict[str, Column]:
    """Return what the columns of all files hold, by name.

    `config.long`: the tag, time and value columns of a historian's export, which is turned wide, by
    life too where there is one: a row a moment, a column a tag, which keeps its value until the
    next.
    """
    long, life = config.long, config.roles.life
    table = one_table(sources, life, config.life_per_file)
    decimal = next((source.decimal for source in sources if source.decimal), ".")
    if long:
        tag, time, value = long
        keys = [life, time] if life else [time]
        for name in (*keys, tag, value):
            must_have(name, table.columns)
        tall = {
            name: column.values
            for name, column in _typed(table[[*keys, tag, value]], decimal, formats).items()
        }
        wide = pd.DataFrame(tall).pivot_table(index=keys, columns=tag, values=value, aggfunc="last")
        held = wide.groupby(level=life).ffill() if life else wide.ffill()
        table = held.dropna().reset_index()
    if len(table) < MIN_ROWS:
        raise BadTable(
            f"{sources[0].name} has {len(table)} rows: at least {MIN_ROWS} are needed to learn "
            "anything."
        )
    return _typed(table, decimal, {} if long else formats)  # of a long table these are read


def profile_from(
    machine_id: str,
    kept: dict[str, Column],
    roles: Roles,
    imported: Imported,
    failure: str | None,
) -> Profile:
    """Make a profile of what the columns hold; `failure` flags a failure and is no sensor."""
    sensors = {
        name: _sensor(column)
        for name, column in kept.items()
        if name not in (*roles.columns, failure) and column.numeric and not column.constant
    }
    levels = kept[roles.state].shares if roles.state else {}
    few = 2 <= len(levels) <= MAX_STATES
    states = {name: OperatingState(share=share) for name, share in levels.items()} if few else {}
    date = roles.time is not None and kept[roles.time].kind == "date"
    return Profile(
        machine_id=machine_id, rul_unit="h" if date else roles.time or "rows", sensors=sensors,
        states=states, roles=roles, imported=imported, sources=imported.files,
    )  # fmt: skip


def _sensor(column: Column) -> Sensor:
    """A sensor with the range and the median of its column; whose limits these are, nobody said."""
    unit, group = guess_unit(column.name)
    return Sensor(
        unit=unit, group=group, minimum=column.minimum, typical=float(np.median(column.sample)),
        maximum=column.maximum, decimals=0 if column.kind == "whole" else column.decimals,
        source="range and median of the imported table",
    )  # fmt: skip
