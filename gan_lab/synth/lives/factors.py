"""Covariances of few lives: factor analysis, with the number of factors by cross-validation."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.lives.packed import Floats

MAX_ROWS = 500  # that the number of factors is decided by
FOLDS, REPEATS = 5, 4  # of 35 lives one split alone finds three factors in noise,
MANY_COLUMNS = 60  # but more columns than these tell enough in one
PATIENCE = 2  # numbers of factors that may be no better before the search ends
MAX_FACTORS = 10
MIN_OWN = 0.02  # of a column's variance, that no factor explains
MAX_ROUNDS, TOLERANCE = 30, 0.01  # of the search for a column's own variance


def factor_covariance(values: Floats) -> tuple[Floats, int]:
    """Return the covariance of rows, (columns, columns), and the number of factors in it.

    `values` is (rows, columns). The covariance is that of factors which columns share and of a
    variance that each has of its own (factor analysis, Lawley and Maxwell 1971), with as many
    factors as make rows that were left out most likely (cross-validation, repeated). The
    correlations of a few lives are mostly chance, and drawn lives that follow these lie near the
    lives themselves; shrinking towards independence (Ledoit and Wolf 2004) keeps them where one
    strong factor is real, as wear is.
    """
    rng = np.random.default_rng(0)
    spread = values.std(axis=0)
    varying = np.ptp(values, axis=0) > 0
    scores = (values - values.mean(axis=0))[:, varying] / spread[varying]
    few = scores if len(scores) <= MAX_ROWS else rng.choice(scores, MAX_ROWS, replace=False)
    factors = _number_of_factors(few, rng)
    found = np.zeros((values.shape[1],) * 2)
    found[np.ix_(varying, varying)] = _fitted(scores.T @ scores / len(scores), factors)
    return found * np.outer(spread, spread), factors


def _number_of_factors(scores: Floats, rng: np.random.Generator) -> int:
    """Return how many factors make rows that were left out most likely."""
    rows, columns = scores.shape
    if rows < 2 * FOLDS or columns < 2:
        return 0
    repeats = REPEATS if columns <= MANY_COLUMNS else 1
    folds = np.array([rng.permutation(rows) % FOLDS for _ in range(repeats)])
    left_out = (folds[:, None] == np.arange(FOLDS)[:, None]).reshape(-1, 1, rows)
    squares = (scores.T * left_out) @ scores  # of each part that is left out
    train = (scores.T @ scores - squares) / (rows - left_out.sum(axis=2, keepdims=True))
    best, best_score = 0, -np.inf
    for factors in range(min(columns, rows // 2, MAX_FACTORS + 1)):
        fitted = _fitted(train, factors)
        misfit = np.linalg.solve(fitted, squares).trace(axis1=1, axis2=2)
        score = -(misfit.sum() / (repeats * rows) + np.linalg.slogdet(fitted)[1].mean())
        if score > best_score:
            best, best_score = factors, score
        elif factors >= best + PATIENCE:
            break
    return best


def _fitted(covariance: Floats, factors: int) -> Floats:
    """Return covariances (..., columns, columns) of so many factors and each column's own variance:
    nearly the most likely ones, in turns (Lawley 1940)."""
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    own, shared = np.maximum(variance, MIN_OWN), np.zeros_like(covariance)
    for _ in range(MAX_ROUNDS if factors else 0):
        root = np.sqrt(own)
        outer = root[..., :, None] * root[..., None, :]
        size, direction = np.linalg.eigh(covariance / outer)
        strength = np.maximum(size[..., None, -factors:] - 1, 0)
        loading = direction[..., -factors:] * np.sqrt(strength)
        shared = outer * (loading @ np.swapaxes(loading, -2, -1))
        before, own = own, variance - np.diagonal(shared, axis1=-2, axis2=-1)
        own = np.maximum(own, MIN_OWN)
        if np.abs(own - before).max() < TOLERANCE:
            break
    return np.asarray(shared + own[..., None] * np.eye(own.shape[-1]))
