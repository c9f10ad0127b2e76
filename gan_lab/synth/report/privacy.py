"""Privacy: whether the model remembers what it learned from, in rows, windows and whole lives.

Every figure is taken against what the model has seen and against what it has not; only the
difference is memory. That two rows lie close together says nothing by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import (
    Array,
    Figure,
    Points,
    Sides,
    Units,
    same_types,
    some,
)
from gan_lab.synth.report.finding import Finding, listed, percent
from gan_lab.synth.report.thresholds import AGAINST, THRESHOLDS
from gan_lab.synth.report.windows import Windows, compared_sensors, life_summary

MAX_QUERIES = 1_000  # synthetic points whose neighbours are looked for
MAX_POINTS = 10_000  # real points among which they are looked for
NEAR = 0.01  # the distance that 1 % of held-out rows fall under is near
DEVIATIONS = 2.58  # standard errors to each end of a 99 % interval


class Memory(Message):
    """Share of synthetic points nearer to training lives than to as many held-out ones.

    0.5: no memory, 1: nothing else. `low`, `high`: its 99 % interval, over which of the real lives
    happen to be held out.
    """

    share: Figure
    low: Figure
    high: Figure


class Privacy(Message):
    """Copies, near copies and neighbours; each `real` figure is that of the held-out rows."""

    copies: Figure
    copies_real: Figure
    near_copies: Figure
    near_copies_real: Figure = NEAR
    memory: dict[str, Memory]


def privacy(
    sides: Sides, synthetic: pd.DataFrame, train: pd.DataFrame, seen: Mapping[str, Windows]
) -> Privacy:
    """Look for copies in the whole `synthetic` table, for neighbours in the sides' part of it and
    in the windows of it that were `seen`."""
    points, rng = encoded(sides), np.random.default_rng(sides.seed)
    known = points["train"][some(len(points["train"]), MAX_POINTS, rng)]
    ours, held = (
        _nearest(points[name][some(len(points[name]), MAX_QUERIES, rng)], known)[0]
        for name in ("synthetic", "holdout")
    )
    near = np.quantile(held, NEAR)
    close, close_real = ((d < near if near > 0 else d <= near).mean() for d in (ours, held))
    views = {name: _memory(view, rng) for name, view in _views(sides, points, seen).items()}
    return Privacy(
        copies=_copied(synthetic, train, sides),
        copies_real=_copied(sides.holdout, train, sides),
        near_copies=close,
        near_copies_real=close_real,
        memory={name: memory for name, memory in views.items() if memory is not None},
    )


def encoded(sides: Sides) -> dict[str, Points]:
    """Return the rows of each table as points: numbers in standard deviations, categories one-hot.

    A missing number stands at the mean, with a flag beside it. Another category counts as much as
    a standard deviation.
    """
    tables = pd.concat(sides.tables.values(), ignore_index=True)
    names, seen = sides.columns("number"), sides.train
    centre, scale = seen[names].mean(), seen[names].std()
    scale = scale.where(scale > 1e-12 * centre.abs().clip(lower=1.0), 1.0)
    values = ((tables[names] - centre) / scale).clip(-1e6, 1e6)
    gaps = tables[names].isna()
    one_hot = tables[sides.columns("category")]
    if len(one_hot.columns):
        one_hot = pd.get_dummies(one_hot.astype("category"), dtype=float)
    parts = values.fillna(0.0), gaps.loc[:, gaps.any()], one_hot.astype(float) / np.sqrt(2)
    points = np.concatenate([part.to_numpy(np.float32) for part in parts], axis=1)
    ends = np.cumsum([len(table) for table in sides.tables.values()])[:-1]
    return dict(zip(sides.tables, np.split(points, ends), strict=True))


def _nearest(query: npt.NDArray[Any], among: npt.NDArray[Any]) -> tuple[Array, Units]:
    """Return how far the nearest point is from each, and which it is."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(among)
    distance, place = search.kneighbors(query)
    return distance[:, 0].astype(np.float64), place[:, 0]


def _copied(table: pd.DataFrame, train: pd.DataFrame, sides: Sides) -> float:
    """The share of rows that are a training row in every compared column, to seven digits."""
    names = [name for name in sides.kinds if train[name].nunique() > 1]
    if not names:
        return 0.0
    kinds = {name: sides.kinds[name] for name in names}
    digits = {name: np.float32 for name in names if kinds[name] == "number"}
    prints = [
        pd.util.hash_pandas_object(
            same_types(each, train[names], kinds).astype(digits), index=False
        )
        for each in (table, train)
    ]
    return float(prints[0].isin(prints[1]).mean())


View = dict[str, tuple[Points, Units]]


def _views(sides: Sides, points: dict[str, Points], seen: Mapping[str, Windows]) -> dict[str, View]:
    """The rows of each table and where they are from; with lives, their windows and summaries."""
    views = {"rows": {name: (points[name], sides.units(t)) for name, t in sides.tables.items()}}
    if seen:
        roles, columns = sides.roles, compared_sensors(sides)
        lives = {name: life_summary(t, roles, columns) for name, t in sides.tables.items()}
        for view, found in (("windows", seen), ("lives", lives)):
            views[view] = {name: (each.features, each.life) for name, each in found.items()}
    return views


def _memory(view: View, rng: np.random.Generator) -> Memory | None:
    """Count which real units are nearest to the synthetic points, by how many were seen.

    Were seen and held-out units alike, the counts of the held-out ones would be a random draw from
    all of them: their spread gives the error of the sum (sampling without replacement).
    """
    (seen, seen_unit), (held, held_unit) = view["train"], view["holdout"]
    if min(len(points) for points, _ in view.values()) < 2:
        return None
    scale: Points = seen.std(axis=0)
    used = scale > 1e-9
    if not used.any():
        return None
    units, place = np.unique(np.r_[seen_unit, -1 - held_unit], return_inverse=True)
    is_held = units < 0
    real = np.concatenate([seen, held])[:, used] / scale[used]
    kept = rng.permutation(len(real))[:MAX_POINTS]  # in no order: of equals, any may be nearest
    query = view["synthetic"][0][:, used] / scale[used]
    query = query[some(len(query), MAX_QUERIES, rng)]
    _, nearest = _nearest(query, real[kept])
    count = np.bincount(place[kept][nearest], minlength=len(units)) / len(query)
    among, of = is_held.sum(), len(units)
    error = np.sqrt(among * (of - among) / of * count.var(ddof=1))
    share_held = count[is_held].sum()

    def share(held: float) -> float:
        """The share of seen ones, had as many been held out."""
        held = min(max(held, 0.0), 1.0)
        by_unit = (1 - held) / (of - among), held / among
        return float(by_unit[0] / sum(by_unit))

    return Memory(
        share=share(share_held),
        low=share(share_held + DEVIATIONS * error),
        high=share(share_held - DEVIATIONS * error),
    )


def remembered(privacy: Privacy, few: bool) -> Iterator[Finding]:
    """Find what the model remembers; of so `few` lives, which tell no memory from chance, that it
    remembers nothing is not said."""
    alarms = [*_copies(privacy), *_sure_memory(privacy)]
    yield from alarms
    copies, real = privacy.copies or 0.0, privacy.copies_real or 0.0
    if copies > real and not any(each.kind == "copies" for each in alarms):
        yield Finding(level="note", kind="privacy", text=_of_copies(copies, real), value=copies)
    elif not alarms and not few:
        text = (
            f"No sign of memory: {percent(copies)} of the rows are copies of training rows, of "
            f"held-out rows {percent(real)}; {_listed(privacy.memory)} are nearer to training than "
            "to held-out ones (50 %: no memory)."
        )
        yield Finding(level="good", kind="privacy", text=text)


def _of_copies(copies: float, real: float) -> str:
    return (
        f"{percent(copies)} of the rows are training rows to seven digits, of held-out rows "
        f"{percent(real)} are. Drop these copies before you share the table."
    )


def _copies(privacy: Privacy) -> Iterator[Finding]:
    copies, real = privacy.copies or 0.0, privacy.copies_real or 0.0
    near, near_real = privacy.near_copies or 0.0, privacy.near_copies_real or 0.0
    near_text = (
        f"The model memorises: {percent(near)} of the rows lie as close to a training row as only "
        f"{percent(near_real)} of held-out rows do. Do not share them; train on more lives or "
        "fewer epochs."
    )
    for kind, excess, text in (
        ("copies", copies - real, _of_copies(copies, real)),
        ("near_copies", near - near_real, near_text),
    ):
        level = THRESHOLDS[kind].level(excess)
        if level in AGAINST:
            yield Finding(level=level, kind=kind, text=text, value=excess)


def _sure_memory(privacy: Privacy) -> Iterator[Finding]:
    """Memory is what is sure of it; what may be chance is said, and held against nobody."""
    threshold = THRESHOLDS["memory"]
    sure = {v: m for v, m in privacy.memory.items() if threshold.level(m.low) in AGAINST}
    unsure = {v: m for v, m in privacy.memory.items() if (m.share or 0.0) >= threshold.bad}
    units = "lives" if "lives" in privacy.memory else "rows"
    if sure:
        low = max(memory.low or 0.0 for memory in sure.values())
        text = (
            f"The model memorises: {_listed(sure)} are nearer to training than to held-out ones "
            f"(50 %: no memory). Do not share these rows; learn from more {units}."
        )
        yield Finding(level=threshold.level(low), kind="memory", text=text, value=low)
    elif unsure:
        text = (
            f"Whether the model memorises cannot be told with so few {units}: {_listed(unsure)} "
            "are nearer to training than to held-out ones (50 %: no memory). "
            f"Hold out more {units} before you share these."
        )
        yield Finding(level="note", kind="privacy", text=text)


def _listed(memory: dict[str, Memory]) -> str:
    return listed(
        f"{percent(each.share)} of the {view} ({percent(each.low)} to {percent(each.high)})"
        for view, each in memory.items()
    )
