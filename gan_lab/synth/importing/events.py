"""Telemetry and a log of events: where a unit's record is cut into lives."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import ImportConfig, Roles
from gan_lab.synth.importing.column_choice import must_have
from gan_lab.synth.importing.lives import check_new, number_parts


def check_log_options(config: ImportConfig) -> None:
    """Raise `BadParameter` where a log of events lacks a part, or another option says ends too."""
    if config.events is None:
        for name in ("event_time", "event_kind", "maintenance"):
            if getattr(config, name) is not None:
                raise BadParameter(f"{name} is of a log of events: name it with events.")
        return
    if not (config.roles.life and config.roles.time):
        raise BadParameter("A log of events needs life (or on) and time: name both columns.")
    for name in ("rul", "failure", "ends_in_failure"):
        if getattr(config, name):
            raise BadParameter(f"A log of events says when lives end: leave {name} out.")


def cut_at_events(
    table: pd.DataFrame, roles: Roles, log: pd.DataFrame, config: ImportConfig
) -> tuple[pd.DataFrame, Roles, list[str]]:
    """Cut the record of each unit at its events; add `rul`, and `failure_mode` where several are.

    `table` is in the order of unit and time. A row belongs to the life that its unit's next event
    ends, one at its own time included. What maintenance ends, and what no event follows, has no
    `rul`: how long it would have lasted nobody knows. Failures at one time are one, "a + b".
    Returns the table, its roles and what is to be said. Raises `BadTable`.
    """
    check_new(["rul", "failure_mode"], table)
    unit, time = str(roles.life), str(roles.time)
    events = _events(log, table[time], config)
    rows = pd.DataFrame({"unit": table[unit].astype(str), "time": _moments(table[time])})
    unknown = sorted(set(events["unit"]) - set(rows["unit"]))
    if len(unknown) == events["unit"].nunique():
        raise BadTable(
            f"No unit of the log is in the table: there {unit!r} is such as "
            f"{rows['unit'].iloc[0]!r}, in the log {', '.join(unknown[:1]) or 'missing'!r}."
        )
    order = rows["time"].argsort(kind="stable")
    following = pd.merge_asof(
        rows.iloc[order], events, left_on="time", right_on="end", by="unit", direction="forward"
    ).set_axis(order)
    following = following.sort_index()
    end, kind = following["end"], following["kind"].fillna("")
    same = rows["unit"] == rows["unit"].shift()
    new = same & ~((end == end.shift()) | (end.isna() & end.isna().shift(fill_value=False)))
    part = new.groupby(rows["unit"]).cumsum()
    left = end - rows["time"]
    left = left / pd.Timedelta(hours=1) if left.dtype.kind == "m" else left
    table = table.assign(**{unit: number_parts(table[unit], part), "rul": left.where(kind != "")})
    ends = pd.DataFrame({"kind": kind, "seen": end.notna()}).groupby(table[unit].to_numpy()).last()
    failed, seen = int((ends["kind"] != "").sum()), int(ends["seen"].sum())
    if not failed:
        raise BadTable("No failure of the log lies behind a row of its unit: no life ends in one.")
    notes = [
        f"{len(ends)} lives of {rows['unit'].nunique()} units: {failed} end in a failure, "
        f"{seen - failed} in maintenance, {len(ends) - seen} still run. The new column 'rul' is "
        f"the remaining life in {'hours' if table[time].dtype.kind == 'M' else time}."
    ]
    if unknown:
        notes.append(f"Units of the log that the table has not: {', '.join(unknown[:5])}.")
    roles = roles.model_copy(update={"rul": "rul"})
    if kind[kind != ""].nunique() > 1:
        table["failure_mode"] = kind.replace("", None)
        roles = roles.model_copy(update={"failure_mode": "failure_mode"})
        notes.append(f"The new column 'failure_mode' is what the log's {config.event_kind!r} says.")
    return table, roles, notes


def _events(log: pd.DataFrame, times: pd.Series, config: ImportConfig) -> pd.DataFrame:
    """Return `unit`, `end` and `kind` ("": maintenance) of the events, in the order of time."""
    on, at = str(config.on or config.life), str(config.event_time or config.time)
    for name in filter(None, (on, at, config.event_kind)):
        must_have(name, log.columns, "the log of events")
    if log[at].dtype.kind not in "Miuf" or (log[at].dtype.kind == "M") != (times.dtype.kind == "M"):
        raise BadTable(
            f"The times of the log ({log[at].iloc[0]!r}) and of the table ({times.iloc[0]!r}) are "
            "not alike: write both as dates, or both as numbers that count the same."
        )
    kind = log[config.event_kind] if config.event_kind else pd.Series("failure", index=log.index)
    kind = kind.astype(str)
    for name in config.maintenance or []:
        if name not in set(kind):
            raise BadParameter(
                f"The log has no {name!r}; it has {', '.join(sorted(set(kind))[:10])}."
            )
    kind = kind.mask(kind.isin(config.maintenance or []), "")
    events = pd.DataFrame({"unit": log[on].astype(str), "end": _moments(log[at]), "kind": kind})
    several = events.dropna().groupby(["unit", "end"])["kind"]
    joined = several.agg(lambda kinds: " + ".join(sorted(set(kinds) - {""})))
    return joined.reset_index().sort_values("end", ignore_index=True)


def _moments(times: pd.Series) -> pd.Series:
    """Return times as numbers, or dates in UTC without their zone."""
    if times.dtype.kind != "M":
        return times.astype(np.float64)
    return (times.dt.tz_convert(None) if times.dt.tz else times).astype("datetime64[ns]")
