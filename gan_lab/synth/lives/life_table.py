"""What the columns of a table of lives are, learned once; the table as arrays, and arrays as a
table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import Roles
from gan_lab.synth.lives.columns import (
    FEW_VALUES,
    Clock,
    Lives,
    Quantiles,
    Track,
    Wear,
    classify,
    constant_within,
    increments,
    numbers_of,
    read_clock,
    read_wear,
    sorted_lives,
)
from gan_lab.synth.lives.packed import Floats, Ints, Packed, Real
from gan_lab.synth.lives.regimes import MAX_REGIMES, find_regimes, levels_of
from gan_lab.synth.lives.scale import Scale
from gan_lab.synth.network.encoding import Encoded, Encoding

LEAST_SPREAD = 0.05  # of a column within a regime, in its spread over all regimes
Ending = tuple[float, int, list[list[int]]]
# What no column of a table is called.
ROWS, LEFT, START = "\0rows", "\0left", "\0start"
UNKNOWN = "\0unknown"  # the condition of a life whose end nobody knows (no rul at all)
GAP = "\0gap "  # and of one of which a number, the same in all its rows, is missing


@dataclass
class LifeTable:
    """The anatomy of a table of lives, as plain values that JSON can hold.

    `tracks` are the columns of numbers and counters, `center`, `spread` and `fixed` in the units of
    each one's scale; `categories` all others that a row decides;
    `conditions` those that a life decides; `traits` the numbers of a life (rows, distance left at
    the end of the record, start time, starts of counters, constants of a life).
    """

    columns: list[Any]
    roles: Roles
    life_dtype: str | None
    clock: Clock
    wear: Wear | None
    tracks: list[Track]
    categories: Encoding
    conditions: Encoding
    life_tracks: list[Track]
    traits: dict[str, Quantiles]
    tuples: list[list[int]]  # the combinations of conditions that occur
    told: list[int]  # the conditions that networks are told, not what names each life
    regime_columns: list[str]
    center: list[list[float]]  # (regimes, tracks)
    spread: list[list[float]]
    fixed: list[list[float | None]]  # the only value a column takes in a regime
    given: list[list[int]]  # the only cell a category takes in a regime, -1: several
    endings: list[Ending | None]  # of categories, see `_ending`

    @classmethod
    def fit(
        cls, table: pd.DataFrame, roles: Roles, regimes: str = "auto"
    ) -> tuple[LifeTable, Lives, dict[str, Floats], Ints]:
        """Learn a table; return it with its lives, the traits of each and its combination of
        conditions.

        `regimes` is "auto", "none", or column names with commas. Raises `BadTable` and
        `BadParameter`.
        """
        names = list(table.columns)
        table, rows = sorted_lives(table.set_axis(map(str, names), axis=1), roles)
        packed = Packed(rows)
        clock, steps, starts = read_clock(table, roles.time, packed)
        total = np.cumsum(steps) / clock.step
        elapsed = total - total[packed.starts[:-1]][packed.life]
        ends = packed.starts[1:] - 1
        wear, remaining = None, elapsed[ends][packed.life] - elapsed
        if roles.rul is not None:
            wear, remaining = read_wear(table[roles.rul], elapsed, packed)
        sorting = _Sorting(table, roles, packed)
        unknown = np.isnan(remaining[ends])
        if unknown.any() and not unknown.all():
            sorting.conditions[UNKNOWN] = unknown
        categories = Encoding.fit(sorting.words, few_values=FEW_VALUES)
        conditions = Encoding.fit(sorting.conditions, few_values=FEW_VALUES)
        for column in (*categories.modal, *conditions.modal):
            raise BadTable(
                f"Column {column.name!r} holds dates as text: convert it to dates, or drop it."
                if column.kind == "time"
                else f"Column {column.name!r} holds more than {FEW_VALUES} numbers, too many for "
                "operating states: make fewer of them, or name another column of states."
            )
        if not (sorting.tracks or categories.groups or conditions.groups):
            raise BadTable("Every column of the table is constant: there is nothing to learn.")
        codes = categories.encode(sorting.words).codes
        combos, combo = np.unique(
            conditions.encode(sorting.conditions).codes, axis=0, return_inverse=True
        )
        combo = combo.reshape(-1)
        endings = [
            _ending(column, remaining, packed, sorting.lacking(str(group.name)), combo)
            for group, column in zip(categories.groups, codes.T, strict=True)
        ]
        _lend(codes, categories, sorting, packed)
        numbers = (
            np.stack(sorting.numbers, axis=1) if sorting.numbers else np.zeros((len(table), 0))
        )
        settings, regime = _regimes(regimes, roles, (categories, codes), endings, sorting, packed)
        for track, column in zip(sorting.tracks, numbers.T, strict=True):
            track.scale = Scale() if track.counter else Scale.fit(column, regime, packed)
            column[:] = track.scale.transform(column)
        center, spread, fixed = _levels(numbers, regime)
        found = {ROWS: rows.astype(float), LEFT: np.nan_to_num(remaining[ends]), START: starts}
        found |= sorting.life_numbers
        learned = cls(
            columns=names,
            roles=roles,
            life_dtype=_counting_dtype(table[roles.life].dtype) if roles.life else None,
            clock=clock,
            wear=wear,
            tracks=sorting.tracks,
            categories=categories,
            conditions=conditions,
            life_tracks=sorting.life_tracks,
            traits={name: Quantiles.of(values) for name, values in found.items()},
            tuples=combos.astype(int).tolist(),
            told=[
                number
                for number, column in enumerate(conditions.groups)
                if column.cells <= len(rows) / 2 or column.name in (roles.failure_mode, UNKNOWN)
            ],
            regime_columns=settings,
            center=center.tolist(),
            spread=spread.tolist(),
            fixed=[[None if np.isnan(v) else float(v) for v in line] for line in fixed],
            given=_given(codes, regime, [str(c.name) in settings for c in categories.groups]),
            endings=[
                None if str(column.name) in settings else ending
                for column, ending in zip(categories.groups, endings, strict=True)
            ],
        )
        missing = (
            np.stack(sorting.missing, axis=1) if sorting.missing else np.zeros(numbers.shape, bool)
        )
        lives = Lives(rows, elapsed, remaining, regime, numbers, codes, steps, missing)
        return learned, lives, found, combo

    @property
    def endless(self) -> NDArray[np.bool_]:
        """Which combinations of conditions are of lives whose end nobody knows."""
        return self._flagged(UNKNOWN)

    def _flagged(self, name: str) -> NDArray[np.bool_]:
        """Return in which combinations of conditions a condition of yes or no is yes."""
        for group, column in enumerate(self.conditions.groups):
            if column.name == name:
                yes = column.levels.index(True)
                return np.array([line[group] == yes for line in self.tuples])
        return np.zeros(len(self.tuples), dtype=bool)

    def steps(self, values: NDArray[Real], regime: Ints) -> Floats:
        """Return the step of each column's grid at these values, (rows, columns), in the units of
        the regime's spread as they are; 0 where there is no grid."""
        center, spread = np.array(self.center)[regime], np.array(self.spread)[regime]
        places = center + spread * values
        steps = [
            (track.step or 0.0) * track.scale.slope(column)
            for track, column in zip(self.tracks, places.T, strict=True)
        ]
        return np.reshape(steps, places.T.shape).T / spread

    @property
    def regimes(self) -> int:
        """How many regimes there are; one where there are none."""
        return len(self.center)

    @property
    def still(self) -> NDArray[np.bool_]:
        """Return in which regimes each track takes one value only, (regimes, tracks)."""
        fixed = np.array(self.fixed, dtype=np.float64).reshape(self.regimes, len(self.tracks))
        return ~np.isnan(fixed)

    @property
    def may_drive(self) -> NDArray[np.bool_]:
        """Return which tracks may be drivers, (tracks,): no counters, nor what nothing moves."""
        counters = np.array([track.counter for track in self.tracks], dtype=bool)
        return ~counters & ~self.still.all(axis=0)

    def as_written(self, numbers: Floats, tracks: Ints) -> Floats:
        """Return drawn numbers (rows, tracks), of these tracks the values that a table will hold:
        training rows are told no others."""
        found = numbers.copy()
        for place in tracks:
            track = self.tracks[place]
            written = track.write(track.scale.inverse_transform(numbers[:, place]))
            found[:, place] = track.scale.transform(written.to_numpy(np.float64))
        return found

    def cells(
        self,
        cells: NDArray[np.int16],
        lives: Lives,
        combo: Ints,
        packed: Packed,
        rng: np.random.Generator,
    ) -> NDArray[np.int16]:
        """Return the cells of all categories as they must be: missing in all rows of a life that
        has none, and what tells the end of a life only there."""
        cells = cells.copy()
        for group, (column, ending) in enumerate(
            zip(self.categories.groups, self.endings, strict=True)
        ):
            if ending is not None:
                distance, before, counts = ending[0], ending[1], np.array(ending[2])
                counts = np.where(counts.any(axis=1, keepdims=True), counts, counts.sum(axis=0))
                chances = (counts / counts.sum(axis=1, keepdims=True)).cumsum(axis=1)[combo]
                then = (rng.random((len(combo), 1)) > chances).sum(axis=1)
                at_end = lives.remaining <= distance
                cells[~at_end, group] = before
                unheard = at_end & (counts[combo[packed.life], cells[:, group]] == 0)
                cells[unheard, group] = then[packed.life[unheard]]
            lacking = self._flagged(f"{GAP}{column.name}")[combo][packed.life]
            if lacking.any():
                assert column.missing_cell is not None
                cells[lacking, group] = column.missing_cell
        return cells

    def write(
        self,
        lives: Lives,
        ids: Ints,
        combo: Ints,
        traits: dict[str, Floats],
        seconds: Floats,
        rng: np.random.Generator,
    ) -> pd.DataFrame:
        """Return lives as rows under the table's own names, types and order."""
        packed = Packed(lives.rows)
        words = _decoded(self.categories, lives.codes, rng)
        tuples = np.array(self.tuples, dtype=np.int16).reshape(len(self.tuples), -1)[combo]
        conditions = _decoded(self.conditions, tuples, rng)
        series = {name: words[name] for name in words}
        series |= {name: conditions[name].iloc[packed.life] for name in conditions}
        for track in self.life_tracks:
            gone = self._flagged(GAP + track.name)[combo]
            values = np.where(gone, np.nan, traits[track.name])
            series[track.name] = track.write(values).iloc[packed.life]
        for track, places in zip(self.tracks, lives.numbers.T, strict=True):
            values = track.scale.inverse_transform(places)
            start = traits[track.name][packed.life] if track.counter else None
            series[track.name] = track.write(
                values if start is None else _counted(track, values, start, packed)
            )
        series |= self._parts(lives, ids, packed, seconds)
        ordered = [series[str(name)].reset_index(drop=True) for name in self.columns]
        result = pd.concat(ordered, axis=1)
        result.columns = pd.Index(self.columns)
        return result

    def _parts(
        self, lives: Lives, ids: Ints, packed: Packed, seconds: Floats
    ) -> dict[str, pd.Series[Any]]:
        """Return the columns of life, time and remaining useful life."""
        found: dict[str, pd.Series[Any]] = {}
        if self.roles.life is not None and self.life_dtype is not None:
            found[self.roles.life] = _numbered(ids, self.life_dtype).iloc[packed.life]
        if self.clock.name is not None:
            found[self.clock.name] = self.clock.write(seconds)
        if self.wear is not None:
            found[self.wear.name] = self.wear.write(lives.elapsed, lives.remaining)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the anatomy as plain JSON values."""
        return {
            **{name: value for name, value in vars(self).items() if name in _PLAIN},
            "roles": self.roles.model_dump(),
            "clock": asdict(self.clock),
            "wear": None if self.wear is None else asdict(self.wear),
            "tracks": [asdict(track) for track in self.tracks],
            "life_tracks": [asdict(track) for track in self.life_tracks],
            "categories": self.categories.to_json(),
            "conditions": self.conditions.to_json(),
            "traits": {name: quantiles.values for name, quantiles in self.traits.items()},
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> LifeTable:
        """Build the anatomy that `to_json` wrote."""
        wear = plain["wear"]
        if wear is not None:
            wear = Wear(**{**wear, "track": _track(**wear["track"])})
        return cls(
            **{name: plain[name] for name in _PLAIN},
            roles=Roles(**plain["roles"]),
            clock=Clock(**plain["clock"]),
            wear=wear,
            tracks=[_track(**track) for track in plain["tracks"]],
            life_tracks=[_track(**track) for track in plain["life_tracks"]],
            categories=Encoding.from_json(plain["categories"]),
            conditions=Encoding.from_json(plain["conditions"]),
            traits={name: Quantiles(values) for name, values in plain["traits"].items()},
        )


_PLAIN = (
    "columns", "life_dtype", "tuples", "told", "regime_columns",
    "center", "spread", "fixed", "given", "endings",
)  # fmt: skip


def _track(scale: dict[str, list[float]], **others: Any) -> Track:
    return Track(**others, scale=Scale(**scale))


class _Sorting:
    """Each column put where it belongs."""

    def __init__(self, table: pd.DataFrame, roles: Roles, packed: Packed) -> None:
        self.tracks: list[Track] = []
        self.life_tracks: list[Track] = []
        self.numbers: list[Floats] = []
        self.missing: list[NDArray[np.bool_]] = []
        self.life_numbers: dict[str, Floats] = {}
        words: dict[str, pd.Series[Any]] = {}
        conditions: dict[str, pd.Series[Any]] = {}
        starts = packed.starts[:-1]
        for name in table.columns:
            if name in (roles.life, roles.time, roles.rul):
                continue
            series, values = table[name], numbers_of(table[name])
            if not series.notna().any():
                raise BadTable(f"Column {name!r} has no value in any row. Drop the column.")
            if name != roles.state and series.nunique() > 1 and constant_within(series, packed):
                if values is None or series.nunique() <= FEW_VALUES:
                    conditions[name] = series.iloc[starts].reset_index(drop=True)
                    continue
                self.life_tracks.append(Track.of(series, values))
                own = values[starts]
                gone = np.isnan(own)
                if gone.any():
                    conditions[GAP + name] = pd.Series(gone)
                    own[gone] = np.random.default_rng(0).choice(own[~gone], size=int(gone.sum()))
                self.life_numbers[str(name)] = own
                continue
            kind = "category" if values is None else classify(values, packed)
            if name == roles.state or kind == "category":
                words[name] = series
                gone = np.logical_and.reduceat(series.isna().to_numpy(), starts)
                if gone.any() and name != roles.state:
                    conditions[GAP + name] = pd.Series(gone)
                continue
            assert values is not None
            self.missing.append(np.isnan(values))
            counter, floor = kind.endswith("counter"), None
            if counter:
                if kind.startswith("falling"):
                    values, floor = -values, float(np.nanmin(values))
                filled = pd.Series(values).groupby(packed.life).bfill().to_numpy()[starts]
                self.life_numbers[str(name)] = np.nan_to_num(filled, nan=np.nanmin(values))
                values = increments(values, packed)
            self.tracks.append(Track.of(series, values, counter, floor))
            self.numbers.append(values)
        self.words = pd.DataFrame(words, index=table.index)
        self.conditions = pd.DataFrame(conditions, index=range(len(starts)))

    def lacking(self, name: str) -> NDArray[np.bool_]:
        """Return which lives have a column in none of their rows."""
        gone = self.conditions.get(GAP + name)
        return np.zeros(len(self.conditions), dtype=bool) if gone is None else gone.to_numpy()


def _regimes(
    wanted: str,
    roles: Roles,
    anatomy: tuple[Encoding, NDArray[np.int16]],
    endings: list[Ending | None],
    sorting: _Sorting,
    packed: Packed,
) -> tuple[list[str], Ints]:
    """Return the columns that make the regimes and the regime of each row."""
    rows = len(packed.life)
    levels = {
        str(c.name): anatomy[1][:, g].astype(np.int64) for g, c in enumerate(anatomy[0].groups)
    }
    if wanted == "none":
        return [], np.zeros(rows, dtype=np.int64)
    if wanted == "auto" and roles.state is not None:
        wanted = roles.state
        if wanted not in levels:
            return [], np.zeros(rows, dtype=np.int64)
    for track, values in zip(sorting.tracks, sorting.numbers, strict=True):
        found = None if track.counter else levels_of(values)
        if found is not None:
            levels[track.name] = found
    if wanted == "auto":
        for column, ending in zip(anatomy[0].groups, endings, strict=True):
            if ending is not None:  # what tells an end is no setting
                del levels[str(column.name)]
        numbers = np.stack(sorting.numbers, axis=1) if sorting.numbers else np.zeros((rows, 0))
        progress = packed.age / np.diff(packed.starts)[packed.life]
        return find_regimes(levels, numbers, progress)
    names = [wanted] if wanted in levels else [name.strip() for name in wanted.split(",")]
    for name in names:
        if name not in levels:
            raise BadParameter(
                f"Column {name!r} cannot make the regimes: it does not gather in 2 to 12 levels. "
                f"Columns that do: {', '.join(levels) or 'none'}."
            )
    joint = np.unique(np.stack([levels[name] for name in names], 1), axis=0, return_inverse=True)
    if len(joint[0]) > MAX_REGIMES:
        raise BadTable(
            f"{' and '.join(names)} make {len(joint[0])} regimes; at most {MAX_REGIMES} can be "
            "modelled. Name other columns with regimes=, or none."
        )
    return names, joint[1].reshape(-1).astype(np.int64)


def _levels(numbers: Floats, regime: Ints) -> tuple[Floats, Floats, Floats]:
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
    return center, np.maximum(spread, np.where(within > 0, LEAST_SPREAD * within, 1.0)), fixed


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


def _lend(
    codes: NDArray[np.int16], categories: Encoding, sorting: _Sorting, packed: Packed
) -> None:
    """Give lives without a category that of other lives, at the same part of the life: what is
    learned is how it is where there is one."""
    rng, rows = np.random.default_rng(0), np.diff(packed.starts)
    for group, column in enumerate(categories.groups):
        gone = sorting.lacking(str(column.name))
        if gone.any():
            lender = rng.choice(np.flatnonzero(~gone), size=len(rows))[packed.life]
            place = packed.starts[lender] + packed.age * rows[lender] // rows[packed.life]
            codes[:, group] = np.where(gone[packed.life], codes[place, group], codes[:, group])


def _ending(
    cells: NDArray[np.int16],
    remaining: Floats,
    packed: Packed,
    lacking: NDArray[np.bool_],
    combo: Ints,
) -> Ending | None:
    """Return how far from a life's end a category changes, its cell before and how many rows take
    each from there on under each combination of conditions, where that is so in all lives but those
    without it: a flag of failure."""
    counts = np.zeros((combo.max() + 1, cells.max() + 1), dtype=int)
    asked = ~lacking[packed.life]
    cells, remaining, life = cells[asked], remaining[asked], packed.life[asked]
    known = np.isfinite(remaining)
    if not known.any():
        return None
    before = cells[np.nanargmax(remaining)]
    changed = cells != before
    if len(np.unique(life[changed])) < 2 or (changed & ~known).any():
        return None
    last, first = remaining[changed].max(), np.nanmin(remaining[~changed])
    if last >= first:
        return None
    np.add.at(counts, (combo[life[changed]], cells[changed]), 1)
    return float((last + first) / 2), int(before), counts.tolist()


def _decoded(
    encoding: Encoding, codes: NDArray[np.int16], rng: np.random.Generator
) -> pd.DataFrame:
    if not encoding.columns:
        return pd.DataFrame(index=range(len(codes)))
    return encoding.decode(Encoded(np.empty((len(codes), 0), dtype=np.float32), codes), rng)


def _counted(track: Track, values: Floats, start: Floats, packed: Packed) -> Floats:
    """Return what a counter shows: its start and the sum of what it rose since, missing as
    asked."""
    rises = track.on_grid(np.nan_to_num(np.clip(values, track.minimum, track.maximum)))
    rises = np.where(packed.age > 0, rises, 0.0)
    total = np.cumsum(rises)
    shown = np.where(np.isnan(values), np.nan, start + total - total[packed.starts[packed.life]])
    return shown if track.floor is None else np.maximum(-shown, track.floor)


def _counting_dtype(dtype: Any) -> str:
    """Return the type that drawn lives are numbered in: the table's own, where it can count."""
    words = pd.api.types.is_object_dtype(dtype) or isinstance(
        dtype, pd.CategoricalDtype | pd.StringDtype
    )
    numeric = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
    return str(dtype) if words or (numeric and dtype.itemsize >= 4) else "int64"


def _numbered(ids: Ints, dtype: str) -> pd.Series[Any]:
    wanted = pd.api.types.pandas_dtype(dtype)
    if pd.api.types.is_numeric_dtype(wanted):
        return pd.Series(ids).astype(wanted)
    return pd.Series([str(number) for number in ids]).astype(
        object if isinstance(wanted, pd.CategoricalDtype) else wanted
    )
