"""Physics: tails, ranges, relations, wear, categories that are missing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Array, Figure, Sides

TAIL = 0.02  # each tail is the outermost 2 % of the training rows
TAIL_LIVES = 5  # a tail that fewer lives reach is not known well enough to be judged
CURVE_POINTS, CURVES = 16, 6
MIN_PAIRS, MIN_GAP = 20, 0.1  # pairs that a report lists, and those that it lists beyond them


class Tail(Message):
    """Shares of rows beyond the training rows' outermost 2 %."""

    column: str
    end: str
    limit: Figure
    synthetic: Figure
    real: Figure


class OutOfRange(Message):
    """Shares of rows outside a range.

    `of`: the measuring range in the profile, the range that the profile of an imported machine has
    from its table, or what the real rows span and a tenth, in words.
    """

    column: str
    low: Figure
    high: Figure
    of: str
    synthetic: Figure
    real: Figure


class Relation(Message):
    """Rank correlation of two columns."""

    columns: tuple[str, str]
    real: Figure
    holdout: Figure
    synthetic: Figure

    @property
    def gap(self) -> float:
        """Distance to the nearer of the two real values, beyond the distance between these two."""
        return float(_gap(*(each or 0.0 for each in (self.synthetic, self.real, self.holdout))))

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
    """What a machine can do and what its rows must show.

    `relations`: the pairs farthest from the real rows, and all with remaining useful life.
    """

    tails: list[Tail]
    ranges: list[OutOfRange]
    relations: list[Relation]
    missing_levels: list[MissingLevel]
    rising_rul: dict[str, Figure]
    curves: list[Curve]


def physics(sides: Sides) -> Physics:
    """Look for what no machine would do, and for what every real life shows and these do not."""
    numbers = sides.columns("number")
    varying = [name for name in numbers if sides.train[name].nunique() > 1]
    changes: dict[str, pd.DataFrame] = {}
    if sides.roles.life and not sides.loose:
        changes = {key: _changes(sides, table, numbers) for key, table in sides.tables.items()}
    relations = _relations(sides, varying)
    return Physics(
        tails=[tail for name in varying for tail in _tails(sides, name)],
        ranges=[
            _range(sides, name)
            for name in numbers
            if name != sides.roles.rul and not _counts_on(sides, name, changes)
        ],
        relations=relations,
        missing_levels=[m for name in sides.columns("category") for m in _missing(sides, name)],
        rising_rul=_rising_rul(changes, sides.roles.rul),
        curves=_curves(sides, relations),
    )


def _changes(sides: Sides, table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the changes from row to row within lives."""
    keys = [key for key in (sides.roles.life, sides.roles.time) if key is not None]
    rows = table.sort_values(keys, kind="stable")
    unit = sides.units(rows)
    return rows[names].diff()[np.r_[False, unit[1:] == unit[:-1]]]


def _tails(sides: Sides, name: str) -> list[Tail]:
    found = []
    for end, sign in (("upper", 1.0), ("lower", -1.0)):
        limit = (sign * sides.train[name]).quantile(1 - TAIL)
        beyond = {key: sign * table[name] > limit for key, table in sides.tables.items()}
        reached = min(
            len(np.unique(sides.units(sides.tables[key])[beyond[key].to_numpy()]))
            for key in ("train", "holdout")
        )
        least, most = sorted((beyond["train"].mean(), beyond["holdout"].mean()))
        ours = beyond["synthetic"].mean()
        if least > 0 and reached >= TAIL_LIVES:
            real = least if ours < least else min(ours, most)  # the nearest that real rows have
            found.append(Tail(column=name, end=end, limit=sign * limit, synthetic=ours, real=real))
    return found


def _counts_on(sides: Sides, name: str, changes: dict[str, pd.DataFrame]) -> bool:
    """Whether a column only rises, or only falls, in each life: how far that went is no range."""
    profile = sides.profile
    measured = profile is not None and not profile.imported and name in profile.sensors
    if not changes or measured:
        return False
    steps = changes["train"][name]
    return bool(steps.any() and (steps.min() >= 0 or steps.max() <= 0))


def _range(sides: Sides, name: str) -> OutOfRange:
    real, profile = sides.real[name], sides.profile
    if profile and name in profile.sensors:
        low, high = profile.sensors[name].minimum, profile.sensors[name].maximum
        of = "the range of the imported table" if profile.imported else "its measuring range"
    else:
        margin = (real.max() - real.min()) / 10
        low, high = real.min() - margin, real.max() + margin
        of = "what real rows span and a tenth"
    ours, theirs = (((each < low) | (each > high)).mean() for each in (sides.synthetic[name], real))
    return OutOfRange(column=name, low=low, high=high, of=of, synthetic=ours, real=theirs)


def _gap(ours: Array | float, real: Array | float, holdout: Array | float) -> Array:
    nearer = np.minimum(np.abs(ours - real), np.abs(ours - holdout))
    return np.maximum(0.0, nearer - np.abs(real - holdout))


def _relations(sides: Sides, names: list[str]) -> list[Relation]:
    """The pairs of numbers that are farthest from the real rows first, and those with the rul."""
    ours, real, held = (
        table[names].rank().corr().fillna(0.0).to_numpy() for table in sides.tables.values()
    )
    gap = _gap(ours, real, held)
    pairs = sorted(combinations(range(len(names)), 2), key=lambda pair: -gap[pair])
    return [
        Relation(
            columns=(names[pair[0]], names[pair[1]]),
            real=real[pair],
            holdout=held[pair],
            synthetic=ours[pair],
        )
        for place, pair in enumerate(pairs)
        if place < MIN_PAIRS
        or gap[pair] > MIN_GAP
        or sides.roles.rul in (names[pair[0]], names[pair[1]])
    ]


def _missing(sides: Sides, name: str) -> list[MissingLevel]:
    """Levels that no synthetic row has, and the chance that as many real lives would lack them."""
    levels, unit = sides.real[name], sides.units(sides.real)
    lives, draws = len(np.unique(unit)), len(np.unique(sides.units(sides.synthetic)))
    lacking = levels.value_counts(normalize=True).drop(
        sides.synthetic[name].dropna().unique(), errors="ignore"
    )
    found = []
    for level, share in lacking.items():
        of_lives = len(np.unique(unit[(levels == level).to_numpy()])) / lives
        chance = (1 - of_lives) ** draws
        found.append(MissingLevel(column=name, level=str(level), real=share, chance=chance))
    return found


def _rising_rul(changes: dict[str, pd.DataFrame], rul: str | None) -> dict[str, Figure]:
    """The share of steps at which remaining useful life rises within a life."""
    known = {key: table[rul].dropna() for key, table in changes.items() if rul in table}
    return {key: (each > 1e-9).mean() if len(each) else None for key, each in known.items()}


def _curves(sides: Sides, relations: list[Relation]) -> list[Curve]:
    """The columns that tell remaining useful life best, over remaining useful life."""
    rul = sides.roles.rul
    if rul not in sides.kinds:
        return []
    known = sorted((r for r in relations if rul in r.columns), key=lambda r: -abs(r.real or 0.0))
    names = [relation.other(rul) for relation in known[:CURVES]]
    edges = np.quantile(sides.real[rul].dropna(), np.linspace(0, 1, CURVE_POINTS + 1))
    edges = np.unique(edges)
    if len(edges) < 3:
        return []
    centres = list((edges[1:] + edges[:-1]) / 2)
    return [
        Curve(
            column=name,
            rul=centres,
            real=_band(sides.real, rul, name, edges),
            synthetic=_band(sides.synthetic, rul, name, edges),
        )
        for name in names
    ]


def _band(table: pd.DataFrame, rul: str, name: str, edges: Array) -> list[list[float | None]]:
    place = pd.cut(table[rul], edges, include_lowest=True, labels=False)
    bins = table[name].groupby(place).quantile([0.1, 0.5, 0.9]).unstack()
    return [list(line) for line in bins.reindex(range(len(edges) - 1)).to_numpy().T]
