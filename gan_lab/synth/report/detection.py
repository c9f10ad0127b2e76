"""Whether a classifier tells synthetic rows from real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gan_lab.synth.report.compared_tables import Points, Sides, Units, some
from gan_lab.synth.report.finding import Finding
from gan_lab.synth.report.thresholds import AGAINST, THRESHOLDS
from gan_lab.synth.report.windows import Windows

MAX_POINTS = 3_000  # points of each side that the classifier sees
MAX_WINDOWS = 1_000  # of each side
MIN_LIVES = 4  # fewer cannot be halved


def detection(sides: Sides) -> float | None:
    """Return the AUC of trees that tell synthetic rows from held-out ones."""
    category = [kind == "category" for kind in sides.kinds.values()]
    held, ours = (
        (sides.features[name], sides.units(sides.tables[name])) for name in ("holdout", "synthetic")
    )
    return two_sample_test(held, ours, sides.seed, category)


def detection_of_windows(views: Mapping[str, Windows], seed: int) -> float | None:
    """Return the AUC of trees that tell synthetic windows from held-out ones; None of few lives."""
    lives = [len(np.unique(view.life)) for view in views.values()]
    if min(lives, default=0) < MIN_LIVES:
        return None
    held, ours = ((views[name].features, views[name].life) for name in ("holdout", "synthetic"))
    return two_sample_test(held, ours, seed, most=MAX_WINDOWS)


def two_sample_test(
    real: tuple[Points, Units],
    other: tuple[Points, Units],
    seed: int = 0,
    category: Sequence[bool] = (),
    most: int = MAX_POINTS,
) -> float | None:
    """Return the AUC of trees that tell two samples apart, 0.5 where they cannot.

    A sample is points and the unit (life) that each is from. Half of the units of both teach, the
    other half test, then the other way round (Lopez-Paz and Oquab 2017). None where there are too
    few units for two halves.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_score

    rng = np.random.default_rng(seed)
    count = min(most, len(real[1]), len(other[1]))  # as many of both: no weights
    kept = [some(len(unit), count, rng) for _, unit in (real, other)]
    x = np.concatenate([real[0][kept[0]], other[0][kept[1]]])
    units = real[1][kept[0]], -1 - other[1][kept[1]]
    if min(len(np.unique(each)) for each in units) < 2:
        return None
    unit = np.concatenate(units)
    model = HistGradientBoostingClassifier(
        max_iter=60,
        max_bins=127,  # 255, and leaves without end, take twice the time and see no more
        max_leaf_nodes=15,
        random_state=0,
        categorical_features=list(category) or None,
    )
    label, alone = np.repeat([0, 1], count), len(np.unique(unit)) == len(unit)  # which is quicker
    halves = (StratifiedKFold if alone else StratifiedGroupKFold)(
        2, shuffle=True, random_state=seed
    )
    groups = None if alone else unit
    areas = cross_val_score(model, x, label, groups=groups, cv=halves, scoring="roc_auc")
    return float(max(areas.mean(), 0.5))


def told_apart(auc: float | None, what: str) -> Iterator[Finding]:
    """Find whether a classifier tells these rows, or windows, from real ones."""
    level = THRESHOLDS["detection"].level(auc)
    if level in AGAINST:
        text = (
            f"Detection AUC {auc:.2f} (0.5 is blind): a classifier tells these {what} from real "
            f"ones. Test what you train on them on real {what} too."
        )
        yield Finding(level=level, kind=f"{what.removesuffix('s')}_detection", text=text, value=auc)
