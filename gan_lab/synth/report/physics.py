"""Physics: tails, ranges, rates of change, relations, wear, and what gives synthetic rows away."""

from __future__ import annotations

from itertools import combinations
from typing import get_args

import numpy as np
import pandas as pd

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Array, Figure, Sides
from gan_lab.workspace.formulas import formula_names
from gan_lab.workspace.profiles import Driver, Profile

TAIL = 0.02  # each tail is the outermost 2 % of the training rows
TAIL_LIVES = 5  # a tail that fewer lives reach is not known well enough to be judged
FAST = 0.999  # a step above this quantile of the training rows' steps is fast
CURVE_POINTS = 16


class Tail(Message):
    """Shares of rows beyond the training rows' outermost 2 %; None where it cannot be judged."""

    column: str
    end: str
    limit: Figure
    synthetic: Figure
    real: Figure


class OutOfRange(Message):
    """Shares of rows outside a range.

    `of`: the measuring range in the profile (`profile`), the range that the profile of an imported
    machine has from its table (`imported table`), else what the real rows span (`real rows`).
    """

    column: str
    low: Figure
    high: Figure
    of: str
    synthetic: Figure
    real: Figure
    factor: Figure


class Steps(Message):
    """Shares of changes from one row to the next faster than the fastest 0.1 % in training."""

    column: str
    synthetic: Figure
    real: Figure


class Relation(Message):
    """Rank correlation of two columns; `because` says how the profile ties them together."""

    columns: tuple[str, str]
    real: Figure
    holdout: Figure
    synthetic: Figure
    because: str = ""

    @property
    def gap(self) -> float:
        """Distance to the nearer of the two real values, beyond the distance between these two."""
        ours, real, holdout = (each or 0.0 for each in (self.synthetic, self.real, self.holdout))
        return max(0.0, min(abs(ours - real), abs(ours - holdout)) - abs(real - holdout))

    def other(self, name: str | None) -> str:
        """Return the column beside this one."""
        return next(column for column in self.columns if column != name)


class MissingLevel(Message):
    """A category that no synthetic row has; `chance` is how likely that is with honest draws."""

    column: str
    level: str
    real: Figure
    chance: Figure


class Curve(Message):
    """A column over remaining useful life: 10 %, 50 % and 90 % quantiles, real and synthetic."""

    column: str
    rul: list[Figure]
    real: list[list[Figure]]
    synthetic: list[list[Figure]]


class Physics(Message):
    """What a machine can do and what its rows must show."""

    tails: list[Tail]
    ranges: list[OutOfRange]
    steps: list[Steps]
    relations: list[Relation]
    missing_levels: list[MissingLevel]
    rising_rul: dict[str, Figure]
    curves: list[Curve]


def physics(sides: Sides) -> Physics:
    """Look for what no machine would do, and for what every real life shows and these do not."""
    numbers = [name for name in sides.columns("number") if sides.train[name].nunique() > 1]
    constant = [name for name in sides.columns("number") if name not in numbers]
    relations = _relations(sides, numbers)
    return Physics(
        tails=[tail for name in numbers for tail in _tails(sides, name)],
        ranges=[
            _range(sides, name)
            for name in numbers + constant
            if name != sides.roles.rul and not _counts_on(sides, name)
        ],
        steps=[_steps(sides, n) for n in numbers] if sides.roles.life and not sides.loose else [],
        relations=relations,
        missing_levels=[m for name in sides.columns("category") for m in _missing(sides, name)],
        rising_rul=_rising_rul(sides),
        curves=_curves(sides, relations),
    )


def _tails(sides: Sides, name: str) -> list[Tail]:
    found = []
    for end, sign in (("upper", 1.0), ("lower", -1.0)):
        limit = (sign * sides.train[name]).quantile(1 - TAIL)
        beyond = {key: sign * table[name] > limit for key, table in sides.tables.items()}
        reached = min(
            len(np.unique(sides.units(table)[beyond[key].to_numpy()]))
            for key, table in sides.tables.items()
            if key != "synthetic"
        )
        real = min(beyond["train"].mean(), beyond["holdout"].mean())
        most = max(beyond["train"].mean(), beyond["holdout"].mean())
        if real > 0 and reached >= TAIL_LIVES:
            ours = beyond["synthetic"].mean()
            nearest = real if ours < real else min(ours, most)
            found.append(
                Tail(column=name, end=end, limit=sign * limit, synthetic=ours, real=nearest)
            )
    return found


def _counts_on(sides: Sides, name: str) -> bool:
    """Whether a column only rises, or only falls, in each life: how far that went is no range."""
    profile = sides.profile
    measured = profile is not None and not profile.imported and name in profile.sensors
    if sides.roles.life is None or sides.loose or measured:
        return False
    changes = _changes(sides, sides.train, name)
    return bool(changes.any() and (changes.min() >= 0 or changes.max() <= 0))


def _range(sides: Sides, name: str) -> OutOfRange:
    real = pd.concat([sides.train[name], sides.holdout[name]])
    sensor = sides.profile.sensors.get(name) if sides.profile else None
    of = "imported table" if sides.profile and sides.profile.imported else "profile"
    low, high = (sensor.minimum, sensor.maximum) if sensor else (real.min(), real.max())
    if not sensor:
        margin = (high - low) / 10
        low, high = low - margin, high + margin
    beyond = [((each < low) | (each > high)).mean() for each in (sides.synthetic[name], real)]
    return OutOfRange(
        column=name,
        low=low,
        high=high,
        of=of if sensor else "real rows",
        synthetic=beyond[0],
        real=beyond[1],
        factor=_factor(sides.synthetic[name], real),
    )


def _factor(ours: pd.Series[float], real: pd.Series[float]) -> float | None:
    """How many times as large a column is; None where its middle and its end do not agree."""
    sizes = [each.abs().quantile([0.5, 0.95]).to_numpy() for each in (ours, real)]
    if not (np.isfinite(sizes).all() and np.min(sizes) > 0):
        return None
    middle, end = sizes[0] / sizes[1]
    return float(middle) if 0.5 < middle / end < 2 else None


def _changes(sides: Sides, table: pd.DataFrame, name: str) -> Array:
    keys = [key for key in (sides.roles.life, sides.roles.time) if key is not None]
    rows = table.sort_values(keys, kind="stable")
    return rows.groupby(sides.roles.life, sort=False)[name].diff().dropna().to_numpy(np.float64)


def _steps(sides: Sides, name: str) -> Steps:
    size = {key: np.abs(_changes(sides, table, name)) for key, table in sides.tables.items()}
    if min(len(each) for each in size.values()) == 0:
        return Steps(column=name, synthetic=None, real=None)
    limit = np.quantile(size["train"], FAST)
    real = max(float((size[key] > limit).mean()) for key in ("train", "holdout"))
    return Steps(column=name, synthetic=(size["synthetic"] > limit).mean(), real=real)


def _relations(sides: Sides, names: list[str]) -> list[Relation]:
    """All pairs of numbers, those farthest from the real rows first."""
    ranks = {
        key: table[names].replace([np.inf, -np.inf], np.nan).corr("spearman").fillna(0.0).to_numpy()
        for key, table in sides.tables.items()
    }
    sources = _sources(sides.profile)
    found = [
        Relation(
            columns=(names[a], names[b]),
            real=ranks["train"][a, b],
            holdout=ranks["holdout"][a, b],
            synthetic=ranks["synthetic"][a, b],
            because=_promise(sources, names[a], names[b]),
        )
        for a, b in combinations(range(len(names)), 2)
    ]
    return sorted(found, key=lambda relation: -relation.gap)


def _sources(profile: Profile | None) -> dict[str, set[str]]:
    """Return what each sensor of a profile follows: drivers, and sensors in its formula."""
    sensors = profile.sensors if profile else {}
    direct = {
        name: set(sensor.follows) | (formula_names(sensor.formula) if sensor.formula else set())
        for name, sensor in sensors.items()
    }
    direct["losses"] = {"load"}  # they are the square of the load

    def all_of(name: str) -> set[str]:
        found: set[str] = set()
        new = {name}
        while new:
            found |= new
            new = set().union(*(direct.get(each, set()) for each in new)) - found
        return found

    return {name: all_of(name) & {*sensors, *get_args(Driver)} for name in sensors}


def _promise(sources: dict[str, set[str]], one: str, other: str) -> str:
    shared = sources.get(one, set()) & sources.get(other, set())
    if one in shared or other in shared:
        return f"{one} follows {other}" if other in shared else f"{other} follows {one}"
    return f"both follow {', '.join(sorted(shared - {'losses'}))}" if shared else ""


def _missing(sides: Sides, name: str) -> list[MissingLevel]:
    """Levels that no synthetic row has, and the chance that as many real lives would lack them."""
    real = pd.concat([sides.train, sides.holdout], ignore_index=True)
    have = set(sides.synthetic[name].dropna().unique())
    unit = sides.units(real)
    draws = len(np.unique(sides.units(sides.synthetic)))
    found = []
    for level, share in real[name].value_counts(normalize=True).items():
        if level not in have:
            lives = len(np.unique(unit[(real[name] == level).to_numpy()])) / len(np.unique(unit))
            chance = (1 - lives) ** draws
            found.append(MissingLevel(column=name, level=str(level), real=share, chance=chance))
    return found


def _rising_rul(sides: Sides) -> dict[str, Figure]:
    """The share of steps at which remaining useful life rises within a life."""
    rul, life = sides.roles.rul, sides.roles.life
    if rul not in sides.kinds or life is None:
        return {}
    share = {key: _changes(sides, table, rul) for key, table in sides.tables.items()}
    return {key: float((each > 1e-9).mean()) if len(each) else None for key, each in share.items()}


def _curves(sides: Sides, relations: list[Relation]) -> list[Curve]:
    """The six columns that tell remaining useful life best, over remaining useful life."""
    rul = sides.roles.rul
    if rul not in sides.kinds:
        return []
    known = [r for r in relations if rul in r.columns]
    known.sort(key=lambda r: -abs(r.real or 0.0))
    names = [r.other(rul) for r in known[:6]]
    real = pd.concat([sides.train, sides.holdout], ignore_index=True)
    edges = np.unique(np.quantile(real[rul].dropna(), np.linspace(0, 1, CURVE_POINTS + 1)))
    if len(edges) < 3:
        return []
    centres = (edges[1:] + edges[:-1]) / 2
    bands = {
        name: [_band(each, rul, name, edges) for each in (real, sides.synthetic)] for name in names
    }
    return [
        Curve(column=name, rul=list(centres), real=band[0], synthetic=band[1])
        for name, band in bands.items()
    ]


def _band(table: pd.DataFrame, rul: str, name: str, edges: Array) -> list[list[float | None]]:
    place = pd.cut(table[rul], edges, include_lowest=True, labels=False)
    bins = table[name].groupby(place).quantile([0.1, 0.5, 0.9]).unstack()
    return [list(line) for line in bins.reindex(range(len(edges) - 1)).to_numpy().T]
