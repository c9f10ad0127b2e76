"""Lives as a model sees them that looks at windows of rows.

It takes tables as people have them (rows of lives, see `Roles`) and needs no model of ours, so that
the report and the benchmark measure with the same yardstick.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gan_lab.schema import Roles
from gan_lab.synth.report.compared_tables import Array, Points, Sides, Units, some

WIDTH_ROWS = 30
MAX_WINDOWS = 10_000


@dataclass(frozen=True)
class Windows:
    """One line per window: its figures, the rul at its last row, the life it is from."""

    features: Points
    rul: Array | None
    life: Units


def windows_of(sides: Sides) -> dict[str, Windows]:
    """Return the windows of each table; none where there are no lives, or nothing to see of
    them."""
    roles, columns = sides.roles, compared_sensors(sides)
    if roles.life is None or sides.loose or not columns:
        return {}
    width = window_width(sides.train, roles)
    return {name: windows(table, roles, columns, width) for name, table in sides.tables.items()}


def compared_sensors(sides: Sides) -> list[str]:
    """Return the numbers of the real rows that play no part and vary."""
    return [name for name in sensors(sides.real, sides.roles) if sides.kinds.get(name) == "number"]


def sensors(table: pd.DataFrame, roles: Roles) -> list[str]:
    """Return the numbers and booleans that play no part and are not constant."""
    return [
        name
        for name in table.columns
        if name not in roles.columns
        and (pd.api.types.is_numeric_dtype(table[name]) or table[name].dtype == bool)
        and table[name].nunique() > 1
    ]


def ordered(
    table: pd.DataFrame, roles: Roles, columns: list[str]
) -> tuple[Array, Units, pd.DataFrame]:
    """Return values (rows, columns), life numbers (rows,) and the table, sorted by life and time.

    A missing value is what the sensor last said in the same life, as a historian would answer.
    """
    keys = [name for name in (roles.life, roles.time) if name is not None]
    rows = table.sort_values(keys, kind="stable") if keys else table
    life = np.zeros(len(rows), dtype=np.int64)
    if roles.life:
        life = np.unique(rows[roles.life], return_inverse=True)[1].astype(np.int64)
    values = rows[columns].astype(np.float64)
    if values.isna().to_numpy().any():
        values = values.groupby(life).ffill().groupby(life).bfill().fillna(values.median())
    return values.fillna(0.0).to_numpy(), life, rows


def window_width(table: pd.DataFrame, roles: Roles) -> int:
    """Return 30 rows, or less where half of the lives are shorter than 60 rows (never under 2)."""
    rows = table.groupby(roles.life).size().median() if roles.life else len(table)
    return int(min(WIDTH_ROWS, max(2, rows // 2)))


def windows(
    table: pd.DataFrame,
    roles: Roles,
    columns: list[str],
    width: int = WIDTH_ROWS,
    most: int = MAX_WINDOWS,
) -> Windows:
    """Return mean, standard deviation, slope, last value and mean absolute difference per window.

    A window is the last `width` rows up to a row; there is one per life and row from the `width`th
    on (of a table with more than `most`, an even sample). Windows of equal rows give equal figures
    to the last bit: trees would tell tables apart by the rounding errors of running sums.
    """
    values, life, rows = ordered(table, roles, columns)
    ends = np.flatnonzero(_position(life) >= width - 1)
    ends = ends[some(len(ends), most, np.random.default_rng(0))]
    features = np.empty((len(ends), 5, len(columns)), dtype=np.float32)
    time = np.arange(width) - (width - 1) / 2
    for number, column in enumerate(values.T):
        if len(ends):
            view = np.lib.stride_tricks.sliding_window_view(column, width)[ends - width + 1]
            features[:, 0, number] = view.mean(axis=1)
            features[:, 1, number] = (view - view[:, :1]).std(axis=1)
            features[:, 2, number] = (view - view[:, :1]) @ time / (time @ time)
            features[:, 3, number] = view[:, -1]
            features[:, 4, number] = np.abs(np.diff(view, axis=1)).mean(axis=1)
    rul = rows[roles.rul].to_numpy(np.float64)[ends] if roles.rul else None
    return Windows(features.reshape(len(ends), 5 * len(columns)), rul, life[ends])


def life_summary(table: pd.DataFrame, roles: Roles, columns: list[str]) -> Windows:
    """Return one line per life: mean of each quarter, spread around it, logarithm of its rows."""
    values, life, _ = ordered(table, roles, columns)
    frame, rows = pd.DataFrame(values), np.bincount(life)
    quarters = frame.groupby([life, np.minimum(4 * _position(life) // rows[life], 3)])
    mean = quarters.mean().unstack().fillna(0.0)
    spread = (frame - quarters.transform("mean")).pow(2).groupby(life).mean().pow(0.5)
    features = np.column_stack([mean, spread, np.log(rows)])
    return Windows(features.astype(np.float32), None, np.arange(len(rows)))


def _position(life: Units) -> Units:
    """Return each row's number within its life, from 0; rows of a life lie together."""
    starts = np.flatnonzero(np.r_[True, life[1:] != life[:-1]])
    return np.arange(len(life)) - np.repeat(starts, np.diff(np.r_[starts, len(life)]))
