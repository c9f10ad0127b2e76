"""How the lives of a table differ: random effects and numbers of a life, drawn together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gan_lab.synth.lives.packed import Floats, Ints

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

PRIOR_LIVES = 3.0  # of a condition, presumed to be like all lives
MAX_COMPONENTS = 3
MIXTURE_LIVES = 20  # fewer are one component
MIN_BIC_GAIN = 10.0  # of one component more: very strong evidence (Kass, Raftery 1995)


@dataclass
class Population:
    """A Gaussian mixture over the random effects and normal scores of a life, shifted by
    condition."""

    shares: Floats  # (components,)
    means: Floats  # (components, n)
    roots: Floats  # (components, n, n), lower triangular
    shifts: Floats  # (conditions, n)

    @classmethod
    def fit(cls, scores: Floats, condition: Ints, conditions: int, variance: Floats) -> Population:
        """Fit to the scores of the training lives, (lives, n); `variance` (n,) is that of their
        estimates.

        As many components as the Bayesian information criterion asks for (Schwarz 1978), three at
        most. They are wider than the lives seen, as the next draw of a normal distribution is whose
        mean and covariance come from so few (Gelman et al. 2013, section 3.6), by half for five
        lives. The more lives differ in a score, the more of `variance` is drawn as well: a random
        effect that none of them needed stays at zero, for the curve makes noise of it.
        """
        shifts = np.zeros((conditions, scores.shape[1]))
        for number in range(conditions):
            mine = scores[condition == number]
            if len(mine) and conditions > 1:
                share = len(mine) / (len(mine) + PRIOR_LIVES)
                shifts[number] = share * (mine.mean(0) - scores.mean(0))
        centered = scores - shifts[condition]
        shares, means, covariances = _mixture(centered)
        between = centered.var(axis=0)
        variance = variance * between / np.maximum(between + variance, 1e-12)
        covariances = covariances + np.diag(variance + 1e-6)
        wider = (len(scores) + 1) / max(len(scores) - 1, 1)
        roots = np.linalg.cholesky(wider * covariances).astype(np.float64)
        return cls(shares, means, roots, shifts)

    def draw(self, condition: Ints, rng: np.random.Generator) -> Floats:
        """Draw the scores of one life for each condition, (lives, n)."""
        component = rng.choice(len(self.shares), size=len(condition), p=self.shares)
        noise = rng.normal(size=(len(condition), self.means.shape[1]))
        shaped = np.einsum("nij,nj->ni", self.roots[component], noise)
        return np.asarray(self.means[component] + shaped + self.shifts[condition])


def shrunk_covariance(values: Floats) -> Floats:
    """Return the covariance of rows, (columns, columns), with correlations shrunk towards none as
    much as so few rows ask for (Ledoit and Wolf 2004)."""
    from sklearn.covariance import ledoit_wolf

    spread = values.std(axis=0)
    scores = (values - values.mean(axis=0)) / np.maximum(spread, 1e-12)
    return np.asarray(ledoit_wolf(scores, assume_centered=True)[0] * np.outer(spread, spread))


def _mixture(scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Return shares, means and covariances of the components: lives that wear in different ways,
    though no label says so, are groups of their own."""
    lives, size = scores.shape
    if lives < 2:
        return np.ones(1), scores.mean(0)[None], np.zeros((1, size, size))
    if lives >= MIXTURE_LIVES and scores.std(axis=0).max() > 1e-6:
        spread = scores.std(axis=0) + 1e-9
        found = _tied_mixture(scores / spread, 1)
        for components in range(2, MAX_COMPONENTS + 1):
            more = _tied_mixture(scores / spread, components)
            if found.bic(scores / spread) - more.bic(scores / spread) <= MIN_BIC_GAIN:
                break
            found = more
        if (count := found.n_components) > 1:
            covariance = found.covariances_ * np.outer(spread, spread)
            return found.weights_, found.means_ * spread, np.repeat(covariance[None], count, 0)
    return np.ones(1), scores.mean(0)[None], shrunk_covariance(scores)[None]


def _tied_mixture(scores: Floats, components: int) -> GaussianMixture:
    """Fit so many components that share one covariance."""
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(
        components, covariance_type="tied", reg_covar=1e-3, n_init=10, random_state=0
    ).fit(scores)
