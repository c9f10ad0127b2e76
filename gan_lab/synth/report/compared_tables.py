"""The three tables a report compares: synthetic, seen in training, held out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BeforeValidator

from gan_lab.errors import BadTable
from gan_lab.schema import Roles
from gan_lab.synth.report.thresholds import MIN_HELD_LIVES, MIN_LIVES
from gan_lab.workspace.profiles import Profile

MAX_ROWS = 20_000
"""Rows of each table that figures are computed on, as whole lives where so many hold enough."""
MAX_LIFE_ROWS = MAX_ROWS // 20
"""Rows of a life that are judged, where lives are so long that few would be left."""
MAX_LEVELS = 50
"""A text column with more distinct values is an identifier, not a category."""
MAX_TREE_LEVELS = 120  # of a state or a failure mode, which may have more

Kind = Literal["number", "category"]
Array = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]
Units = npt.NDArray[np.int64]


def _finite(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 6)


Figure = Annotated[float | None, BeforeValidator(_finite)]
"""A figure of a report: six decimals, None where it cannot be computed."""


@dataclass(frozen=True)
class Sides:
    """Synthetic rows beside the rows the model learned from and the rows it has never seen.

    `loose`: the machine has lives, but the synthetic rows were drawn one by one and belong to none;
    each stands as a life of its own.
    """

    synthetic: pd.DataFrame
    train: pd.DataFrame
    holdout: pd.DataFrame
    roles: Roles
    kinds: dict[str, Kind]
    profile: Profile | None = None
    seed: int = 0
    notes: list[str] = field(default_factory=list)
    loose: bool = False

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The three tables by name."""
        return {"synthetic": self.synthetic, "train": self.train, "holdout": self.holdout}

    @cached_property
    def real(self) -> pd.DataFrame:
        """The real rows, seen and held out."""
        return pd.concat([self.train, self.holdout], ignore_index=True)

    @property
    def lives(self) -> tuple[int, int] | None:
        """How many lives were learned from, and how many held out; None where there are none."""
        if self.roles.life is None:
            return None
        seen, held = (table[self.roles.life].nunique() for table in (self.train, self.holdout))
        return seen, held

    @property
    def few(self) -> bool:
        """Whether a fault cannot be told from how one life differs from the next."""
        return self.lives is not None and (
            min(self.lives) < MIN_HELD_LIVES or sum(self.lives) < MIN_LIVES
        )

    @cached_property
    def levels(self) -> dict[str, list[str]]:
        """The levels of each category in the training rows, as many as trees can split."""
        names = self.columns("category")
        return {
            name: sorted(self.train[name].dropna().unique())[:MAX_TREE_LEVELS] for name in names
        }

    @cached_property
    def features(self) -> dict[str, Points]:
        """The compared columns of each table as trees take them: a level is its place."""
        return {key: self._features(table) for key, table in self.tables.items()}

    def _features(self, table: pd.DataFrame) -> Points:
        columns = []
        for name, kind in self.kinds.items():
            if kind == "number":
                columns.append(table[name].clip(-1e30, 1e30))
            else:
                places = {level: place for place, level in enumerate(self.levels[name])}
                columns.append(table[name].map(places))
        return np.stack([column.to_numpy(np.float32) for column in columns], axis=1)

    def columns(self, kind: Kind) -> list[str]:
        """The compared columns of one kind."""
        return [name for name, each in self.kinds.items() if each == kind]

    def units(self, table: pd.DataFrame) -> Units:
        """Each row's life as a number; without lives each row is its own."""
        if self.roles.life is None:
            return np.arange(len(table))
        return np.unique(table[self.roles.life], return_inverse=True)[1].astype(np.int64)


def some(count: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return the places of at most so many of `count` things, drawn evenly, in order."""
    return np.sort(rng.permutation(count)[:most])


def column_kinds(table: pd.DataFrame, roles: Roles) -> dict[str, Kind]:
    """Return what each column is compared as; life, time, moments, identifiers, empty ones are not.

    Whole numbers with two values are flags, and so categories.
    """
    kinds: dict[str, Kind] = {}
    for name, column in table.items():
        known = column.dropna()
        if name in (roles.life, roles.time) or known.empty:
            continue
        if pd.api.types.is_datetime64_any_dtype(column):
            continue
        if pd.api.types.is_numeric_dtype(column) and column.dtype != bool:
            two = known.nunique() == 2 and (known == known.round()).all()
            kinds[str(name)] = "category" if two and name != roles.rul else "number"
        elif known.nunique() <= MAX_LEVELS or name in (roles.state, roles.failure_mode):
            kinds[str(name)] = "category"
    return kinds


def some_lives(
    table: pd.DataFrame, roles: Roles, most: int, seed: int, longest: int | None = None
) -> pd.DataFrame:
    """Return whole lives, drawn evenly until `most` rows (rows without lives), in order.

    Of lives with more rows than `longest`, a stretch of so many at a random place.
    """
    if len(table) <= most and longest is None:
        return table.reset_index(drop=True)
    rng = np.random.default_rng(seed)
    if roles.life is None:
        return table.iloc[some(len(table), most, rng)].reset_index(drop=True)
    life = pd.factorize(table[roles.life])[0]
    sizes = np.bincount(life)
    kept = np.minimum(sizes, longest or most)
    order = rng.permutation(len(sizes))
    within = np.cumsum(kept[order]) <= most
    kept[order[max(2, int(within.sum())) :]] = 0
    start = rng.integers(0, sizes - kept + 1)
    age = table.groupby(life).cumcount().to_numpy() - start[life]
    return table[(age >= 0) & (age < kept[life])].reset_index(drop=True)


def compare(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    roles: Roles,
    profile: Profile | None,
    seed: int,
) -> Sides:
    """Bring three tables to one shape and size; raises `BadTable` where they cannot be compared."""
    life, loose = roles.life, roles.life is not None and roles.life not in synthetic.columns
    if loose:
        number = np.arange(len(synthetic))
        missing = [n for n in (life, roles.time) if n and n not in synthetic]
        synthetic = synthetic.assign(**dict.fromkeys(missing, number))
    given = {"synthetic": synthetic, "training": train, "held-out": holdout}
    for name, table in given.items():
        _check(name, table, train, roles)
    kinds = column_kinds(pd.concat([train, holdout]), roles)
    if not kinds:
        raise BadTable("The table has no column of numbers or categories to compare.")
    long = life is not None and len(train) > max(MAX_ROWS, train[life].nunique() * MAX_LIFE_ROWS)
    what = f"stretches of {MAX_LIFE_ROWS:,}" if long else "whole lives" if life else "rows"
    notes = []
    for name, table in given.items():
        part = some_lives(table, roles, MAX_ROWS, seed, MAX_LIFE_ROWS if long else None)
        if len(part) < len(table):
            notes.append(f"{len(part):,} of {len(table):,} {name} rows ({what} drawn at random)")
        given[name] = same_types(part, train, kinds)
    synthetic, train, holdout = given.values()
    return Sides(synthetic, train, holdout, roles, kinds, profile, seed, notes, loose)


def _check(name: str, table: pd.DataFrame, train: pd.DataFrame, roles: Roles) -> None:
    if table.empty and name == "held-out" and roles.life and train[roles.life].nunique() == 1:
        raise BadTable(
            f"There is only one life ({roles.life}={train[roles.life].iloc[0]}), so none "
            "could be held out, and rows of one life cannot be judged: import more lives, "
            "two at least, and train again."
        )
    if table.empty:
        raise BadTable(
            f"The {name} table has no rows, so there is nothing to report on. "
            "Train with a holdout above 0 and generate at least one row."
        )
    missing = [column for column in train.columns if column not in table.columns]
    if missing:
        raise BadTable(
            f"The {name} table lacks the columns {', '.join(map(str, missing))}: "
            "generate it again from a model of this machine."
        )


def same_types(table: pd.DataFrame, like: pd.DataFrame, kinds: dict[str, Kind]) -> pd.DataFrame:
    """Return numbers as floats, categories as text: how a column is stored must tell no tables
    apart."""
    result = table[list(like.columns)].copy()
    for name, kind in kinds.items():
        column = result[name]
        if kind == "number":
            values = pd.to_numeric(column, errors="coerce").astype(np.float64)
            result[name] = values.where(np.isfinite(values))
        elif pd.api.types.is_numeric_dtype(column) and column.dtype != bool:
            result[name] = column.map(lambda value: None if pd.isna(value) else f"{value:g}")
        else:
            result[name] = column.map(lambda value: None if pd.isna(value) else str(value))
    return result
