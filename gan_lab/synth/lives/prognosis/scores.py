"""Scores of a prognosis, under their names in the literature."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.lives.packed import Floats


def crps(truth: Floats, quantiles: Floats) -> Floats:
    """Return the continuous ranked probability score of each case, in the unit of the answer;
    `quantiles` (cases, n) are at (1 .. n) / (n + 1) (Gneiting and Raftery 2007)."""
    count = quantiles.shape[1]
    levels = np.arange(1, count + 1) / (count + 1)
    below = truth[:, None] < quantiles
    return np.asarray(2 * ((below - levels) * (quantiles - truth[:, None])).mean(axis=1))


def interval_score(truth: Floats, lower: Floats, upper: Floats, coverage: float) -> Floats:
    """Return width and penalty of each interval (Gneiting and Raftery 2007)."""
    missed = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
    return np.asarray(upper - lower + 2 / (1 - coverage) * missed)


def scores(truth: Floats, quantiles: Floats) -> dict[str, float]:
    """Return RMSE and MAE of mean and median, CRPS, and coverage and mean width of the intervals
    that should hold 50 and 90 %."""
    count = quantiles.shape[1]

    def at(level: float) -> Floats:
        return np.asarray(quantiles[:, round(level * (count + 1)) - 1])

    found = {
        "rmse": float(np.sqrt(((quantiles.mean(axis=1) - truth) ** 2).mean())),
        "mae": float(np.abs(at(0.5) - truth).mean()),
        "crps": float(crps(truth, quantiles).mean()),
    }
    for coverage in (0.5, 0.9):
        lower, upper = at((1 - coverage) / 2), at((1 + coverage) / 2)
        found[f"coverage_{coverage:.0%}"[:-1]] = float(((lower <= truth) & (truth <= upper)).mean())
        found[f"width_{coverage:.0%}"[:-1]] = float((upper - lower).mean())
        found[f"interval_score_{coverage:.0%}"[:-1]] = float(
            interval_score(truth, lower, upper, coverage).mean()
        )
    return found
