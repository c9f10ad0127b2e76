"""Whether a classifier tells synthetic rows from real ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Figure, Sides

DETECTED = 3_000  # rows of each side that the classifier sees


class Detection(Message):
    """A classifier that tells real rows from synthetic ones: AUC, 0.5 where it cannot.

    `real`: the same between training and held-out rows. `giveaways`: how much AUC falls when a
    column is shuffled (permutation importance, Breiman 2001), the most telling first.
    """

    auc: Figure
    real: Figure
    giveaways: dict[str, Figure]


def detection(sides: Sides) -> Detection:
    """Try to tell synthetic rows from held-out ones; half of the lives teach, half are asked."""
    auc, giveaways = _told_apart(sides, sides.synthetic)
    real, _ = _told_apart(sides, sides.train)
    best = sorted(giveaways.items(), key=lambda item: -item[1])[:8]
    return Detection(
        auc=auc, real=real, giveaways={name: fall for name, fall in best if fall > 0.005}
    )


def _told_apart(sides: Sides, table: pd.DataFrame) -> tuple[float | None, dict[str, float]]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import roc_auc_score

    from gan_lab.synth.report.utility import row_features

    names = [name for name in sides.kinds if pd.concat([sides.train, table])[name].nunique() > 1]
    rng = np.random.default_rng(sides.seed)
    points, unit, label = [], [], []
    most = min(DETECTED, len(sides.holdout), len(table))  # as many of both: no weights
    for number, rows in enumerate((sides.holdout, table)):
        kept = np.sort(rng.permutation(len(rows))[:most])
        points.append(row_features(sides, rows, names)[0][kept])
        unit.append(_halves(sides.units(rows), rng)[kept])
        label.append(np.full(len(kept), number))
    asked, x, y = np.concatenate(unit), np.concatenate(points), np.concatenate(label)
    if any(len(np.unique(y[asked == half])) < 2 for half in (False, True)):
        return None, {}
    if not names:
        return 0.5, {}
    category = [sides.kinds[name] == "category" for name in names]
    areas, falls = [], np.zeros(len(names))
    for half in (False, True):
        model = HistGradientBoostingClassifier(
            max_iter=60, random_state=0, categorical_features=category
        )
        model.fit(x[asked != half], y[asked != half])
        some = rng.permutation(np.flatnonzero(asked == half))[:1_000]
        areas.append(roc_auc_score(y[asked == half], model.predict_proba(x[asked == half])[:, 1]))
        if table is sides.synthetic and len(np.unique(y[some])) == 2:
            falls += (
                permutation_importance(
                    model, x[some], y[some], scoring="roc_auc", n_repeats=1, random_state=0
                ).importances_mean
                / 2
            )
    return float(max(np.mean(areas), 0.5)), dict(zip(names, falls.tolist(), strict=True))


def _halves(unit: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    lives = rng.permutation(np.unique(unit))
    return np.isin(unit, lives[: len(lives) // 2])
