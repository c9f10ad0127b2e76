"""Lives in users' tables: are the rows in order, does the rul fall, and how to make both so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from gan_lab.errors import BadTable
from gan_lab.schema import Roles

MOST_ROWS_SORTED = 20_000_000
RUNS_ON = {
    "",
    "0",
    "0.0",
    "false",
    "no",
    "none",
    "nan",
    "<na>",
    "ok",
    "running",
    "censored",
    "nein",
}
"""What a failure column says of a life that did not fail."""


def settle_lives(
    path: Path, roles: Roles, failure: str | None, notes: list[str]
) -> tuple[Roles, int | None, int]:
    """Put the rows of a written table in order, make a rul where asked; returns roles, lives, rows.

    `failure` names the column that the rul is made of. Reads the columns that play a part in
    batches; only a table that is out of order, or needs a rul, is loaded whole. Raises `BadTable`
    where the rul rises within a life, or a life has several modes of failure.
    """
    makes_rul = bool(failure and roles.rul is None and (roles.life or roles.time))
    look = LifeCheck.of(path, roles)
    if makes_rul or not look.ordered:
        if look.rows > MOST_ROWS_SORTED:
            raise BadTable(
                f"The {look.rows} rows are not in order: sort them by life and time first."
            )
        table = pd.read_parquet(path)
        if not look.ordered:
            table = _sorted(table, roles)
            notes.append("The rows were not in the order of life and time: they are now.")
        if makes_rul and failure:
            table, roles = _with_rul(table, roles, failure, notes)
        table.to_parquet(path, index=False)
        look = LifeCheck.of(path, roles)
    if look.rul_rises:
        raise BadTable(f"{roles.rul!r} rises {look.rul_rises}: a remaining life can only fall.")
    if look.two_modes and roles.failure_mode != failure:
        raise BadTable(
            f"{roles.failure_mode!r} cannot be the failure mode: it changes within life "
            f"{look.two_modes}. Name a column that is the same in all rows of a life."
        )
    if look.two_modes:  # a flag of the row in which a life fails
        roles = roles.model_copy(update={"failure_mode": None})
    if roles.life is None:
        return roles, None, look.rows
    if roles.rul:
        notes += look.ends_unknown()
    single = [str(name) for name, rows in look.sizes.items() if rows == 1]
    if single:
        notes.append(f"Lives of only one row: {len(single)}, such as {single[0]}.")
    if look.repeats:
        notes.append(f"Rows with the time of the row before them: {look.repeats}.")
    return roles, len(look.sizes), look.rows


class LifeCheck:
    """What the columns that play a part look like along the rows, in constant memory."""

    def __init__(self) -> None:
        self.sizes: Counter[object] = Counter()
        self.known: Counter[object] = Counter()  # rows of a life that have a rul
        self.rows = 0
        self.ordered = True
        self.repeats = 0
        self.rul_rises = ""
        self.two_modes = ""

    @classmethod
    def of(cls, path: Path, roles: Roles) -> LifeCheck:
        """Look at a Parquet file."""
        look, before = cls(), None
        parts = (roles.life, roles.time, roles.rul, roles.failure_mode)
        names = [name for name in parts if name]
        with pq.ParquetFile(path) as file:
            look.rows = file.metadata.num_rows
            for batch in file.iter_batches(200_000, columns=names) if names else ():
                frame = batch.to_pandas(ignore_metadata=True)  # plain types: no <NA> when compared
                if roles.life and roles.rul:
                    look.known.update(frame.groupby(roles.life)[roles.rul].count().to_dict())
                joined = frame if before is None else pd.concat([before, frame], ignore_index=True)
                if roles.life and roles.rul:  # what is missing must not hide that the rul rises
                    joined[roles.rul] = joined.groupby(roles.life)[roles.rul].ffill()
                look._add(joined, roles, before is None)
                before = joined.tail(1)
        return look

    def ends_unknown(self) -> list[str]:
        """Say how many lives lack a rul, wholly or in part."""
        unknown = [str(life) for life in self.sizes if not self.known[life]]
        gaps = [str(life) for life, rows in self.sizes.items() if 0 < self.known[life] < rows]
        notes = []
        if unknown:
            notes.append(
                f"Lives without a rul: {len(unknown)} of {len(self.sizes)}, such as {unknown[0]}. "
                "Their end counts as unknown; synthetic lives of their kind have no rul either."
            )
        if gaps:
            notes.append(
                f"Lives whose rul is missing in some rows: {len(gaps)}, such as {gaps[0]}. Their "
                "end is told by the last rul that is known."
            )
        return notes

    def _add(self, frame: pd.DataFrame, roles: Roles, first: bool) -> None:
        same = pd.Series(True, index=frame.index)
        if roles.life:
            same = frame[roles.life].eq(frame[roles.life].shift())
            fresh = frame if first else frame.iloc[1:]
            began = fresh.loc[~same.to_numpy()[-len(fresh) :], roles.life]
            self.ordered &= not any(name in self.sizes for name in began) and began.is_unique
            self.sizes.update(fresh[roles.life].value_counts().to_dict())
        if roles.time:
            before = frame[roles.time].shift()
            self.ordered &= not (same & (frame[roles.time] < before)).any()
            self.repeats += int((same & frame[roles.time].eq(before)).sum())
        if roles.rul and not self.rul_rises:
            rises = (same & (frame[roles.rul] > frame[roles.rul].shift())).to_numpy()
            if rises.any():
                place = frame.iloc[int(rises.argmax())]
                where = f"in life {place[roles.life]}" if roles.life else "from row to row"
                self.rul_rises = f"{where} (to {place[roles.rul]})"
        if roles.life and roles.failure_mode and not self.two_modes:
            mode, before = frame[roles.failure_mode], frame[roles.failure_mode].shift()
            changes = (same & mode.ne(before) & ~(mode.isna() & before.isna())).to_numpy()
            if changes.any():
                self.two_modes = str(frame[roles.life].iloc[int(changes.argmax())])


def _sorted(table: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    keys = pd.DataFrame(index=table.index)
    if roles.life:
        keys["life"] = pd.factorize(table[roles.life])[0]
    if roles.time:
        keys["time"] = table[roles.time]
    order = keys.sort_values(list(keys), kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _with_rul(
    table: pd.DataFrame, roles: Roles, failure: str, notes: list[str]
) -> tuple[pd.DataFrame, Roles]:
    """Add the column `rul`: how long until the failure that ends the life; missing without one."""
    if "rul" in table.columns:
        raise BadTable("There is a column 'rul' already: name it with --rul, or leave it out.")
    failed = ~table[failure].astype(str).str.strip().str.lower().isin(RUNS_ON)
    if roles.life is None:
        if "life" in table.columns:
            raise BadTable(
                "There is a column 'life' already: name it with --life, or leave it out."
            )
        table.insert(0, "life", failed.shift(fill_value=False).cumsum() + 1)
        roles = roles.model_copy(update={"life": "life"})
        notes.append("Each life ends with a failure: they are told apart by the new column 'life'.")
    if not failed.any():
        raise BadTable(f"{failure!r} says of no life that it failed.")
    ended = failed.groupby(table[roles.life]).transform("any")
    time = table[roles.time] if roles.time else pd.Series(np.arange(len(table)))
    left = time.groupby(table[roles.life]).transform("last") - time
    unit = "hours" if left.dtype.kind == "m" else roles.time or "rows"
    left = left / pd.Timedelta(hours=1) if left.dtype.kind == "m" else left
    if not ended.all():  # nobody knows how long these run on: lives without a rul
        left = (left.astype("Int64") if left.dtype.kind in "iu" else left).where(ended)
    table["rul"] = left
    notes.append(f"The new column 'rul' is the remaining life in {unit}.")
    if roles.failure_mode == failure:
        constant = table.groupby(roles.life)[failure].nunique(dropna=False).max() == 1
        roles = roles.model_copy(update={"failure_mode": failure if constant else None})
        codes = table[failure].where(failed).groupby(table[roles.life]).transform("last")
        if not constant and codes.nunique() > 1 and "failure_mode" not in table:
            table["failure_mode"] = codes
            roles = roles.model_copy(update={"failure_mode": "failure_mode"})
            notes.append(
                f"The new column 'failure_mode' is what {failure!r} says at the end of the life."
            )
    return table, roles.model_copy(update={"rul": "rul"})
