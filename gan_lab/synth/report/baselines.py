"""What one could have done without a model: interpolate between real rows, or fit a copula.

A synthetic table that does not beat these two was not worth the training.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pandas as pd

from gan_lab.synth.report.compared_tables import Sides

COPULA_ROWS = 2_000  # a Gaussian copula has learned its correlations by then
GROUPS = 10  # a number is interpolated within its tenths, as a class would be


def interpolate(sides: Sides, target: str | None = None) -> pd.DataFrame | None:
    """Return as many rows as there are to learn from, each between a real row and a near one.

    SMOTE (Chawla et al. 2002; SMOTENC where there are categories) of imbalanced-learn, within the
    classes of `target` or the tenths of a number, so that row and answer stay together. None where
    the table has no number to interpolate.
    """
    from imblearn.over_sampling import SMOTE, SMOTENC

    numbers, names = sides.columns("number"), list(sides.kinds)
    if not numbers or len(sides.train) < 4:
        return None
    points = sides.train[numbers].replace([np.inf, -np.inf], np.nan)
    points = points.fillna(points.median())
    levels = {
        name: sides.train[name].fillna("(missing)").astype("category")
        for name in sides.columns("category")
    }
    coded = points.assign(**{name: column.cat.codes for name, column in levels.items()})[names]
    group = _groups(coded, target, sides)
    count = np.bincount(group)
    wanted = {label: 2 * rows for label, rows in enumerate(count) if rows > 1}
    near = int(min(5, min(count[label] for label in wanted) - 1))
    options = {"sampling_strategy": wanted, "k_neighbors": near, "random_state": sides.seed}
    spots = [place for place, name in enumerate(names) if name in levels]
    maker = SMOTENC(spots, **options) if spots else SMOTE(**options)
    made = pd.DataFrame(
        maker.fit_resample(coded.to_numpy(float), group)[0][len(coded) :], columns=names
    )
    for name, column in levels.items():
        text = pd.Series(column.cat.categories[made[name].astype(int)].astype(object))
        made[name] = text.where(text != "(missing)", None)
    return made


def _groups(coded: pd.DataFrame, target: str | None, sides: Sides) -> np.ndarray:
    """Classes to interpolate within: at least two, as imbalanced-learn asks."""
    if target is None:
        return np.arange(len(coded)) % 2
    if sides.kinds[target] == "number":
        rank = coded[target].rank(method="average", pct=True).to_numpy()
        tenth = np.minimum((rank * GROUPS).astype(int), GROUPS - 1)
    else:
        tenth = coded[target].to_numpy(int)
    group = np.unique(tenth, return_inverse=True)[1]
    return group if group.max() else np.arange(len(coded)) % 2


def copula(sides: Sides) -> pd.DataFrame:
    """Return rows of SDV's Gaussian copula with its defaults, fitted to at most 2,000 rows."""
    logging.getLogger("sdv").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sdv.metadata import Metadata
        from sdv.single_table import GaussianCopulaSynthesizer

        types = {"number": "numerical", "category": "categorical"}
        columns = {name: {"sdtype": types[kind]} for name, kind in sides.kinds.items()}
        about = Metadata.load_from_dict({"tables": {"table": {"columns": columns}}})
        rows = sides.train[list(sides.kinds)].replace([np.inf, -np.inf], np.nan)
        rows = rows.sample(min(len(rows), COPULA_ROWS), random_state=sides.seed)
        model = GaussianCopulaSynthesizer(about)
        model.fit({"table": rows})
        drawn = model.sample(num_rows=len(sides.train))
    return drawn["table"] if isinstance(drawn, dict) else drawn
