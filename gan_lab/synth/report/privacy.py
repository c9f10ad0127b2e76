"""Privacy: whether the model remembers what it learned from, in rows, windows and whole lives.

Every figure is computed twice, against what the model has seen and against what it has not; only
the difference is memory. That two rows lie close together says nothing by itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from gan_lab.schema import Message
from gan_lab.synth.report import windows as win
from gan_lab.synth.report.compared_tables import Array, Figure, Sides

ASKED = 1_000  # synthetic points whose neighbours are looked for
POINTS = 10_000  # real points among which they are looked for
BLOCKS = 20  # rows without lives are relabelled in so many blocks of held-out ones
SHUFFLES = 999
FEW_ROWS, FEW_LIVES = 100, 10  # with less, adversarial accuracy is chance
NEAR = 0.01  # the distance that 1 % of held-out rows fall under is near
Points = npt.NDArray[np.float32]


class Memory(Message):
    """Share of synthetic points nearer to training lives than to as many held-out ones.

    0.5: no memory. `p`: how often lives dealt out at random would give as large a share
    (permutation test, exact where the training lives were not used; Edgington 1995).
    """

    share: Figure
    p: Figure


class Privacy(Message):
    """Copies, near copies and neighbours; each `real` figure is that of the held-out rows."""

    copies: Figure
    copies_real: Figure
    near_copies: Figure
    near_copies_real: Figure = NEAR
    distance: dict[str, Figure]
    adversarial: dict[str, Figure]
    memory: dict[str, Memory]


def privacy(sides: Sides, synthetic: pd.DataFrame, train: pd.DataFrame) -> Privacy:
    """Look for copies in the whole `synthetic` table, for neighbours in the sides' part of it.

    `distance`: median distance to the closest training row, in standard deviations, of synthetic
    and of held-out rows. `adversarial`: nearest-neighbour adversarial accuracy (Yale et al. 2020)
    against training and held-out rows, 0.5 where they cannot be told apart, and the difference.
    """
    points = encoded(sides)
    rng = np.random.default_rng(sides.seed)
    seen = _some(points["train"], POINTS, rng)
    ours = _distance(_some(points["synthetic"], ASKED, rng), seen)
    real = _distance(_some(points["holdout"], ASKED, rng), seen)
    near = np.quantile(real, NEAR)
    return Privacy(
        copies=_copied(synthetic, train, sides),
        copies_real=_copied(sides.holdout, train, sides),
        near_copies=(ours < near).mean() if near > 0 else (ours <= near).mean(),
        near_copies_real=(real < near).mean() if near > 0 else (real <= near).mean(),
        distance={"synthetic": np.median(ours), "holdout": np.median(real)},
        adversarial=_adversarial(sides, points, rng),
        memory=_memories(sides, points, rng),
    )


def encoded(sides: Sides) -> dict[str, Points]:
    """Return the rows of each table as points: numbers in standard deviations, categories one-hot.

    A missing number stands at the mean, with a flag beside it. Another category counts as much as
    a standard deviation.
    """
    parts: dict[str, list[Array]] = {name: [] for name in sides.tables}
    for name, kind in sides.kinds.items():
        columns = {key: table[name] for key, table in sides.tables.items()}
        if kind == "number":
            centre, scale = sides.train[name].mean(), sides.train[name].std()
            scale = scale if scale > 1e-12 * max(abs(centre), 1.0) else 1.0
            gaps = any(column.isna().any() for column in columns.values())
            for key, column in columns.items():
                value = ((column - centre) / scale).clip(-1e6, 1e6)
                parts[key].append(value.fillna(0.0).to_numpy())
                if gaps:
                    parts[key].append(value.isna().to_numpy(np.float64))
        else:
            for level in pd.concat(columns.values()).dropna().unique():
                for key, column in columns.items():
                    parts[key].append((column == level).to_numpy(np.float64) / np.sqrt(2))
    return {key: np.stack(each, axis=1).astype(np.float32) for key, each in parts.items()}


def _some(points: Points, most: int, rng: np.random.Generator) -> Points:
    if len(points) <= most:
        return points
    return points[np.sort(rng.choice(len(points), most, replace=False))]


def _distance(asked: Points, among: Points, skip_self: bool = False) -> npt.NDArray[np.float64]:
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=2 if skip_self else 1, algorithm="brute").fit(among)
    return np.asarray(near.kneighbors(asked)[0][:, -1], dtype=np.float64)


def _copied(table: pd.DataFrame, train: pd.DataFrame, sides: Sides) -> float:
    """The share of rows that are a training row in every compared column, to seven digits."""
    names = [name for name in sides.kinds if train[name].nunique() > 1]
    if not names:
        return 0.0
    prints = [
        pd.util.hash_pandas_object(
            pd.DataFrame({n: _plain(each[n], sides.kinds[n] == "number") for n in names}),
            index=False,
        )
        for each in (table, train)
    ]
    return float(prints[0].isin(prints[1]).mean())


def _plain(column: pd.Series, number: bool) -> pd.Series:
    """Seven digits of a number, text otherwise: how a column is stored does not make it another."""
    if number:
        return pd.to_numeric(column, errors="coerce").astype(np.float32)
    return column.map(lambda value: "" if pd.isna(value) else str(value))


def _adversarial(
    sides: Sides, points: dict[str, Points], rng: np.random.Generator
) -> dict[str, float]:
    """Adversarial accuracy against as many lives and rows of both: they must lie equally dense."""
    units = {name: sides.units(table) for name, table in sides.tables.items()}
    lives = min(len(np.unique(each)) for each in units.values())
    chosen = {}
    for name, unit in units.items():
        some = rng.choice(np.unique(unit), lives, replace=False)
        chosen[name] = points[name][np.isin(unit, some)]
    rows = min(ASKED, *(len(each) for each in chosen.values()))
    drawn = {name: _some(each, rows, rng) for name, each in chosen.items()}
    if rows < FEW_ROWS or lives < FEW_LIVES:
        return {}
    found = {name: _accuracy(drawn[name], drawn["synthetic"]) for name in ("train", "holdout")}
    return {**found, "loss": found["holdout"] - found["train"]}


def _accuracy(real: Points, synthetic: Points) -> float:
    real_stays = _distance(real, synthetic) > _distance(real, real, skip_self=True)
    ours_stays = _distance(synthetic, real) > _distance(synthetic, synthetic, skip_self=True)
    return float((real_stays.mean() + ours_stays.mean()) / 2)


def _memories(
    sides: Sides, points: dict[str, Points], rng: np.random.Generator
) -> dict[str, Memory]:
    """Memory for rows, and where there are lives for windows and whole lives."""
    roles = sides.roles
    units = {name: sides.units(table) for name, table in sides.tables.items()}
    views = {"rows": {name: (points[name], units[name]) for name in points}}
    columns = win.compared_sensors(sides)
    if roles.life and columns and not sides.loose:
        width = win.window_width(sides.train, roles)
        for view, make in (
            ("windows", lambda table: win.windows(table, roles, columns, width, POINTS)),
            ("lives", lambda table: win.life_summary(table, roles, columns)),
        ):
            made = {name: make(table) for name, table in sides.tables.items()}
            views[view] = {name: (each.features, each.life) for name, each in made.items()}
    found = {view: _memory(sides, parts, rng) for view, parts in views.items()}
    return {view: memory for view, memory in found.items() if memory is not None}


def _memory(
    sides: Sides,
    parts: dict[str, tuple[Points, npt.NDArray[np.int64]]],
    rng: np.random.Generator,
) -> Memory | None:
    if min(len(points) for points, _ in parts.values()) < 2:
        return None
    scale = parts["train"][0].std(axis=0)
    used = scale > 1e-9
    if not used.any():
        return None
    asked = _some(parts["synthetic"][0], ASKED, rng)[:, used] / scale[used]
    distance = []
    for name in ("train", "holdout"):
        points, unit = parts[name]
        if sides.roles.life is None:
            unit = rng.permutation(len(points)) // max(1, len(parts["holdout"][0]) // BLOCKS)
        kept = np.sort(rng.permutation(len(points))[:POINTS])
        distance.append(_to_units(asked, points[kept][:, used] / scale[used], unit[kept]))
    seen, unseen = distance[0].shape[1], distance[1].shape[1]
    both = np.concatenate(distance, axis=1)
    few = min(seen, unseen)
    labels = [rng.permutation(seen + unseen) for _ in range(SHUFFLES)]
    chance = np.array([_share(both, order[:few], order[few : 2 * few]) for order in labels])
    drawn = [
        _share(both, rng.permutation(seen)[:few], seen + rng.permutation(unseen)[:few])
        for _ in range(20)
    ]
    share = float(np.mean(drawn))
    return Memory(share=share, p=(1 + (chance >= share).sum()) / (1 + SHUFFLES))


def _to_units(
    asked: Points, points: Points, unit: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return the distance from each asked point to the nearest point of each unit."""
    from sklearn.metrics import pairwise_distances

    order = np.argsort(unit, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(unit[order]) != 0])
    gaps = pairwise_distances(asked, points[order]).astype(np.float32)
    return np.minimum.reduceat(gaps, starts, axis=1)


def _share(distance: npt.NDArray[np.float32], seen: npt.NDArray, unseen: npt.NDArray) -> float:
    gap = distance[:, seen].min(axis=1) - distance[:, unseen].min(axis=1)
    return float((gap < 0).mean() + 0.5 * (gap == 0).mean())
