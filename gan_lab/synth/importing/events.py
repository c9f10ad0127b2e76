"""Telemetry and a log of events: where a unit's record is cut into lives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import ImportConfig, Roles
from gan_lab.synth.importing.column_choice import must_have
from gan_lab.synth.importing.columns import Column
from gan_lab.synth.importing.lives import in_hours, number_parts

LATE_SHARE = 0.1  # of a life, that its failure comes after its last row without a word


def check_log_options(config: ImportConfig) -> None:
    """Raise `BadParameter` where a log of events lacks a part, or another option says ends too."""
    if config.events is None:
        for name in ("event_time", "event_kind", "event_sheet", "maintenance"):
            if getattr(config, name) is not None:
                raise BadParameter(f"{name} is of a log of events: name it with events.")
        return
    if not ((config.on or config.life) and config.roles.time):
        raise BadParameter("A log of events needs life (or on) and time: name both columns.")
    for name in ("rul", "failure", "failure_mode", "ends_in_failure", "life_per_file"):
        if getattr(config, name):
            raise BadParameter(f"A log of events says when lives end: leave {name} out.")


def cut_at_events(
    table: pd.DataFrame, times: Column, log: Mapping[str, Column], config: ImportConfig
) -> tuple[pd.DataFrame, Roles, list[str]]:
    """Cut the record of each unit at its events; add `rul`, and `failure_mode` where several are.

    `table` is in the order of unit and time, `times` its column of time. A row belongs to the life
    that its unit's next event ends, one at its own time included. What maintenance ends, and what
    no event follows, has no `rul`: how long it would have lasted nobody knows. Failures at one time
    are one, "a + b". Returns the table, its roles and what is to be said. Raises `BadTable`.
    """
    for name in ("rul", "failure_mode"):
        if name in table:
            raise BadTable(f"{name!r} is made of the log, and the table has one: leave it out.")
    roles = config.roles.model_copy(update={"rul": "rul"})
    unit, time = str(roles.life), str(roles.time)
    events, notes = _events(log, times, config)
    rows = pd.DataFrame({"unit": _keys(table[unit]), "time": _moments(table[time])})
    notes += _strangers(events, rows, unit)
    following = _next_events(rows, events)
    end, kind = following["end"], following["kind"].fillna("")
    same_unit = rows["unit"] == rows["unit"].shift()
    same_end = (end == end.shift()) | (end.isna() & end.isna().shift(fill_value=False))
    part = (same_unit & ~same_end).groupby(rows["unit"]).cumsum()
    left = in_hours(end - rows["time"]).where(kind != "")
    table = table.assign(**{unit: number_parts(table[unit], part), "rul": left})
    notes += _about_lives(table, roles, end.notna(), rows["unit"].nunique())
    if kind[kind != ""].nunique() > 1:
        table["failure_mode"] = kind.replace("", None)
        roles = roles.model_copy(update={"failure_mode": "failure_mode"})
        notes.append(f"The new column 'failure_mode' is what the log's {config.event_kind!r} says.")
    return table, roles, notes


def _events(
    log: Mapping[str, Column], times: Column, config: ImportConfig
) -> tuple[pd.DataFrame, list[str]]:
    """Return `unit`, `end` and `kind` ("": maintenance) of the events, in the order of time."""
    on, at = str(config.on or config.life), str(config.event_time or config.time)
    if at not in log and config.event_time is None:
        alike = (name for name, column in log.items() if column.kind == times.kind)
        raise BadTable(
            f"There is no column {at!r} in the log of events: name the time of an event, such as "
            f"--event-time {next(alike, 'when')!r}."
        )
    for name in filter(None, (on, at, config.event_kind)):
        must_have(name, log, "the log of events")
    said = log[at]
    if not len(said.values):
        raise BadTable("The log of events has no rows.")
    if (said.kind == "date") != (times.kind == "date") or said.kind not in (
        "date", "whole", "number",
    ):  # fmt: skip
        raise BadTable(
            f"The times of the log ({said.values.iloc[0]!r}) and of the table "
            f"({times.values.iloc[0]!r}) are not alike: write both as dates, or both as numbers."
        )
    if said.zoned != times.zoned:
        with_zone, without = ("log", "table") if said.zoned else ("table", "log")
        raise BadTable(
            f"The times of the {with_zone} have a time zone, those of the {without} have none, so "
            "that nobody knows how far they are apart: write both alike."
        )
    if config.event_kind:
        kind = _keys(log[config.event_kind].values).where(lambda kinds: kinds != "", "unknown")
    else:
        kind = pd.Series("failure", index=said.values.index)
    for name in config.maintenance or []:
        if name not in set(kind):
            raise BadParameter(
                f"The log has no {name!r}; it has {', '.join(sorted(set(kind))[:10])}."
            )
    kind = kind.mask(kind.isin(config.maintenance or []), "")
    events = pd.DataFrame(
        {"unit": _keys(log[on].values), "end": _moments(said.values), "kind": kind}
    )
    known = events[(events["unit"] != "") & events["end"].notna()]
    notes = [note for name in (on, at) for note in log[name].notes]
    if lost := len(events) - len(known):
        notes.append(f"Rows of the log without a unit or a time: {lost}, left out.")
    joined = known.groupby(["unit", "end"])["kind"].agg(
        lambda kinds: " + ".join(sorted(set(kinds) - {""}))
    )
    return joined.reset_index().sort_values("end", ignore_index=True), notes


def _strangers(events: pd.DataFrame, rows: pd.DataFrame, unit: str) -> list[str]:
    """Say which units of the log the table has not; raise `BadTable` where it has none of them."""
    unknown = sorted(set(events["unit"]) - set(rows["unit"]))
    if len(unknown) == events["unit"].nunique():
        raise BadTable(
            f"No unit of the log is in the table: there {unit!r} is such as "
            f"{rows['unit'].iloc[0]!r}, in the log {', '.join(unknown[:1]) or 'missing'!r}."
        )
    return [f"Units of the log that the table has not: {', '.join(unknown[:5])}."] * bool(unknown)


def _next_events(rows: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Return `end` and `kind` of the next event of each row's unit, in the order of the rows."""
    order = rows["time"].argsort(kind="stable")
    following = pd.merge_asof(
        rows.iloc[order], events, left_on="time", right_on="end", by="unit", direction="forward"
    )
    return following.set_axis(order).sort_index()


def _about_lives(table: pd.DataFrame, roles: Roles, ended: pd.Series, units: int) -> list[str]:
    """Say how lives end; raises `BadTable` where none ends in a failure."""
    lives = table.assign(ended=ended).groupby(table[roles.life].to_numpy())
    last, first = lives.last(), lives["rul"].first()
    left = last["rul"].dropna()
    failed, seen = len(left), int(last["ended"].sum())
    if not failed:
        raise BadTable("No failure of the log lies behind a row of its unit: no life ends in one.")
    in_unit = "hours" if table[roles.time].dtype.kind == "M" else roles.time
    notes = [
        f"{len(last)} lives of {units} units: {failed} end in a failure, {seen - failed} in "
        f"maintenance, {len(last) - seen} still run. The new column 'rul' is the remaining life in "
        f"{in_unit}."
    ]
    if late := int((left > LATE_SHARE * first[left.index]).sum()):
        notes.append(
            f"Lives whose last row is long before their failure, by more than "
            f"{LATE_SHARE:.0%} of their length: {late}, such as {left.idxmax()}."
        )
    return notes


def _keys(values: pd.Series) -> pd.Series:
    """Return names as text, whole numbers alike whether or not some are missing; "": missing."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return values.astype(str).where(values.notna(), "")


def _moments(times: pd.Series) -> pd.Series:
    """Return times as numbers, or dates in UTC without their zone."""
    if times.dtype.kind != "M":
        return times.astype("Float64").astype(np.float64)
    return (times.dt.tz_convert(None) if times.dt.tz else times).astype("datetime64[ns]")
