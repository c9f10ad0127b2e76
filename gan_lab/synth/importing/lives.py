"""Lives in users' tables: their rows in order, their rul falling, or a rul made of failures."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gan_lab.errors import BadTable
from gan_lab.schema import Roles

RUNS_ON = (
    "", "0", "0.0", "false", "no", "none", "nan", "<na>", "ok", "running", "censored", "nein",
)  # fmt: skip
"""What a failure column says of a life that did not fail."""
JUDGED_LIVES = 10  # of fewer a report can tell nothing
SEVERAL_UNITS = 0.1  # of rows with the time of another: not of one unit
LONG_STEP = 20  # times as long as most, and a step in time is a gap


def settle_lives(
    table: pd.DataFrame, roles: Roles, failure: str | None = None, ends_in_failure: bool = False
) -> tuple[pd.DataFrame, Roles, list[str]]:
    """Put the rows in order, make a rul where there is none; returns what is to be said of it too.

    `failure` names the column that the rul is made of; or every life `ends_in_failure`. Raises
    `BadTable` where the rul rises within a life, or a life has several modes of failure.
    """
    notes: list[str] = []
    in_order = sort_rows(table, roles)
    if in_order is not table:
        notes.append("The rows were not in the order of life and time: they are now.")
    cuts = bool(failure) and roles.rul is None
    table = _once(in_order, roles, cuts, notes)
    if roles.rul is None and ends_in_failure and roles.life:
        failed = ~table[roles.life].duplicated(keep="last")
        if failure:  # a unit may have failed before its last row, too
            failed |= _failed(table[failure])
        table, roles = _with_rul(table, roles, failed, failure, notes)
    elif roles.rul is None and failure and (roles.life or roles.time):
        table, roles = _with_rul(table, roles, _failed(table[failure]), failure, notes)
    unit, names = pd.factorize(table[roles.life] if roles.life else np.zeros(len(table)))
    if roles.rul:
        _check_falls(table[roles.rul], unit, names, roles)
    if roles.life and roles.failure_mode:
        modes = table[roles.failure_mode].groupby(unit).nunique(dropna=False).to_numpy()
        if (modes > 1).any() and roles.failure_mode != failure:
            raise BadTable(
                f"{roles.failure_mode!r} cannot be the failure mode: it changes within life "
                f"{names[modes > 1][0]}. Name a column that is the same in all rows of a life."
            )
        if (modes > 1).any():  # a flag of the row in which a life fails
            roles = roles.model_copy(update={"failure_mode": None})
    if roles.life and roles.rul:
        notes += _notes_on_ends(table[roles.rul], unit, names)
    elif roles.life:
        notes.append(
            "No column says how lives ended: each counts as one that failed in its last row. Name "
            "the column that says which did with --failure."
        )
    if roles.life and len(names) < JUDGED_LIVES:
        notes.append(f"Lives: {len(names)}. A report needs {JUDGED_LIVES}, three of them held out.")
    if roles.time:
        notes += _notes_on_gaps(table[roles.time], unit, names)
    return table, roles, notes


def _once(table: pd.DataFrame, roles: Roles, cuts: bool, notes: list[str]) -> pd.DataFrame:
    """Return the table without rows that are there twice; says of a unit with two readings at one
    time that it may be two. Raises `BadTable` where a failure column `cuts` many units as one."""
    keys = [name for name in (roles.life, roles.time) if name]
    if not roles.time or not table.duplicated(keys).any():
        return table
    twice = table.duplicated()
    if twice.any():
        notes.append(f"{twice.sum():,} rows were there twice: one of each is kept.")
        table = table[~twice].reset_index(drop=True)
    again = table[table.duplicated(keys)]
    if cuts and roles.life is None and len(again) > SEVERAL_UNITS * len(table):
        raise BadTable(
            f"{len(again) / len(table):.0%} of the rows have the time of another row: these are "
            "several units, whose lives a failure column alone cannot tell apart. Name the column "
            "of units with --life."
        )
    if len(again):
        where = " at ".join(str(again[name].iloc[0]) for name in keys)
        notes.append(
            f"{len(again):,} rows have the time of another row of their unit, such as {where}: "
            "are these two units under one name?"
        )
    return table


def sort_rows(table: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """Return the rows by life (in the order of the first rows) and time: the table if they are."""
    keys = [np.zeros(len(table))]
    if roles.time:
        keys.append(pd.factorize(table[roles.time], sort=True)[0])
    if roles.life:
        keys.append(pd.factorize(table[roles.life])[0])
    order = np.lexsort(keys)  # the last key counts most, and equal rows stay as they are
    return table if (np.diff(order) > 0).all() else table.iloc[order].reset_index(drop=True)


def _check_falls(rul: pd.Series, unit: np.ndarray, names: pd.Index, roles: Roles) -> None:
    known = rul.groupby(unit).ffill()  # what is missing must not hide that it rises
    rises = (known.groupby(unit).diff() > 0).fillna(False).to_numpy(bool)
    if rises.any():
        row = int(rises.argmax())
        where = f"in life {names[unit[row]]}" if roles.life else "from row to row"
        raise BadTable(
            f"{roles.rul!r} rises {where} (to {rul.iloc[row]}): a remaining life can only fall."
        )


def _notes_on_ends(rul: pd.Series, unit: np.ndarray, names: pd.Index) -> list[str]:
    notes = []
    rows, known = np.bincount(unit), np.bincount(unit, rul.notna())
    unknown, gaps = names[known == 0], names[(known > 0) & (known < rows)]
    if len(unknown):
        notes.append(
            f"Lives without a rul: {len(unknown)} of {len(names)}, such as {unknown[0]}. "
            "Their end counts as unknown; synthetic lives of their kind have no rul either."
        )
    if len(gaps):
        notes.append(
            f"Lives whose rul is missing in some rows: {len(gaps)}, such as {gaps[0]}. Their "
            "last known rul says when they end."
        )
    return notes


def _notes_on_gaps(time: pd.Series, unit: np.ndarray, names: pd.Index) -> list[str]:
    steps = in_hours(time.groupby(unit).diff())
    usual = steps[steps > 0].median()
    gaps = steps[steps > LONG_STEP * usual]
    if gaps.empty:
        return []
    what = "hours" if time.dtype.kind == "M" else f"in {time.name}"
    of_life = f" of {names[unit[gaps.idxmax()]]}" if len(names) > 1 else ""
    return [
        f"Gaps in time: {len(gaps):,}, the longest{of_life} ({gaps.max():,.4g} {what}, most steps "
        f"are {usual:.4g}). They count as life."
    ]


def _cut_at_failures(life: pd.Series, failed: pd.Series, notes: list[str]) -> pd.Series:
    """Return the life of each row where a unit ran on behind a failure: another one begins there.

    Flags that follow each other are one failure, which ends with the last of them.
    """
    unit = pd.factorize(life)[0]
    before = failed.groupby(unit).shift(fill_value=False).astype(bool)
    part = (before & ~failed).groupby(unit).cumsum()
    cut, on = number_parts(life, part), life[part > 0]
    if on.empty:
        return life
    notes.append(
        f"Units that ran on behind a failure: {on.nunique()}, such as {on.iloc[0]}. Each failure "
        "ends a life, and the next is called "
        f"{cut[part > 0].iloc[0]!r}; what runs behind the last one has no rul."
    )
    return cut


def number_parts(life: pd.Series, part: pd.Series) -> pd.Series:
    """Return the lives' names with the number of each row's part, where a life has several."""
    several = part.groupby(pd.factorize(life)[0]).transform("max") > 0
    if not several.any():
        return life
    names = life.astype(str)
    return names.where(~several, names + " #" + (part + 1).astype(str))


def in_hours(span: pd.Series) -> pd.Series:
    """Return spans between dates in hours, between numbers as they are."""
    return span / pd.Timedelta(hours=1) if span.dtype.kind == "m" else span


def _flagged(flag: pd.Series) -> pd.Series:
    return ~flag.astype(str).str.strip().str.lower().isin(RUNS_ON)


def _failed(flag: pd.Series) -> pd.Series:
    """Return in which rows a column says that the machine failed."""
    failed = _flagged(flag)
    if not failed.any():
        raise BadTable(f"{flag.name!r} says of no life that it failed.")
    if flag.dtype.kind == "f" and (flag.dropna() % 1 != 0).any():
        raise BadTable(
            f"{flag.name!r} holds numbers with decimals: name a column that says whether, or how, "
            "the machine failed, such as 0 and 1."
        )
    return failed


def _with_rul(
    table: pd.DataFrame, roles: Roles, failed: pd.Series, failure: str | None, notes: list[str]
) -> tuple[pd.DataFrame, Roles]:
    """Add the column `rul`: how long until the failure that ends the life; missing without one."""
    for name in ["rul"] if roles.life else ["rul", "life"]:
        if name in table.columns:
            raise BadTable(
                f"There is a column {name!r} already: name it with --{name}, or leave it out."
            )
    if roles.life is None:
        table.insert(0, "life", failed.shift(fill_value=False).cumsum() + 1)
        roles = roles.model_copy(update={"life": "life"})
        notes.append("Each life ends with a failure: the new column 'life' numbers them.")
    else:
        table[roles.life] = _cut_at_failures(table[roles.life], failed, notes)
    unit = pd.factorize(table[roles.life])[0]
    time = table[roles.time] if roles.time else pd.Series(np.arange(len(table)))
    left = time.groupby(unit).transform("last") - time
    hours = left.dtype.kind == "m"
    left = in_hours(left)
    ended = failed.groupby(unit).transform("any")
    if not ended.all():  # nobody knows how long these run on: lives without a rul
        left = (left.astype("Int64") if left.dtype.kind in "iu" else left).where(ended)
    table["rul"] = left
    unit_of_rul = "hours" if hours else roles.time or "rows"
    notes.append(f"The new column 'rul' is the remaining life in {unit_of_rul}.")
    if failure and roles.failure_mode == failure:
        codes = (
            table[failure].where(failed & _flagged(table[failure])).groupby(unit).transform("last")
        )
        changes = (table[failure].groupby(unit).nunique(dropna=False) > 1).any()
        if changes and codes.nunique() > 1 and "failure_mode" not in table:
            table["failure_mode"] = codes
            roles = roles.model_copy(update={"failure_mode": "failure_mode"})
            notes.append(
                f"The new column 'failure_mode' is what {failure!r} says at the end of the life."
            )
    return table, roles.model_copy(update={"rul": "rul"})
