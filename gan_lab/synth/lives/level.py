"""Step level: a mean of its own that each column has in each life beside the curve.

Random intercepts (Laird and Ware 1982), as wide at each part of a life as the column scatters
there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Packed, Real
from gan_lab.synth.lives.population import shrunk_covariance
from gan_lab.synth.lives.variance import VarianceModel

MIN_ROWS = 10  # of a life, to estimate its level
PRIOR_LIVES = 2.0  # held-out lives, presumed to have levels as wide as those of the other lives


@dataclass
class LifeLevel:
    """`width` is how widely the levels of lives differ at each part of a life, `root` (columns,
    columns) that of their covariance where they differ most."""

    width: VarianceModel
    root: Floats

    @classmethod
    def fit(
        cls,
        residual: NDArray[Real],
        hidden: NDArray[np.float32],
        packed: Packed,
        validation: NDArray[np.bool_],
        held_out: NDArray[np.bool_],
        constant: NDArray[np.bool_],
    ) -> LifeLevel:
        """Fit to residuals (rows, columns; NaN: missing); see `VarianceModel.fit`. `held_out`
        (lives,) are those that the curve was not fitted to."""
        width = VarianceModel.fit(hidden, residual.astype(np.float64), validation, constant)
        level, factor = estimate_levels(residual / width.relative(hidden), packed)
        return cls(width, level_root(factor * level, held_out))

    def transform(
        self, residual: NDArray[Real], hidden: NDArray[np.float32], packed: Packed
    ) -> Floats:
        """Return residuals less the level of their life."""
        relative = self.width.relative(hidden)
        level, _ = estimate_levels(residual / relative, packed)
        return np.asarray(residual - level[packed.life] * relative)

    def draw(self, lives: int, rng: np.random.Generator) -> Floats:
        """Draw the levels of lives, (lives, columns)."""
        return np.asarray(rng.normal(size=(lives, len(self.root))) @ self.root.T)

    def inverse_transform(
        self, residual: Floats, level: Floats, hidden: NDArray[np.float32], packed: Packed
    ) -> Floats:
        """Return residuals with the level of their life, (lives, columns)."""
        return np.asarray(residual + level[packed.life] * self.width.relative(hidden))


def estimate_levels(residual: NDArray[Real], packed: Packed) -> tuple[Floats, Floats]:
    """Return the estimate of each life's level, (lives, columns), and how much more widely levels
    differ than their estimates, (columns,).

    The mean of a residual that remembers also differs by chance, and `memory` draws that anew: by
    how much say the means of the quarters of each life (batch means, Conway 1963). What is left of
    their variance is that of levels; an estimate is the mean, shrunk by what its rows tell (best
    linear unbiased prediction, Henderson 1975).
    """
    rows, lives = packed.rows, len(packed.rows)
    quarter = 4 * packed.life + 4 * packed.age // rows[packed.life]
    starts = np.minimum(np.searchsorted(quarter, np.arange(4 * lives)), len(residual) - 1)
    sums, counts = (
        np.add.reduceat(each, starts, dtype=np.float64).reshape(lives, 4, -1)
        for each in (np.nan_to_num(residual), np.isfinite(residual))
    )
    known = counts.sum(axis=1)
    enough, known = known >= MIN_ROWS, np.maximum(known, 1)
    count = np.maximum(enough.sum(axis=0), 1)
    whole = sums.sum(axis=1) / known
    mean = np.where(enough, whole - np.where(enough, whole, 0.0).sum(axis=0) / count, 0.0)
    errors = sums - counts * whole[:, None]
    by_chance = 4 / 3 * (errors**2).sum(axis=1) / known**2  # variance of each life's mean
    pooled = (by_chance * known * enough).sum(axis=0) / count / known
    observed = (mean**2).sum(axis=0) / np.maximum(count - 1, 1)
    variance = np.maximum(observed - (pooled * enough).sum(axis=0) / count, 0.0)
    estimate = mean * variance / np.maximum(variance + pooled, 1e-12)
    width = np.sqrt((estimate**2).sum(axis=0) / count)
    return estimate, np.sqrt(variance) / np.maximum(width, 1e-9)


def level_root(level: Floats, held_out: NDArray[np.bool_]) -> Floats:
    """Return the root of the covariance of the lives' levels, (columns, columns).

    The curve is fitted closer to its training lives than to any new one: the levels of held-out
    lives are wider. What is drawn is half-way between, on a logarithmic scale: drawn random effects
    already differ as much as those of the training lives.
    """
    lives, columns = level.shape
    if lives < 2 or not columns:
        return np.zeros((columns, columns))
    mean, size = level[~held_out].mean(axis=0), level[~held_out].std(axis=0) + 1e-9
    scores = (level - mean) / size  # so that only correlations are shrunk
    covariance = shrunk_covariance(scores[~held_out]) + 1e-9 * np.eye(columns)
    wider = (scores[held_out] ** 2).sum() / np.trace(covariance)  # times how many they are
    wider = max(1.0, (wider + PRIOR_LIVES) / (held_out.sum() + PRIOR_LIVES)) ** 0.5
    return np.asarray(size[:, None] * np.linalg.cholesky(wider * covariance))
