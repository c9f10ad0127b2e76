"""Which column of a table of lives is what: constant, a condition (constant within every life), a
counter (only rises), a category, or a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadTable
from gan_lab.schema import Roles
from gan_lab.synth.lives.columns import SensorColumn, even_step
from gan_lab.synth.lives.packed import Floats, Ints, Packed
from gan_lab.synth.network.columns import decimals, numbers_of
from gan_lab.synth.network.encoding import FEW_VALUES, no_value

USUAL_GAPS = 0.5  # of a column's rows in other lives: a life without any value lacks nothing


class ColumnRoles:
    """Each column put where it belongs.

    `sensors` are the columns of numbers and counters, with their `numbers` and what is `missing`,
    both (rows, sensors); `life_columns` numbers of a life, with its `life_numbers` and those of
    starts of counters; `words` all others that a row decides, `conditions` those that a life
    decides, a row each life. Which lives are `lacking` (lives,) a column as a whole is kept by its
    name; their gaps and words are those of other lives, so that the rest is as where there is one.
    """

    def __init__(self, table: pd.DataFrame, roles: Roles, packed: Packed) -> None:
        self.sensors: list[SensorColumn] = []
        self.life_columns: list[SensorColumn] = []
        self.life_numbers: dict[str, Floats] = {}
        self.lacking: dict[str, NDArray[np.bool_]] = {}
        self._packed, self._starts = packed, packed.starts[:-1]
        self._words: dict[str, pd.Series[Any]] = {}
        self._conditions: dict[str, pd.Series[Any]] = {}
        columns: list[Floats] = []
        missing: list[NDArray[np.bool_]] = []
        for name in table.columns:
            if name in (roles.life, roles.time, roles.rul):
                continue
            series, values = table[name], numbers_of(table[name])
            if not series.notna().any():
                raise no_value(series)
            state = name == roles.state
            if not state and series.nunique() > 1 and constant_within(series, packed):
                self._add_condition(series, values)
                continue
            kind = "category" if values is None else classify(values, packed)
            if values is None or state or kind == "category":
                whole = series if state else series.iloc[self._lenders(series)]
                self._words[series.name] = whole.set_axis(series.index)
                continue
            missing.append(np.isnan(values)[self._lenders(series)])
            columns.append(self._add_sensor(series, values, kind))
        self.words = pd.DataFrame(self._words, index=table.index)
        self.conditions = pd.DataFrame(self._conditions, index=range(len(self._starts)))
        self.numbers: Floats = np.column_stack([np.empty((len(table), 0)), *columns])
        self.missing = np.column_stack([np.empty((len(table), 0), dtype=bool), *missing])

    def _add_condition(self, series: pd.Series[Any], values: Floats | None) -> None:
        if values is None or series.nunique() <= FEW_VALUES:
            self._conditions[series.name] = series.iloc[self._starts].reset_index(drop=True)
            return
        self.life_columns.append(SensorColumn.of(series, values))
        self.life_numbers[series.name] = values[self._lenders(series)[self._starts]]

    def _lenders(self, series: pd.Series[Any]) -> Ints:
        """Return the row that stands for each row: its own or, of a life that lacks the column,
        one of another life, as far from its end."""
        packed, gaps = self._packed, series.isna().to_numpy()
        gone, lives = packed.sums(gaps) == packed.rows, np.arange(len(packed.rows))
        if gone.any() and gaps[~gone[packed.life]].mean() < USUAL_GAPS:
            self.lacking[series.name] = gone
            others = np.random.default_rng(0).choice(lives[~gone], size=int(gone.sum()))
            lives[gone] = others
        first, last = packed.starts[lives], packed.starts[lives + 1] - 1
        left = packed.rows[packed.life] - 1 - packed.age
        return np.maximum(last[packed.life] - left, first[packed.life])

    def _add_sensor(self, series: pd.Series[Any], values: Floats, kind: str) -> Floats:
        """Return the numbers that are modelled: readings, or rises of a counter."""
        counter, floor = kind.endswith("counter"), None
        if counter:
            if kind.startswith("falling"):
                values, floor = -values, float(np.nanmin(values))
            filled = pd.Series(values).groupby(self._packed.life).bfill().to_numpy()[self._starts]
            self.life_numbers[series.name] = np.nan_to_num(filled, nan=np.nanmin(values))
            values = increments(values, self._packed)
            lacking = self.lacking.get(series.name)
            if lacking is not None:
                values[lacking[self._packed.life]] = np.nan
        self.sensors.append(SensorColumn.of(series, values, counter=counter, floor=floor))
        return values


def sorted_lives(table: pd.DataFrame, roles: Roles) -> tuple[pd.DataFrame, Ints]:
    """Return the rows life by life in the order of time, and the rows of each life.

    Raises `BadTable` naming the column where a life or a time is missing.
    """
    for role, name in roles.model_dump().items():
        if name is not None and name not in table:
            raise BadTable(f"The table has no column {name!r}, which should hold the {role}.")
    for name in (roles.life, roles.time):
        if name is not None and table[name].isna().any():
            raise BadTable(
                f"Column {name!r} is missing in {table[name].isna().sum():,} rows: drop these rows."
            )
    if not len(table):
        raise BadTable("The table has no rows: there is nothing to learn from.")
    keys = [name for name in (roles.life, roles.time) if name is not None]
    table = table.sort_values(keys, kind="stable", ignore_index=True) if keys else table
    if roles.life is None:
        return table, np.array([len(table)])
    code = pd.factorize(table[roles.life])[0]
    return table, np.bincount(code).astype(np.int64)


def classify(values: Floats, packed: Packed) -> str:
    """Return what a column of numbers is: number, category, counter or falling counter.

    What falls to the same end in all lives is not counted but tells how far that end is.
    """
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    if len(distinct) <= FEW_VALUES:
        step = even_step(distinct)
        filled = step and np.ptp(distinct) / step < 1.25 * len(distinct)
        if len(distinct) < 10 or not filled:
            return "category"
    rises = np.diff(values)[packed.age[1:] > 0]
    rises = rises[np.isfinite(rises)]
    if not len(rises) or not rises.any() or rises.min() < 0 < rises.max():
        return "number"
    if rises.max() > 0:
        return "counter"
    readings = pd.Series(values).groupby(packed.life)
    return "number" if readings.last().std() <= readings.first().std() else "falling counter"


def constant_within(series: pd.Series[Any], packed: Packed) -> bool:
    """Return whether a column never changes within a life; lives of one row say nothing."""
    code = pd.factorize(series, use_na_sentinel=True)[0]
    same_life = packed.age[1:] > 0
    return bool(same_life.any() and (code[1:] == code[:-1])[same_life].all())


def increments(values: Floats, packed: Packed) -> Floats:
    """Return by how much a counter rises at each row, in as many digits as it has; at a life's
    first row, as at its second."""
    digits = decimals(np.unique(values[np.isfinite(values)]))
    filled = pd.Series(values).groupby(packed.life).ffill().groupby(packed.life).bfill().to_numpy()
    rises = np.r_[0.0, np.diff(filled)]
    first = np.flatnonzero(packed.age == 0)
    second = np.minimum(first + 1, len(values) - 1)
    rises[first] = np.where(packed.age[second] == 1, rises[second], 0.0)
    rises = np.nan_to_num(rises)
    return np.asarray(rises if digits is None else np.round(rises, digits))
