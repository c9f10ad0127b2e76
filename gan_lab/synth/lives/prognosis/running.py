"""Units that still run, as a fitted table of lives sees them: arrays, and what is out of the
ordinary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadTable
from gan_lab.schema import Roles
from gan_lab.synth.lives.column_roles import increments, sorted_lives
from gan_lab.synth.lives.columns import steps_between
from gan_lab.synth.lives.life_table import START, LifeTable, Lives
from gan_lab.synth.lives.packed import Floats, Ints, Packed
from gan_lab.synth.network.columns import numbers_of

SAME_START = 1.0  # mean steps: training lives that all start within so many start at age 0
# Of a column's range, beyond which a reading is outside all training lives, and of no machine that
# was learned from: it is not used.
OUTSIDE, FAR = 0.1, 0.5


@dataclass
class Running:
    """Rows of units that still run, unit by unit in the order of time.

    `units` names them, `values` (rows, sensors) are readings in units of their regime's spread,
    NaN where missing; `lives` holds the rest, with no distance to the end (NaN). `possible`
    (units, combinations) says which combinations of conditions each unit may have, `remarks` what
    a reader of the answer must know of a unit.
    """

    units: list[Any]
    lives: Lives
    packed: Packed
    values: NDArray[np.float32]
    possible: NDArray[np.bool_]
    remarks: list[list[str]] = field(default_factory=list)

    @classmethod
    def read(cls, table: LifeTable, frame: pd.DataFrame) -> Running:
        """Read units under the table's own column names.

        A column of conditions, of remaining life, or some sensors may be absent. Raises `BadTable`
        where life, time or all sensors are, or where a column of numbers holds none.
        """
        _check_units(table, frame)
        roles = Roles(
            life=table.roles.life if table.roles.life in frame else None, time=table.roles.time
        )
        frame = frame.set_axis(map(str, frame.columns), axis=1)
        if roles.time:
            frame = frame.drop_duplicates()  # what was handed in twice was read once
        frame, rows = sorted_lives(frame, roles)
        packed = Packed(rows)
        first = packed.starts[:-1]
        units = frame[roles.life].iloc[first].tolist() if roles.life else [0]
        remarks: list[list[str]] = [[] for _ in units]
        seconds = _seconds(table, frame, packed)
        steps = steps_between(seconds, packed)
        elapsed = table.time.elapsed(steps, packed)
        _remark_on_times(table, steps, packed, remarks)
        elapsed += _first_ages(table, seconds[first])[packed.life]
        numbers, covariates = _numbers(table, frame, packed, remarks)
        codes = _codes(table, frame)
        _remark_on_flags(table, codes[packed.starts[1:] - 1], remarks)
        regime = _regimes(table, numbers, codes, packed, remarks)
        center, spread = np.array(table.center)[regime], np.array(table.spread)[regime]
        values = np.where(table.still[regime], np.nan, (numbers - center) / spread)
        lives = Lives(
            rows, np.zeros(len(rows), dtype=np.int64), {**covariates, START: seconds[first]},
            elapsed, np.full(len(elapsed), np.nan), regime, numbers, codes,
            steps, np.isnan(numbers),
        )  # fmt: skip
        possible = _possible(table, frame.iloc[first], remarks)
        return cls(units, lives, packed, values.astype(np.float32), possible, remarks)

    def able(self, unit: int, shares: dict[int, float]) -> dict[int, float]:
        """Return those of some combinations that a unit may have; all, where it fits none."""
        return {c: share for c, share in shares.items() if self.possible[unit, c]} or shares


def _check_units(table: LifeTable, frame: pd.DataFrame) -> None:
    """Raise `BadTable` where the column of units is absent, and the times are not those of one."""
    life, time = table.roles.life, table.roles.time
    if life is None or life in frame or time not in frame:
        return
    if not frame[time].is_monotonic_increasing or frame[time].duplicated().any():
        raise BadTable(
            f"There is no column {life!r}, which tells units apart, and the times of these rows go "
            f"back: they are of several. There are {', '.join(map(str, frame.columns[:10]))}."
        )


def _remark_on_times(
    table: LifeTable, steps: Floats, packed: Packed, remarks: list[list[str]]
) -> None:
    if table.time.name is None or min(table.time.steps) <= 0:
        return
    for unit in np.unique(packed.life[(steps == 0) & (packed.age > 0)]):
        remarks[unit].append("several rows of one time: are these one unit?")


def answer_unit(table: LifeTable) -> tuple[str, float]:
    """Return the unit of ages and remaining lives, and how much of it a mean step is: that of the
    column of remaining life where there is one, else that of time."""
    rul, time = table.rul, table.time
    passed = time.mean_step / (3600.0 if time.is_time else 1.0)
    rate = passed if rul is None else rul.rate
    if not np.isclose(rate, passed, rtol=1e-3):
        return str(rul.name if rul is not None else time.name), rate
    return ("hours" if time.is_time else str(time.name or "rows")), rate


def _seconds(table: LifeTable, frame: pd.DataFrame, packed: Packed) -> Floats:
    """Return the time of each row; rows are counted where the table has no column of time."""
    name = table.time.name
    if name is None:
        return packed.age.astype(np.float64)
    seconds = numbers_of(frame[name], table.time.origin)
    if seconds is None:
        raise BadTable(
            f"Column {name!r} should hold the time but is of type {frame[name].dtype}: convert it "
            "to numbers or dates, as in the training table."
        )
    return seconds


def _first_ages(table: LifeTable, starts: Floats) -> Floats:
    """Return the age of each unit at its first row, mean steps: known where the time column counts
    the age of a unit (all training lives start alike, and not on a date), else 0."""
    seen = table.covariates[START].values
    if table.time.is_time or (seen[-1] - seen[0]) / table.time.mean_step > SAME_START:
        return np.zeros(len(starts))
    return np.maximum((starts - seen[0]) / table.time.mean_step, 0.0)


def _numbers(
    table: LifeTable, frame: pd.DataFrame, packed: Packed, remarks: list[list[str]]
) -> tuple[Floats, dict[str, Floats]]:
    """Return scaled readings (rows, sensors) and the numbers of each unit by name."""
    names = [column.name for column in table.sensors]
    if names and not frame.columns.isin(names).any():
        raise BadTable(
            f"None of the sensors that were learned from is a column of these rows: "
            f"{', '.join(map(str, names[:10]))}. There are {', '.join(frame.columns[:10])}."
        )
    numbers = np.full((len(frame), len(table.sensors)), np.nan)
    for place, column in enumerate(table.sensors):
        if column.name not in frame:
            _remark(remarks, np.ones(len(remarks), dtype=bool), f"no column {column.name}")
            continue
        readings = _read(frame[column.name])
        if column.counter:
            readings = increments(-readings if column.floor is not None else readings, packed)
        size = column.maximum - column.minimum
        beyond = np.maximum(column.minimum - readings, readings - column.maximum)
        beyond = np.nan_to_num(beyond, nan=-np.inf)
        for least, most, text in (
            (OUTSIDE, FAR, "is outside all training lives"),
            (FAR, np.inf, "is far outside all training lives and not used"),
        ):
            mine = (beyond > least * size) & (beyond <= most * size)
            units = np.logical_or.reduceat(mine, packed.starts[:-1])
            _remark(remarks, units, f"{column.name} {text}")
        readings = np.where(beyond > FAR * size, np.nan, readings)
        numbers[:, place] = column.scale.transform(readings)
    covariates = {}
    for column in table.life_columns:
        values = np.full(len(packed.rows), np.mean(table.covariates[column.name].values))
        if column.name in frame:
            own = _read(frame[column.name])[packed.starts[:-1]]
            values = np.where(np.isfinite(own), own, values)
        covariates[column.name] = values
    return numbers, covariates


def _read(series: pd.Series[Any]) -> Floats:
    readings = numbers_of(series)
    if readings is None and series.notna().any():
        raise BadTable(
            f"Column {series.name!r} should hold numbers but is of type {series.dtype}: convert "
            "it, as in the training table."
        )
    return np.full(len(series), np.nan) if readings is None else readings


def _codes(table: LifeTable, frame: pd.DataFrame) -> NDArray[np.int16]:
    """Return the cell of each category, (rows, categories); -1: it was never seen, or is absent."""
    codes = np.full((len(frame), len(table.categories.groups)), -1, dtype=np.int16)
    for place, column in enumerate(table.categories.groups):
        if column.name in frame:
            codes[:, place] = _cells(column, frame[column.name])
    return codes


def _cells(column: Any, series: pd.Series[Any]) -> NDArray[np.int16]:
    """Return the cell of each value of a condition or category, -1 for one that was never seen."""
    known = {str(name): cell for cell, name in enumerate(column.names) if name is not None}
    if numbers_of(series) is not None:
        series = series.map(lambda value: value if isinstance(value, bool) else f"{value:g}")
    found = series.astype(str).map(known)
    gone = series.isna().to_numpy()
    cells = found.fillna(-1).to_numpy(np.int16)
    if column.missing_cell is not None:
        cells[gone] = column.missing_cell
    return cells


def _remark_on_flags(table: LifeTable, last: NDArray[np.int16], remarks: list[list[str]]) -> None:
    """Say where a unit's last row (units, categories) tells its end as those of training lives."""
    name, rate = answer_unit(table)
    for column, flag, cells in zip(table.categories.groups, table.flags, last.T, strict=True):
        if flag is None:
            continue
        within = f"within {flag.distance * rate:.3g} {name} of their end"
        when = "at their end: it has failed" if flag.distance < 1 else within
        for cell in set(cells[(cells >= 0) & (cells != flag.before)].tolist()):
            said = f"{column.name} is {column.names[cell]}, as training lives are only {when}"
            _remark(remarks, cells == cell, said)


def _regimes(
    table: LifeTable,
    numbers: Floats,
    codes: NDArray[np.int16],
    packed: Packed,
    remarks: list[list[str]],
) -> Ints:
    """Return the regime of each row: the one whose settings are nearest."""
    if table.regimes == 1:
        return np.zeros(len(numbers), dtype=np.int64)
    distance = np.zeros((len(numbers), table.regimes))
    given = np.array(table.given)
    for place, column in enumerate(table.categories.groups):
        if str(column.name) in table.regime_columns:
            distance += codes[:, place, None] != given[None, :, place]
    overall = numbers.std(axis=0) + 1e-12
    for place, sensor in enumerate(table.sensors):
        if sensor.name in table.regime_columns:
            apart = numbers[:, place, None] - np.array(table.center)[None, :, place]
            spread = np.ptp(np.array(table.center)[:, place]) + 1e-12
            distance += np.abs(np.nan_to_num(apart, nan=overall[place])) / spread
    regime = distance.argmin(axis=1).astype(np.int64)
    strange = np.logical_or.reduceat(distance.min(axis=1) >= 0.5, packed.starts[:-1])
    names = " and ".join(table.regime_columns)
    _remark(remarks, strange, f"{names}: an operating regime that no training life shows")
    return regime


def _possible(table: LifeTable, first: pd.DataFrame, remarks: list[list[str]]) -> NDArray[np.bool_]:
    """Return which combinations of conditions agree with what is known of each unit."""
    combos = np.array(table.combinations).reshape(len(table.combinations), -1)
    found = np.tile(~table.endless, (len(first), 1))
    for group in table.inputs:
        column = table.conditions.groups[group]
        if column.name not in first:
            continue
        cells = _cells(column, first[column.name])
        agrees = (cells[:, None] == combos[None, :, group]) | (cells < 0)[:, None]
        seen = (found & agrees).any(axis=1)
        _remark(remarks, ~seen | (cells < 0), f"{column.name}: a value no training life has")
        found[seen] &= agrees[seen]
    return found


def _remark(remarks: list[list[str]], units: NDArray[np.bool_], text: str) -> None:
    for unit in np.flatnonzero(units):
        remarks[unit].append(text)
