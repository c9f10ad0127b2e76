"""What the columns of a table of lives are, learned once; the table as arrays, and arrays as a
table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadTable
from gan_lab.schema import Roles
from gan_lab.synth.lives.column_roles import ColumnRoles, sorted_lives
from gan_lab.synth.lives.columns import Quantiles, SensorColumn, TimeColumn, steps_between
from gan_lab.synth.lives.failure_flag import FailureFlag
from gan_lab.synth.lives.packed import Floats, Ints, Packed
from gan_lab.synth.lives.regimes import choose_regimes, levels_of
from gan_lab.synth.lives.rul_column import RulColumn
from gan_lab.synth.lives.scale import Scale
from gan_lab.synth.network.encoding import FEW_VALUES, Encoded, Encoding

MIN_SPREAD = 0.05  # of a column within a regime, in its spread over all regimes
# What no column of a table is called.
ROWS, LEFT, START = "\0rows", "\0left", "\0start"
UNKNOWN = "\0unknown"  # the condition of a life whose end nobody knows (no rul at all)


@dataclass
class Lives:
    """Many lives as arrays, life by life, in the order of time.

    `combo` is the combination of conditions of each life, `covariates` the numbers of each.
    """

    rows: Ints
    combo: Ints
    covariates: dict[str, Floats]
    elapsed: Floats  # mean steps since the life's first row
    remaining: Floats  # mean steps to its end; NaN where that is not known
    regime: Ints
    numbers: Floats  # (rows, sensors), NaN: missing
    codes: NDArray[np.int16]  # (rows, categories)
    steps: Floats  # since the row before, in the time column's unit; 0 in a life's first row
    missing: NDArray[np.bool_]  # (rows, sensors)
    lacking: dict[str, NDArray[np.bool_]] = field(default_factory=dict)  # columns, by life


@dataclass
class LifeTable:
    """The anatomy of a table of lives, as plain values that JSON can hold.

    `sensors` are the columns of numbers and counters, `center`, `spread` and `fixed` in the units
    of each one's scale; `categories` all others that a row decides; `conditions` those that a life
    decides; `covariates` the numbers of a life (rows, distance left at the end of the record, start
    time, starts of counters, and `life_columns`, which are constant within a life).
    """

    columns: list[Any]
    roles: Roles
    life_dtype: str | None
    time: TimeColumn
    rul: RulColumn | None
    sensors: list[SensorColumn]
    categories: Encoding
    conditions: Encoding
    life_columns: list[SensorColumn]
    covariates: dict[str, Quantiles]
    combinations: list[list[int]]  # of conditions, those that occur
    inputs: list[int]  # the conditions that networks see, not what names each life
    regime_columns: list[str]
    center: list[list[float]]  # (regimes, sensors)
    spread: list[list[float]]
    fixed: list[list[float | None]]  # the only value a column takes in a regime
    given: list[list[int]]  # the only cell a category takes in a regime, -1: several
    flags: list[FailureFlag | None]  # of categories
    # The columns that each life lacks, by combination; none where no life lacks any.
    lacking: list[list[list[str]]] = field(default_factory=list)

    @classmethod
    def fit(
        cls, table: pd.DataFrame, roles: Roles, regimes: str = "auto"
    ) -> tuple[LifeTable, Lives]:
        """Learn a table; return it with its lives.

        `regimes` is "auto", "none", or column names with commas. Raises `BadTable` and
        `BadParameter`.
        """
        names = list(table.columns)
        table, rows = sorted_lives(table.set_axis(map(str, names), axis=1), roles)
        packed = Packed(rows)
        starts, ends = packed.starts[:-1], packed.starts[1:] - 1
        time, seconds = TimeColumn.fit(table, roles.time, packed)
        steps = steps_between(seconds, packed)
        elapsed = time.elapsed(steps, packed)
        rul, remaining = None, elapsed[ends][packed.life] - elapsed
        if roles.rul is not None:
            try:
                rul, remaining = RulColumn.fit(table[roles.rul], elapsed, packed)
            except BadTable:  # one in time is usual; else it may count rows
                time.wears_by_rows = True
                elapsed = time.elapsed(steps, packed)
                rul, remaining = RulColumn.fit(table[roles.rul], elapsed, packed)
        parts = ColumnRoles(table, roles, packed)
        unknown = np.isnan(remaining[ends])
        if unknown.any() and not unknown.all():
            parts.conditions[UNKNOWN] = unknown
        categories, conditions = Encoding.fit(parts.words), Encoding.fit(parts.conditions)
        _check_columns(parts, categories, conditions)
        codes = categories.encode(parts.words).codes
        combinations, combo = np.unique(
            conditions.encode(parts.conditions).codes, axis=0, return_inverse=True
        )
        combo = combo.reshape(-1)
        flags = [FailureFlag.fit(cells, remaining, packed, combo) for cells in codes.T]
        levels, numbers = _levels_by_column(parts, categories, codes), parts.numbers
        flagged = [str(c.name) for c, f in zip(categories.groups, flags, strict=True) if f]
        named = {c.name: readings for c, readings in zip(parts.sensors, numbers.T, strict=True)}
        settings, regime = choose_regimes(regimes, roles.state, levels, flagged, named, packed)
        for column, readings in zip(parts.sensors, numbers.T, strict=True):
            column.scale = Scale() if column.counter else Scale.fit(readings, regime, packed)
            readings[:] = column.scale.transform(readings)
        center, spread, fixed = _moments(numbers, regime)
        sets_regime = [str(column.name) in settings for column in categories.groups]
        covariates = {ROWS: rows.astype(float), LEFT: np.nan_to_num(remaining[ends])}
        covariates |= {START: seconds[starts], **parts.life_numbers}
        learned = cls(
            columns=names,
            roles=roles,
            life_dtype=_counting_dtype(table[roles.life].dtype) if roles.life else None,
            time=time,
            rul=rul,
            sensors=parts.sensors,
            categories=categories,
            conditions=conditions,
            life_columns=parts.life_columns,
            covariates={name: Quantiles.of(values) for name, values in covariates.items()},
            combinations=combinations.astype(int).tolist(),
            inputs=[
                number
                for number, column in enumerate(conditions.groups)
                if column.cells <= len(rows) / 2 or column.name in (roles.failure_mode, UNKNOWN)
            ],
            regime_columns=settings,
            center=center.tolist(),
            spread=spread.tolist(),
            fixed=[[None if np.isnan(v) else float(v) for v in line] for line in fixed],
            given=_given(codes, regime, sets_regime),
            flags=[None if sets else f for f, sets in zip(flags, sets_regime, strict=True)],
            lacking=_lacking_by_combination(parts.lacking, combo),
        )
        return learned, Lives(
            rows, combo, covariates, elapsed, remaining, regime, numbers, codes, steps,
            parts.missing,
        )  # fmt: skip

    @property
    def cap(self) -> float | None:
        """The distance to the end, in mean steps, beyond which the remaining life is capped."""
        if self.rul is None or self.rul.cap is None:
            return None
        return (self.rul.cap - self.rul.lowest) / self.rul.rate

    @property
    def endless(self) -> NDArray[np.bool_]:
        """Which combinations of conditions are of lives whose end nobody knows."""
        for group, column in enumerate(self.conditions.groups):
            if column.name == UNKNOWN:
                yes = column.names.index("True")
                return np.array([line[group] == yes for line in self.combinations])
        return np.zeros(len(self.combinations), dtype=bool)

    @property
    def regimes(self) -> int:
        """How many regimes there are; one where there are none."""
        return len(self.center)

    @property
    def still(self) -> NDArray[np.bool_]:
        """Return in which regimes each sensor takes one value only, (regimes, sensors)."""
        fixed = np.array(self.fixed, dtype=np.float64).reshape(self.regimes, len(self.sensors))
        return ~np.isnan(fixed)

    @property
    def may_drive(self) -> NDArray[np.bool_]:
        """Return which sensors may be drivers, (sensors,): no counters, nor what nothing moves."""
        counters = np.array([column.counter for column in self.sensors], dtype=bool)
        return ~counters & ~self.still.all(axis=0)

    def as_written(self, numbers: Floats, drivers: Ints) -> Floats:
        """Return drawn numbers (rows, sensors), of these drivers the values that a table will hold:
        the model has learned from no others."""
        found = numbers.copy()
        for number in drivers:
            column = self.sensors[number]
            written = column.write(column.scale.inverse_transform(numbers[:, number]))
            found[:, number] = column.scale.transform(written.to_numpy(np.float64))
        return found

    def draw_lacking(self, combo: Ints, rng: np.random.Generator) -> dict[str, NDArray[np.bool_]]:
        """Draw which lives lack a column as a whole: what a training life of their conditions
        does."""
        if not self.lacking:
            return {}
        drawn = [self.lacking[c][rng.integers(len(self.lacking[c]))] for c in combo]
        names = sorted(set().union(*drawn))
        return {name: np.array([name in own for own in drawn]) for name in names}

    def cells(
        self, cells: NDArray[np.int16], lives: Lives, packed: Packed, rng: np.random.Generator
    ) -> NDArray[np.int16]:
        """Return the cells of all categories, with what tells the end of a life only there."""
        cells = cells.copy()
        for group, flag in enumerate(self.flags):
            if flag is not None:
                flag.apply(cells[:, group], lives.remaining, lives.combo, packed, rng)
        return cells

    def write(self, lives: Lives, ids: Ints, seconds: Floats) -> pd.DataFrame:
        """Return lives as rows under the table's own names, types and order; `ids` number the
        lives, `seconds` is the time of each row."""
        packed = Packed(lives.rows)
        words = _decoded(self.categories, lives.codes)
        cells = np.array(self.combinations, dtype=np.int16)
        conditions = _decoded(self.conditions, cells.reshape(len(cells), -1)[lives.combo])
        series = {name: words[name] for name in words}
        series |= {name: conditions[name].iloc[packed.life] for name in conditions}
        for column in self.life_columns:
            values = column.write(lives.covariates[column.name])
            series[column.name] = values.iloc[packed.life]
        for column, scaled in zip(self.sensors, lives.numbers.T, strict=True):
            values = column.scale.inverse_transform(scaled)
            if column.counter:
                values = column.count(values, lives.covariates[column.name], packed)
            series[column.name] = column.write(values)
        if self.roles.life is not None and self.life_dtype is not None:
            wanted = pd.api.types.pandas_dtype(self.life_dtype)
            names = pd.Series(ids if wanted.kind in "iuf" else ids.astype(str)).astype(wanted)
            series[self.roles.life] = names.iloc[packed.life]
        if self.time.name is not None:
            series[self.time.name] = self.time.write(seconds)
        if self.rul is not None:
            series[self.rul.name] = self.rul.at(lives.remaining)
        for name, gone in lives.lacking.items():
            series[name] = series[name].mask(gone[packed.life])
        ordered = [series[str(name)].reset_index(drop=True) for name in self.columns]
        result = pd.concat(ordered, axis=1)
        result.columns = pd.Index(self.columns)
        return result

    def to_json(self) -> dict[str, Any]:
        """Return the anatomy as plain JSON values."""
        encodings = {name: getattr(self, name).to_json() for name in ("categories", "conditions")}
        plain = asdict(replace(self, categories=None, conditions=None))  # type: ignore[arg-type]
        return plain | encodings | {"roles": self.roles.model_dump()}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> LifeTable:
        """Build the anatomy that `to_json` wrote."""
        return cls(
            **plain
            | {
                "roles": Roles(**plain["roles"]),
                "time": TimeColumn(**plain["time"]),
                "rul": plain["rul"] and RulColumn(**plain["rul"]),
                "sensors": [SensorColumn.from_json(column) for column in plain["sensors"]],
                "life_columns": [SensorColumn.from_json(c) for c in plain["life_columns"]],
                "categories": Encoding.from_json(plain["categories"]),
                "conditions": Encoding.from_json(plain["conditions"]),
                "covariates": {k: Quantiles(**v) for k, v in plain["covariates"].items()},
                "flags": [flag and FailureFlag(**flag) for flag in plain["flags"]],
            }
        )


def _check_columns(parts: ColumnRoles, categories: Encoding, conditions: Encoding) -> None:
    for column in (*categories.modal, *conditions.modal):
        raise BadTable(
            f"Column {column.name!r} holds more than {FEW_VALUES} numbers, too many for operating "
            "states: make fewer of them, or name another column of states."
        )
    if not (parts.sensors or categories.groups or conditions.groups):
        raise BadTable("Every column of the table is constant: there is nothing to learn.")


def _levels_by_column(
    parts: ColumnRoles, categories: Encoding, codes: NDArray[np.int16]
) -> dict[str, Ints]:
    """Return the level of each row in every column that may make the regimes."""
    groups = zip(categories.groups, codes.T, strict=True)
    levels = {str(column.name): cells.astype(np.int64) for column, cells in groups}
    for column, values in zip(parts.sensors, parts.numbers.T, strict=True):
        found = None if column.counter else levels_of(values)
        if found is not None:
            levels[column.name] = found
    return levels


def _moments(numbers: Floats, regime: Ints) -> tuple[Floats, Floats, Floats]:
    """Return mean and spread of each column in each regime, and its value where there is only
    one."""
    count = int(regime.max()) + 1
    center = np.zeros((count, numbers.shape[1]))
    spread, fixed = center.copy(), np.full_like(center, np.nan)
    overall = np.nanmean(numbers, axis=0)
    for number in range(count):
        mine = numbers[regime == number]
        known = np.isfinite(mine).sum(axis=0)
        some = np.where(np.isfinite(mine), mine, np.where(known > 0, np.nan, overall))
        center[number], spread[number] = np.nanmean(some, axis=0), np.nanstd(some, axis=0)
        lone = (known >= 10) & (np.nanmin(some, axis=0) == np.nanmax(some, axis=0)) & (count > 1)
        fixed[number, lone] = np.nanmin(some, axis=0)[lone]
    share = np.bincount(regime)[:, None] / len(regime)
    within = np.sqrt((share * spread**2).sum(axis=0))
    return center, np.maximum(spread, np.where(within > 0, MIN_SPREAD * within, 1.0)), fixed


def _given(codes: NDArray[np.int16], regime: Ints, settings: list[bool]) -> list[list[int]]:
    """Return the cell that a category takes in a regime in 9,995 of 10,000 rows, else -1; a column
    that makes the regimes has one in each."""
    lines = []
    for number in range(int(regime.max()) + 1):
        counts = [np.bincount(column) for column in codes[regime == number].T]
        sure = [
            made or c.max() >= 0.9995 * c.sum() >= 20 * 0.9995
            for c, made in zip(counts, settings, strict=True)
        ]
        lines.append([int(c.argmax()) if s else -1 for c, s in zip(counts, sure, strict=True)])
    return lines


def _lacking_by_combination(
    lacking: dict[str, NDArray[np.bool_]], combo: Ints
) -> list[list[list[str]]]:
    if not lacking:
        return []
    each = [[name for name, gone in lacking.items() if gone[life]] for life in range(len(combo))]
    return [[each[k] for k in np.flatnonzero(combo == c)] for c in range(combo.max() + 1)]


def _decoded(encoding: Encoding, codes: NDArray[np.int16]) -> pd.DataFrame:
    if not encoding.columns:
        return pd.DataFrame(index=range(len(codes)))
    return encoding.decode(Encoded(np.empty((len(codes), 0), dtype=np.float32), codes))


def _counting_dtype(dtype: Any) -> str:
    """Return the type that drawn lives are numbered in: the table's own, where it can count."""
    if dtype.kind in "iu" and dtype.itemsize < 4:
        return "int64"
    counts = dtype.kind in "iuf" and dtype.itemsize >= 4
    return str(dtype) if counts or isinstance(dtype, pd.StringDtype) else "object"
