"""Utility: train on synthetic rows, test on held-out real ones, beside simpler ways to get rows."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from gan_lab.schema import Message
from gan_lab.synth.report import windows as win
from gan_lab.synth.report.baselines import copula, interpolate
from gan_lab.synth.report.compared_tables import Array, Figure, Sides

WINDOWS_MOST = 3_000  # of each table; twice as many move R2 by about 0.01
C2ST_WINDOWS = 1_000
BINS = 127  # of each figure of a window: 255 take nearly twice the time and change no verdict
FULL_LIFE = 125.0  # cycles: the scale on which the PHM08 score was defined
LEAK = 0.95  # a rare flag that goes with one answer so often is part of the answer
FAILURE_NAME = re.compile(r"fail|fault|anomal|defect|breakdown", re.IGNORECASE)

CONTESTANTS = {
    "real": "real training rows",
    "synthetic": "synthetic rows",
    "both": "real and synthetic rows together",
    "interpolation": "interpolated real rows (SMOTE)",
    "copula": "Gaussian copula (SDV)",
}


class Task(Message):
    """One thing to predict, and how well after training on each contestant's rows.

    Of a number: `r2`, `mae`, `rmse` (in its unit), and of a remaining useful life `phm`, the
    asymmetric score of the PHM08 challenge (Saxena et al. 2008), mean per row, the largest real
    value counted as 125 cycles; late predictions cost more; 0 is best. Of a category: `f1` (macro)
    and `ap` (average precision, mean over all classes but the commonest).
    """

    target: str
    kind: Literal["rul", "failure_mode", "failure", "column"]
    number: bool
    left_out: list[str]
    base: Figure
    scores: dict[str, dict[str, Figure]]

    @property
    def metric(self) -> str:
        """The score the verdict looks at."""
        return "r2" if self.number else "ap"


class LifeFigures(Message):
    """What a model that looks at windows of rows would see; definitions in `windows`.

    Each for `synthetic` and `shuffled` (real rows, lives mixed up), and for `real` (training lives)
    but for the two-sample test, where real lives reach 0.5 by definition.
    """

    width: int
    r2: dict[str, Figure]
    acf: dict[str, list[Figure]]
    lags: list[int]
    c2st: dict[str, Figure]


def utility(sides: Sides) -> list[Task]:
    """Predict what the machine's data is for: remaining useful life, failure, else a column."""
    tasks = _targets(sides)
    drawn = copula(sides)
    return [_task(sides, target, kind, drawn) for target, kind in tasks]


def _targets(sides: Sides) -> list[tuple[str, Any]]:
    """Declared targets, else a column named like a failure, else the number easiest to predict."""
    roles, kinds = sides.roles, sides.kinds
    declared = [
        (name, kind)
        for name, kind in ((roles.rul, "rul"), (roles.failure_mode, "failure_mode"))
        if name in kinds and _varies(sides, name)
    ]
    if declared:
        return declared
    named = [
        n for n in kinds if FAILURE_NAME.search(n) and kinds[n] == "category" and _varies(sides, n)
    ]
    if named:
        return [(named[0], "failure")]
    numbers = [name for name in sides.columns("number") if _varies(sides, name)]
    if len(numbers) < 2:
        return []
    strength = sides.train[numbers].corr("spearman").abs().fillna(0.0) - np.eye(len(numbers))
    return [(str(strength.max().idxmax()), "column")]


def _varies(sides: Sides, name: str) -> bool:
    """Whether there is something to learn: two values in training, two to be asked about."""
    return all(table[name].nunique() > 1 for table in (sides.train, sides.holdout))


def _task(sides: Sides, target: str, kind: Any, drawn: pd.DataFrame) -> Task:
    number = sides.kinds[target] == "number"
    left_out = _part_of_the_answer(sides, target)
    features = [name for name in sides.kinds if name != target and name not in left_out]
    asked = replace(sides, train=sides.train.dropna(subset=[target]))  # SMOTE would fill the gaps
    tables = {
        "real": sides.train,
        "synthetic": sides.synthetic,
        "both": pd.concat([sides.train, sides.synthetic], ignore_index=True),
        "interpolation": interpolate(asked, target),
        "copula": drawn,
    }
    learn = _regression if number else _classification
    scores = {}
    for name, table in tables.items():
        known = table.dropna(subset=[target]) if table is not None else None
        if known is not None and known[target].nunique() > 1:
            scores[name] = learn(sides, known, target, features)
    base = None
    if not number:
        shares = sides.holdout[target].value_counts(normalize=True)
        base = float(shares.iloc[1:].mean())
    return Task(
        target=target, kind=kind, number=number, left_out=left_out, base=base, scores=scores
    )


def _part_of_the_answer(sides: Sides, target: str) -> list[str]:
    """What one would not know beforehand: the other target, and flags that give it away."""
    known_late = [sides.roles.rul, sides.roles.failure_mode]
    found = [name for name in known_late if name in sides.kinds and name != target]
    if sides.kinds[target] == "number":
        return found
    commonest = sides.train[target].value_counts(normalize=True)
    for name in sides.columns("category"):
        values = sides.train[name].value_counts(normalize=True)
        if name in (target, *found) or len(values) != 2 or values.iloc[1] >= 0.5:
            continue
        answers = sides.train.loc[sides.train[name] == values.index[1], target]
        share = answers.value_counts(normalize=True)
        if share.index[0] != commonest.index[0] and share.iloc[0] >= LEAK:
            found.append(name)
    return found


def row_features(
    sides: Sides, table: pd.DataFrame, names: list[str]
) -> tuple[npt.NDArray[np.float32], list[bool]]:
    """Return numbers as they are, categories as places among real levels; and which those are."""
    if not names:
        return np.zeros((len(table), 1), np.float32), [False]
    columns = []
    for name in names:
        if sides.kinds[name] == "number":
            columns.append(table[name].clip(-1e30, 1e30).to_numpy(np.float32))
        else:
            levels = sorted(sides.train[name].dropna().unique())[:250]
            place = table[name].map({level: spot for spot, level in enumerate(levels)})
            columns.append(place.to_numpy(np.float32))
    return np.stack(columns, axis=1), [sides.kinds[name] == "category" for name in names]


def _regression(
    sides: Sides, table: pd.DataFrame, target: str, names: list[str]
) -> dict[str, float]:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    points, category = row_features(sides, table, names)
    model = HistGradientBoostingRegressor(
        max_iter=150, random_state=0, categorical_features=category
    )
    model.fit(points, table[target])
    asked = sides.holdout.dropna(subset=[target])
    answer, truth = model.predict(row_features(sides, asked, names)[0]), asked[target].to_numpy()
    found = {
        "r2": r2_score(truth, answer),
        "mae": mean_absolute_error(truth, answer),
        "rmse": root_mean_squared_error(truth, answer),
    }
    if target == sides.roles.rul:
        found["phm"] = phm_score(truth, answer, float(sides.train[target].max()))
    return found


def phm_score(truth: Array, answer: Array, longest: float) -> float:
    """Return the PHM08 score per row: exp(-d/13) - 1 if early, exp(d/10) - 1 if late by d cycles.

    `longest`, the largest remaining useful life, counts as 125 cycles, so that hours can be scored
    too (Saxena, Goebel, Simon, Eklund 2008).
    """
    late = (answer - truth) * FULL_LIFE / longest if longest > 0 else answer - truth
    late = np.clip(late, -FULL_LIFE, FULL_LIFE)
    return float(np.where(late < 0, np.exp(-late / 13), np.exp(late / 10)).mean() - 1)


def _classification(
    sides: Sides, table: pd.DataFrame, target: str, names: list[str]
) -> dict[str, float]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import average_precision_score, f1_score

    points, category = row_features(sides, table, names)
    model = HistGradientBoostingClassifier(
        max_iter=40,  # as good as 100 of half the rate, in half the time
        learning_rate=0.2,
        random_state=0,
        categorical_features=category,
        early_stopping=False,
    )
    model.fit(points, table[target])
    asked = sides.holdout.dropna(subset=[target])
    points = row_features(sides, asked, names)[0]
    chance = pd.DataFrame(model.predict_proba(points), columns=model.classes_)
    rare = asked[target].value_counts().index[1:]
    chance = chance.reindex(columns=rare, fill_value=0.0)
    precision = [average_precision_score(asked[target] == each, chance[each]) for each in rare]
    return {
        "ap": float(np.mean(precision)),
        "f1": f1_score(asked[target], model.predict(points), average="macro", zero_division=0),
    }


def life_figures(sides: Sides) -> LifeFigures | None:
    """Judge lives as sequences; None where there are none, or nothing to see of them."""
    roles = sides.roles
    both = pd.concat([sides.train, sides.holdout])
    columns = [name for name in win.sensors(both, roles) if sides.kinds.get(name) == "number"]
    if roles.life is None or sides.loose or not columns:
        return None
    width = win.window_width(sides.train, roles)
    tables = {
        "real": sides.train,
        "synthetic": sides.synthetic,
        "shuffled": win.shuffled_lives(sides.train, roles, sides.seed),
    }
    views = {
        name: win.windows(table, roles, columns, width, WINDOWS_MOST)
        for name, table in {**tables, "holdout": sides.holdout}.items()
    }
    can_predict = roles.rul is not None and all(_known(view) for view in views.values())
    enough = all(len(np.unique(view.life)) >= 4 for view in views.values())
    few = {name: view.some(C2ST_WINDOWS, sides.seed) for name, view in views.items()}
    return LifeFigures(
        width=width,
        lags=list(win.LAGS),
        acf={n: list(win.acf_error(sides.holdout, t, roles, columns)) for n, t in tables.items()},
        r2={
            n: win.window_r2(views[n], views["holdout"], max_bins=BINS)
            for n in tables
            if can_predict
        },
        c2st={
            n: win.window_c2st(few["holdout"], few[n], max_bins=BINS)
            for n in ("synthetic", "shuffled")
            if enough
        },
    )


def _known(view: win.Windows) -> bool:
    return view.rul is not None and bool(np.isfinite(view.rul).sum() > 1)
