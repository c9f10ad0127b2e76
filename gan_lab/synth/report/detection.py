"""Whether a classifier tells synthetic rows from real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Figure, Points, Sides, Units, some

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

MAX_POINTS = 3_000  # points of each side that the classifier sees
MAX_SHUFFLED = 1_000  # points that columns are shuffled in
MIN_FALL = 0.005  # a column whose loss costs less AUC gives nothing away
SHOWN_COLUMNS = 8


class Detection(Message):
    """A classifier that tells real rows from synthetic ones: AUC, 0.5 where it cannot.

    `real`: the same between training and held-out rows. `giveaways`: how much AUC falls when a
    column is shuffled (permutation importance, Breiman 2001), the most telling first.
    """

    auc: Figure
    real: Figure
    giveaways: dict[str, Figure]


def detection(sides: Sides) -> Detection:
    """Try to tell synthetic rows from held-out ones, and training rows from held-out ones."""
    category = [kind == "category" for kind in sides.kinds.values()]
    parts = {
        name: (sides.features[name], sides.units(table)) for name, table in sides.tables.items()
    }
    (auc, falls), (real, _) = (
        two_sample_test(parts["holdout"], parts[name], sides.seed, category, explain=explain)
        for name, explain in (("synthetic", True), ("train", False))
    )
    ranked = sorted(zip(sides.kinds, falls, strict=False), key=lambda item: -item[1])
    found = {name: fall for name, fall in ranked[:SHOWN_COLUMNS] if fall > MIN_FALL}
    return Detection(auc=auc, real=real, giveaways=found)


def two_sample_test(
    real: tuple[Points, Units],
    other: tuple[Points, Units],
    seed: int = 0,
    category: Sequence[bool] = (),
    most: int = MAX_POINTS,
    explain: bool = False,
) -> tuple[float | None, list[float]]:
    """Return the AUC of trees that tell two samples apart, and what shuffling each column costs it.

    A sample is points and the unit (life) that each is from. Half of the units of both teach, the
    other half test, then the other way round (Lopez-Paz and Oquab 2017): 0.5 is blind. None
    where there are too few units for two halves.
    """
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    count = min(most, len(real[1]), len(other[1]))  # as many of both: no weights
    points, labels, halves = [], [], []
    for label, (each, unit) in enumerate((real, other)):
        kept = some(len(unit), count, rng)
        points.append(each[kept])
        labels.append(np.full(count, label))
        halves.append(_half_of_units(unit, rng)[kept])
    x, y, half = map(np.concatenate, (points, labels, halves))
    if any(len(np.unique(y[half == each])) < 2 for each in (False, True)):
        return None, []
    areas, falls = [], []
    for taught in (False, True):
        model = _trees(x[half == taught], y[half == taught], category)
        test_x, test_y = x[half != taught], y[half != taught]
        areas.append(roc_auc_score(test_y, model.predict_proba(test_x)[:, 1]))
        if explain:
            kept = some(len(test_y), MAX_SHUFFLED, rng)
            falls.append(_falls(model, test_x[kept], test_y[kept], rng))
    return float(max(np.mean(areas), 0.5)), list(np.mean(falls, axis=0)) if falls else []


def _half_of_units(unit: Units, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    units = rng.permutation(np.unique(unit))
    return np.isin(unit, units[: len(units) // 2])


def _trees(x: Points, y: Units, category: Sequence[bool]) -> HistGradientBoostingClassifier:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=60,
        max_bins=127,  # 255, and leaves without end, take twice the time and see no more
        max_leaf_nodes=15,
        random_state=0,
        categorical_features=list(category) or None,
    )
    return model.fit(x, y)


def _falls(
    model: HistGradientBoostingClassifier, x: Points, y: Units, rng: np.random.Generator
) -> list[float]:
    """Return how much AUC falls when one column after the other is shuffled."""
    from sklearn.metrics import roc_auc_score

    if len(np.unique(y)) < 2:
        return [0.0] * x.shape[1]
    order, columns = rng.permutation(len(x)), range(x.shape[1])
    mixed = np.repeat(x[None], len(columns) + 1, axis=0)  # the last as it is
    for column in columns:
        mixed[column, :, column] = x[order, column]
    chance = model.predict_proba(mixed.reshape(-1, x.shape[1]))[:, 1].reshape(-1, len(x))
    *areas, whole = (roc_auc_score(y, each) for each in chance)
    return [whole - area for area in areas]
