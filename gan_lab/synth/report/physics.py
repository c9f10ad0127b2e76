"""Physics: ranges, tails, cases, relations and wear that no machine, or every machine, shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd

from gan_lab.schema import Message
from gan_lab.synth.report import thresholds as limits
from gan_lab.synth.report.compared_tables import Array, Figure, Sides
from gan_lab.synth.report.finding import Finding, amount, by_level, listed, of_first, percent
from gan_lab.synth.report.thresholds import AGAINST, THRESHOLDS, Level

TAIL = 0.02  # each tail is the outermost 2 % of the training rows
ENDS = (("upper", "above", 1.0), ("lower", "below", -1.0))
TAIL_LIVES = 5  # a tail that fewer lives reach is not known well enough to be judged
CURVE_POINTS, CURVES = 16, 6
MAX_FINDINGS = 5  # of relations


@dataclass(frozen=True)
class Relation:
    """Rank correlation of two columns; `gap` is the distance of the synthetic one to the nearer of
    the real ones, beyond the distance between these two."""

    columns: tuple[str, str]
    real: float
    holdout: float
    synthetic: float
    gap: float

    @property
    def broken(self) -> bool:
        """Whether it is held against the rows."""
        return THRESHOLDS["relation"].level(self.gap) in AGAINST

    def other(self, name: str | None) -> str:
        """Return the column beside this one."""
        return next(column for column in self.columns if column != name)


class Curve(Message):
    """A column over remaining useful life (in `unit`): 10 %, 50 % and 90 % quantiles, real and
    synthetic."""

    column: str
    unit: str = ""
    rul: list[Figure]
    real: list[list[Figure]]
    synthetic: list[list[Figure]]


def physics(sides: Sides) -> Iterator[Finding]:
    """Find what no machine would do."""
    numbers = sides.columns("number")
    changes: dict[str, pd.DataFrame] = {}
    if sides.roles.life and not sides.loose:
        changes = {key: _changes(sides, table, numbers) for key, table in sides.tables.items()}
    yield from _outside(sides, numbers, changes)
    yield from _tails(sides, [name for name in numbers if sides.train[name].nunique() > 1])
    for name in sides.columns("category"):
        yield from _missing(sides, name)
    yield from _rising_rul(changes, sides.roles.rul)


def _changes(sides: Sides, table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the changes from row to row within lives."""
    keys = [key for key in (sides.roles.life, sides.roles.time) if key is not None]
    rows = table.sort_values(keys, kind="stable")
    unit = sides.units(rows)
    return rows[names].diff()[np.r_[False, unit[1:] == unit[:-1]]]


def _outside(sides: Sides, names: list[str], changes: dict[str, pd.DataFrame]) -> Iterator[Finding]:
    """Rows outside the range of the profile, else outside what real rows span and a tenth."""
    excess, said = {}, {}
    for name in names:
        if name == sides.roles.rul or _counts_on(sides, name, changes):
            continue
        real = sides.real[name]
        margin = (real.max() - real.min()) / 10
        low, high = real.min() - margin, real.max() + margin
        if sides.profile and name in sides.profile.sensors:
            low, high = sides.profile.sensors[name].minimum, sides.profile.sensors[name].maximum
        ours, theirs = (
            float(((each < low) | (each > high)).mean()) for each in (sides.synthetic[name], real)
        )
        excess[name] = ours - theirs
        said[name] = percent(ours), f"{amount(low, 6)} to {amount(high, 6)}", percent(theirs)
    for level, found in by_level("outside", excess):
        share, span, real_share = said[found[0]]
        text = (
            f"{listed(found)}: {share} of the rows{of_first(found)} lie outside {span}, of the "
            f"real rows {real_share}. Drop these rows before use."
        )
        yield Finding(level=level, kind="outside", text=text, columns=found, value=excess[found[0]])


def _counts_on(sides: Sides, name: str, changes: dict[str, pd.DataFrame]) -> bool:
    """Whether a column only rises, or only falls, in each life: how far that went is no range."""
    profile = sides.profile
    measured = profile is not None and not profile.imported and name in profile.sensors
    if not changes or measured:
        return False
    steps = changes["train"][name]
    return bool(steps.any() and (steps.min() >= 0 or steps.max() <= 0))


def _tails(sides: Sides, names: list[str]) -> Iterator[Finding]:
    """Tails that are not there, and tails that are too heavy."""
    found: dict[tuple[str, str], list[tuple[str, float, str]]] = defaultdict(list)
    for name, (end, side, sign) in product(names, ENDS):
        limit = (sign * sides.train[name]).quantile(1 - TAIL)
        beyond = {key: sign * table[name] > limit for key, table in sides.tables.items()}
        reached = min(
            len(np.unique(sides.units(sides.tables[key])[beyond[key].to_numpy()]))
            for key in ("train", "holdout")
        )
        least, most = sorted((beyond["train"].mean(), beyond["holdout"].mean()))
        ours = float(beyond["synthetic"].mean())
        if least == 0 or reached < TAIL_LIVES:
            continue
        real = least if ours < least else min(ours, most)  # the nearest that real rows have
        words = f"{side} {amount(sign * limit, 6)}, of the real rows {percent(real)}"
        if ours < limits.TAIL_LEFT * real:
            words += ". Do not set alarm levels with these rows."
            found[end, "missing"].append((name, ours, words))
        elif ours > limits.TAIL_SWOLLEN * real:
            found[end, "too heavy"].append((name, ours, f"{words}. Alarms would go off too often."))
    for (end, what), some in found.items():
        columns, (_, share, words) = [name for name, _, _ in some], some[0]
        text = (
            f"{listed(columns)}: the {end} tail is {what}. {percent(share)} of the rows"
            f"{of_first(columns)} are {words}"
        )
        yield Finding(level="care", kind=f"{end}_tail", text=text, columns=columns, value=share)


def _missing(sides: Sides, name: str) -> Iterator[Finding]:
    """Cases that no synthetic row has, and that as many real lives would hardly lack."""
    levels, unit = sides.real[name], sides.units(sides.real)
    lives, draws = len(np.unique(unit)), len(np.unique(sides.units(sides.synthetic)))
    lacking = levels.value_counts(normalize=True).drop(
        sides.synthetic[name].dropna().unique(), errors="ignore"
    )
    for case, share in lacking.items():
        of_lives = len(np.unique(unit[(levels == case).to_numpy()])) / lives
        if (1 - of_lives) ** draws < limits.RARE_CHANCE:
            level: Level = "bad" if share >= limits.COMMON_LEVEL else "care"
            text = (
                f"{name} is never {case!r}, as {percent(share)} of the real rows are: these rows "
                "say nothing about that case. Add real rows of it."
            )
            yield Finding(level=level, kind="missing_level", text=text, columns=[name], value=share)


def _rising_rul(changes: dict[str, pd.DataFrame], rul: str | None) -> Iterator[Finding]:
    """Steps at which remaining useful life rises within a life."""
    steps = {key: table[rul].dropna() for key, table in changes.items() if rul in table}
    share = {key: float((each > 1e-9).mean()) if len(each) else 0.0 for key, each in steps.items()}
    if not share:
        return
    excess = share["synthetic"] - max(share["train"], share["holdout"])
    level = THRESHOLDS["rising_rul"].level(excess)
    if level in AGAINST:
        text = (
            f"Remaining useful life rises at {percent(share['synthetic'])} of the steps within a "
            "life, which is impossible. Do not train sequence models on these lives."
        )
        yield Finding(level=level, kind="rising_rul", text=text, value=excess)


def relations(sides: Sides) -> list[Relation]:
    """Return the pairs of numbers, those that are farthest from the real rows first."""
    names = [name for name in sides.columns("number") if sides.train[name].nunique() > 1]
    ours, real, held = (
        table[names].rank().corr().fillna(0.0).to_numpy() for table in sides.tables.values()
    )
    nearer = np.minimum(np.abs(ours - real), np.abs(ours - held))
    gap = np.maximum(0.0, nearer - np.abs(real - held))
    pairs = sorted(combinations(range(len(names)), 2), key=lambda pair: -gap[pair])
    return [
        Relation((names[p[0]], names[p[1]]), *(float(each[p]) for each in (real, held, ours, gap)))
        for p in pairs
    ]


def wear(pairs: list[Relation], rul: str | None) -> Iterator[Finding]:
    """Find the columns that show wear in real lives, and how many run the other way here."""
    shown = [
        pair
        for pair in pairs
        if rul in pair.columns
        and min(abs(pair.real), abs(pair.holdout)) >= limits.STRONG
        and pair.real * pair.holdout > 0
    ]
    broken = [pair for pair in shown if pair.broken]
    names = [pair.other(rul) for pair in broken if pair.real * pair.synthetic < 0]
    if names:
        text = (
            f"{rul} runs backwards against {listed(names)} ({len(names)} of {len(shown)} columns "
            "that show wear): what announces a failure in real lives announces its absence here. "
            f"Do not predict {rul} from these rows."
        )
        share = len(names) / len(shown)
        yield Finding(level="bad", kind="wear", text=text, columns=names, value=share)
    elif shown and not broken:
        every = len(shown)
        text = f"{every} of {every} columns that show wear do so here as in real lives."
        yield Finding(level="good", kind="wear", text=text)


def broken_relations(pairs: list[Relation]) -> Iterator[Finding]:
    """Find the broken pairs, named by the column that most of them share."""
    broken = [pair for pair in pairs if pair.broken]
    for _ in range(MAX_FINDINGS):
        if not broken:
            return
        shared: dict[str, list[Relation]] = defaultdict(list)
        for pair in broken:
            for name in pair.columns:
                shared[name].append(pair)
        name, some = max(shared.items(), key=lambda item: len(item[1]))
        worst, others = max(some, key=lambda pair: pair.gap), [pair.other(name) for pair in some]
        if abs(worst.synthetic) > abs(worst.real):
            what = f"has a relation with {listed(others)} that real rows do not have"
        else:
            what = f"has lost its relation with {listed(others)}"
        text = (
            f"{name} {what}: its rank correlation with {worst.other(name)} is "
            f"{worst.synthetic:.2f}, in real rows {worst.real:.2f}. Do not learn from these "
            "columns together."
        )
        level, columns = THRESHOLDS["relation"].level(worst.gap), [name, *others]
        yield Finding(level=level, kind="relation", text=text, columns=columns, value=worst.gap)
        broken = [pair for pair in broken if pair not in some]


def curves(sides: Sides, pairs: list[Relation]) -> list[Curve]:
    """Return the columns that tell remaining useful life best, over remaining useful life."""
    rul = sides.roles.rul
    if rul not in sides.kinds:
        return []
    telling = sorted((pair for pair in pairs if rul in pair.columns), key=lambda p: -abs(p.real))
    edges = np.unique(np.quantile(sides.real[rul].dropna(), np.linspace(0, 1, CURVE_POINTS + 1)))
    if len(edges) < 3:
        return []
    centres = list((edges[1:] + edges[:-1]) / 2)
    return [
        Curve(
            column=name,
            unit=sides.profile.rul_unit if sides.profile else "",
            rul=centres,
            real=_band(sides.real, rul, name, edges),
            synthetic=_band(sides.synthetic, rul, name, edges),
        )
        for name in (pair.other(rul) for pair in telling[:CURVES])
    ]


def _band(table: pd.DataFrame, rul: str, name: str, edges: Array) -> list[list[float | None]]:
    place = pd.cut(table[rul], edges, include_lowest=True, labels=False)
    bins = table[name].groupby(place).quantile([0.1, 0.5, 0.9]).unstack()
    return [list(line) for line in bins.reindex(range(len(edges) - 1)).to_numpy().T]
