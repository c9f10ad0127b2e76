"""One-dimensional Gaussian mixtures on values with counts: what mode-specific normalisation needs.

The fit is scikit-learn's `BayesianGaussianMixture` (Dirichlet process, Blei and Jordan 2006) in one
dimension, on at most a thousand weighted values instead of all rows: milliseconds for seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

Floats = NDArray[np.float64]

MAX_MODES = 10
MAX_POINTS = 1000
LEAST_SHARE = 0.005
CONCENTRATION = 0.001
ITERATIONS = 100


def summarize(values: Floats, counts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return at most `MAX_POINTS` values with weights: means over stretches of equal count."""
    if len(values) <= MAX_POINTS:
        return values, np.asarray(counts, dtype=np.float64)
    ranks = np.cumsum(counts) - counts
    stretch = (ranks * MAX_POINTS // counts.sum()).astype(np.int64)
    weights = np.bincount(stretch, weights=counts, minlength=MAX_POINTS)
    sums = np.bincount(stretch, weights=counts * values, minlength=MAX_POINTS)
    full = weights > 0
    return sums[full] / weights[full], np.asarray(weights[full], dtype=np.float64)


def fit_mixture(values: Floats, counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Return shares, means and standard deviations of the modes that hold 0.5 % of the rows or
    more."""
    center, scale = np.average(values, weights=counts), np.ptp(values) or 1.0
    x = (values - center) / scale
    shares, means, variances = _variational(x, counts, _start(x, counts))
    kept = shares > LEAST_SHARE
    return shares[kept], means[kept] * scale + center, np.sqrt(variances[kept]) * scale


def cover(values: Floats, means: Floats, stds: Floats, spread: float) -> tuple[Floats, Floats]:
    """Return modes that reach all of the sorted values: a wide one more on a side that is out of
    reach.

    Heavy tails would else be cut off where the outermost mode ends.
    """
    low, high = (means - spread * stds).min(), (means + spread * stds).max()
    for beyond in (values[values < low], values[values > high]):
        if len(beyond):
            half = max(np.ptp(beyond) / 2, 0.25 * stds.max())
            means = np.append(means, (beyond[0] + beyond[-1]) / 2)
            stds = np.append(stds, 1.02 * half / spread)
    return means, stds


def responsibilities(x: Floats, means: Sequence[float | None] | Floats, stds: Floats) -> Floats:
    """Return the probability of each mode for each value, modes taken as equally frequent: (n,
    modes)."""
    scaled = (x[:, None] - np.asarray(means, dtype=np.float64)) / stds
    log = -0.5 * scaled**2 - np.log(stds)
    log -= log.max(axis=1, keepdims=True)
    chances = np.exp(log, out=log)
    chances /= chances.sum(axis=1, keepdims=True)
    return chances


def _start(x: Floats, counts: Floats) -> Floats:
    """Return hard responsibilities after a few rounds of k-means from quantiles: (n, modes)."""
    modes = min(MAX_MODES, len(x))
    middle = np.cumsum(counts) - counts / 2
    centers = np.interp((np.arange(modes) + 0.5) / modes * counts.sum(), middle, x)
    for _ in range(10):
        edges = (centers[1:] + centers[:-1]) / 2
        nearest = np.searchsorted(edges, x)
        mass = np.bincount(nearest, counts, modes)
        sums = np.bincount(nearest, counts * x, modes)
        centers = np.sort(np.where(mass > 0, sums / np.maximum(mass, 1e-12), centers))
    return np.eye(modes)[np.searchsorted((centers[1:] + centers[:-1]) / 2, x)]


def _variational(x: Floats, counts: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Run variational Bayes (Bishop 2006, 10.2) to a still bound; priors are scikit-learn's."""
    mean = np.average(x, weights=counts)
    variance = np.average((x - mean) ** 2, weights=counts)
    previous = np.zeros(weights.shape[1])
    for _ in range(ITERATIONS):
        weights = weights * counts[:, None]
        mass = weights.sum(axis=0) + 1e-10
        centers = weights.T @ x / mass
        spread = (weights * (x[:, None] - centers) ** 2).sum(axis=0) + mass * 1e-6 * variance
        pull, freedom = 1 + mass, 1 + mass
        means = (mean + mass * centers) / pull
        variances = (variance + spread + mass / pull * (centers - mean) ** 2) / freedom
        log_share, shares = _stick_breaking(mass)
        log = log_share - 0.5 * np.log(variances) - 0.5 / pull
        log += 0.5 * (digamma(freedom / 2) - np.log(freedom / 2))
        log = log - 0.5 * (x[:, None] - means) ** 2 / variances
        weights = np.exp(log - log.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        if np.abs(shares - previous).max() < 1e-4:
            break
        previous = shares
    return shares, means, variances


def _stick_breaking(mass: Floats) -> tuple[Floats, Floats]:
    """Return expected log shares and expected shares of a Dirichlet process (Blei and Jordan
    2006)."""
    a, b = 1 + mass, CONCENTRATION + mass.sum() - np.cumsum(mass)
    left = digamma(b) - digamma(a + b)
    log_share = digamma(a) - digamma(a + b) + np.concatenate(([0.0], np.cumsum(left)[:-1]))
    shares = a / (a + b) * np.concatenate(([1.0], np.cumprod(b / (a + b))[:-1]))
    return log_share, shares / shares.sum()
