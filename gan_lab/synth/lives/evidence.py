"""Whether a structure predicts lives that it has not seen: what regimes and drivers must show.

Wear ties every column that wears to every other, and so do the levels of a life. Both come off
first: of each life its mean and smooth terms of its progress. What a candidate then explains of
the other columns is measured on lives left out of the fit (cross-validation by life, Stone 1974).
Where there is no structure that is zero or less, whatever the number of candidates, for chance does
not repeat itself in another life.
"""

from __future__ import annotations

import numpy as np

from gan_lab.synth.lives.packed import Floats, Ints, Packed

FOLDS = 5
BLOCKS = 10  # of a single life, in place of lives
RIDGE = 0.1  # rows that say there is no wear: for lives of few rows
NOTHING = 1e-6  # of the spread of a column: what is left of one that wear says all of
PRIOR_ROWS = 3.0  # of a level, that say it is as all rows are


def folds_of(packed: Packed) -> Ints:
    """Return the fold of each row: whole lives, or blocks of rows where there is one life."""
    if len(packed.rows) == 1:
        return (packed.age * BLOCKS // len(packed.age)) % 2
    return packed.life % min(FOLDS, len(packed.rows))


def without_wear(values: Floats, packed: Packed) -> Floats:
    """Return columns (rows, columns) less what the mean and the progress of each life say of
    them; a missing reading counts as nothing out of the ordinary."""
    values = np.nan_to_num(values - np.nanmean(values, axis=0))
    progress = packed.age / packed.rows[packed.life]
    terms = np.stack(
        [
            *(progress**power for power in range(4)),
            *(np.exp(steep * (progress - 1)) for steep in (8, 25)),  # late and fast
        ],
        axis=1,
    )
    starts = packed.starts[:-1]
    gram = np.add.reduceat(terms[:, :, None] * terms[:, None, :], starts, axis=0)
    gram += RIDGE * np.eye(terms.shape[1])
    left = np.empty_like(values)
    for column, mine in enumerate(values.T):
        moments = np.add.reduceat(terms * mine[:, None], starts, axis=0)
        weights = np.linalg.solve(gram, moments[..., None])[..., 0]
        left[:, column] = mine - (terms * weights[packed.life]).sum(axis=1)
    return np.where(left.std(axis=0) > NOTHING * values.std(axis=0), left, 0.0)


def level_gain(code: Ints, values: Floats, fold: Ints) -> float:
    """Return the share of variance of columns (rows, columns) that the mean of each level of
    `code` explains in the lives left out, averaged over the columns."""
    if not values.shape[1]:
        return 0.0
    levels, code = np.unique(code, return_inverse=True)
    left, total = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for number in range(fold.max() + 1):
        out = fold == number
        mean = values[~out].mean(axis=0)
        count = np.bincount(code[~out], minlength=len(levels))[:, None]
        sums = [np.bincount(code[~out], column, len(levels)) for column in values[~out].T]
        level = (np.stack(sums, axis=1) + PRIOR_ROWS * mean) / (count + PRIOR_ROWS)
        left += ((values[out] - level[code[out]]) ** 2).sum(axis=0)
        total += ((values[out] - mean) ** 2).sum(axis=0)
    moving = total > 0
    return float(np.mean(1 - left[moving] / total[moving])) if moving.any() else 0.0
