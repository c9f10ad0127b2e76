"""How much like real lives synthetic ones are, to a model that looks at windows of rows.

The figures take tables as people have them (rows of lives, see `Roles`) and need no model of ours,
so that the report and the benchmark measure with the same yardstick.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from gan_lab.schema import Message, Roles
from gan_lab.synth.report.compared_tables import Array, Figure, Points, Sides, Units, some
from gan_lab.synth.report.detection import told_apart, two_sample_test
from gan_lab.synth.report.finding import Finding, count
from gan_lab.synth.report.thresholds import PREDICTABLE, THRESHOLDS
from gan_lab.synth.report.utility import ADVICE, MIN_UNITS, WORSE_THAN_MEAN, what_adding_does

WIDTH_ROWS = 30
MAX_WINDOWS = 10_000
MAX_LEARNED = 3_000  # windows that trees learn from; twice as many move R2 by about 0.01
MAX_COMPARED = 1_000  # windows of each side that a classifier tells apart
MIN_LIVES = 4  # fewer cannot be halved


class LifeFigures(Message):
    """What a model that looks at windows of rows would see.

    `r2` for `synthetic`, `real` (training) lives and `both`, of so many `lives`, held-out ones
    those whose end is known; `c2st`, the AUC of a classifier between synthetic and held-out
    windows, is None where there are too few lives.
    """

    width: int
    lives: dict[str, int]
    r2: dict[str, Figure]
    c2st: Figure


@dataclass(frozen=True)
class Windows:
    """One line per window: its figures, the rul at its last row, the life it is from."""

    features: Points
    rul: Array | None
    life: Units

    def some(self, most: int, seed: int) -> Windows:
        """Return at most so many windows, drawn evenly."""
        kept = some(len(self.life), most, np.random.default_rng(seed))
        rul = None if self.rul is None else self.rul[kept]
        return Windows(self.features[kept], rul, self.life[kept])

    def beside(self, other: Windows) -> Windows:
        """Return as many windows of other lives beside these as are learned from of each."""
        first, second = (each.some(MAX_LEARNED, 0) for each in (self, other))
        rul = None
        if first.rul is not None and second.rul is not None:
            rul = np.r_[first.rul, second.rul]
        life = np.r_[first.life, second.life + first.life.max(initial=0) + 1]
        return Windows(np.r_[first.features, second.features], rul, life)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """The windows whose rul is known."""
        return np.zeros(len(self.life), bool) if self.rul is None else np.isfinite(self.rul)


def life_figures(sides: Sides) -> LifeFigures | None:
    """Judge lives as sequences; None where there are none, or nothing to see of them."""
    roles, columns = sides.roles, compared_sensors(sides)
    if roles.life is None or sides.loose or not columns:
        return None
    width = window_width(sides.train, roles)
    tables = {"real": sides.train, "synthetic": sides.synthetic}
    views = {name: windows(t, roles, columns, width) for name, t in tables.items()}
    views["held out"] = held = windows(sides.holdout, roles, columns, width)
    lives = {name: len(np.unique(view.life)) for name, view in views.items()}
    r2: dict[str, Figure] = {}
    if all(view.known.sum() > 1 for view in views.values()):
        r2 = {name: window_r2(views[name], held, sides.seed) for name in tables}
        both = views["real"].beside(views["synthetic"])
        r2["both"] = window_r2(both, held, sides.seed, most=2 * MAX_LEARNED)
    enough = min(lives.values()) >= MIN_LIVES
    told = window_c2st(held, views["synthetic"], sides.seed) if enough else None
    lives["held out"] = len(np.unique(held.life[held.known]))
    return LifeFigures(width=width, lives=lives, r2=r2, c2st=told)


def lessons(lives: LifeFigures) -> Iterator[Finding]:
    """Find what a model sees that looks at windows of rows."""
    real, ours = lives.r2.get("real"), lives.r2.get("synthetic")
    if real is not None and ours is not None and real >= PREDICTABLE:
        level = THRESHOLDS["r2_loss"].level(real - ours)
        advice = (WORSE_THAN_MEAN if ours < 0 else "") + ADVICE[level]
        text = (
            f"A model of remaining useful life that sees {lives.width} rows at a time reaches R2 "
            f"{ours:.2f} on held-out lives when trained on these lives, {real:.2f} on real ones."
            f"{advice}"
        )
        yield Finding(level=level, kind="windows", text=text, value=real - ours)
        seen = count(lives.lives["real"], "real life", "real lives")
        drawn = count(lives.lives["synthetic"], "synthetic one", "synthetic ones")
        both = lives.r2.get("both") or 0.0
        scored = lives.lives["held out"]
        error = 0.0 if scored >= MIN_UNITS else None
        text = (
            f"Trained on {seen} and {drawn} together, such a model reaches R2 {both:.2f} on "
            f"{count(scored)} it has never seen, on the real ones alone "
            f"{real:.2f}: {what_adding_does(both - real, error)}."
        )
        yield Finding(level="note", kind="augmentation", text=text, value=both - real)
    yield from told_apart(lives.c2st, "windows")


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


def window_r2(synthetic: Windows, real: Windows, seed: int = 0, most: int = MAX_LEARNED) -> float:
    """Return R2 of the real windows' rul, predicted by trees that saw only synthetic windows."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    given = synthetic.some(most, seed)
    known, wanted = given.known, real.known
    if not (known.any() and wanted.any()) or given.rul is None or real.rul is None:
        raise ValueError("There is no window with a known rul to learn from or to test with.")
    model = HistGradientBoostingRegressor(
        max_iter=60, learning_rate=0.2, max_bins=63, max_leaf_nodes=15, random_state=0
    )
    model.fit(given.features[known], given.rul[known])
    return float(r2_score(real.rul[wanted], model.predict(real.features[wanted])))


def window_c2st(real: Windows, other: Windows, seed: int = 0, most: int = MAX_COMPARED) -> float:
    """Return the AUC of trees that tell real windows from others; 0.5 is perfect."""
    sides = [(each.features, each.life) for each in (real, other)]
    area = two_sample_test(sides[0], sides[1], seed, most=most)
    return 0.5 if area is None else area


def life_summary(table: pd.DataFrame, roles: Roles, columns: list[str]) -> Windows:
    """Return one line per life: mean of each quarter, spread around it, logarithm of its rows."""
    values, life, _ = ordered(table, roles, columns)
    rows = np.bincount(life)
    quarter = life * 4 + np.minimum(4 * _position(life) // rows[life], 3)
    count = np.maximum(np.bincount(quarter, minlength=4 * len(rows)), 1)[:, None]
    mean = _group_sums(values, quarter, 4 * len(rows)) / count
    spread = _group_sums((values - mean[quarter]) ** 2, life, len(rows)) / rows[:, None]
    features = np.concatenate(
        [mean.reshape(len(rows), -1), np.sqrt(spread), np.log(rows)[:, None]], axis=1
    )
    return Windows(features.astype(np.float32), None, np.arange(len(rows)))


def _position(life: Units) -> Units:
    """Return each row's number within its life, from 0; rows of a life lie together."""
    starts = np.flatnonzero(np.r_[True, life[1:] != life[:-1]])
    return np.arange(len(life)) - np.repeat(starts, np.diff(np.r_[starts, len(life)]))


def _group_sums(values: Array, group: Units, groups: int) -> Array:
    return np.stack([np.bincount(group, column, minlength=groups) for column in values.T], axis=1)
