"""How the lives of a table differ: embeddings and traits drawn together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from gan_lab.synth.lives.factors import factored
from gan_lab.synth.lives.packed import Floats, Ints

MOST_LIVES = 5_000  # that the mixture is fitted to
LIKE_ALL = 3.0  # lives of a condition that are presumed to be like all lives


@dataclass
class Population:
    """How lives differ: a Gaussian mixture over embedding and normal scores, shifted by
    condition."""

    shares: Floats  # (components,)
    means: Floats  # (components, n)
    roots: Floats  # (components, n, n), lower triangular
    shifts: Floats  # (conditions, n)

    @classmethod
    def fit(cls, traits: Floats, condition: Ints, conditions: int, spread: Floats) -> Population:
        """Fit to the traits of the training lives; `spread` is the variance each trait is known
        with.

        As many components as the Bayesian information criterion asks for (Schwarz 1978), three at
        most. The more a trait tells lives apart, the more of `spread` is drawn as well: a number of
        the embedding that none of them needed stays at rest, for the curve makes noise of it.
        """
        shifts = np.zeros((conditions, traits.shape[1]))
        for number in range(conditions):
            mine = traits[condition == number]
            if len(mine) and conditions > 1:
                share = len(mine) / (len(mine) + LIKE_ALL)
                shifts[number] = share * (mine.mean(0) - traits.mean(0))
        centered = traits - shifts[condition]
        shares, means, covariances = _mixture(centered)
        apart = centered.var(axis=0)
        spread = spread * apart / np.maximum(apart + spread, 1e-12)
        covariances = covariances + np.diag(spread + 1e-6)
        roots = np.linalg.cholesky(covariances).astype(np.float64)
        return cls(shares, means, roots, shifts)

    def draw(self, condition: Ints, rng: np.random.Generator) -> Floats:
        """Draw the traits of one life for each condition asked for.

        Lives of one condition are spread evenly over each trait (Latin hypercube sampling, McKay,
        Beckman and Conover 1979): few of them are as good a sample as many drawn independently.
        """
        even = np.empty((len(condition), 1 + self.means.shape[1]))
        for number in np.unique(condition):
            even[condition == number] = evenly(int((condition == number).sum()), even.shape[1], rng)
        component = np.searchsorted(np.cumsum(self.shares)[:-1], even[:, 0], side="right")
        noise = ndtri(even[:, 1:])
        shaped = np.einsum("nij,nj->ni", self.roots[component], noise)
        return np.asarray(self.means[component] + shaped + self.shifts[condition])


def evenly(rows: int, columns: int, rng: np.random.Generator) -> Floats:
    """Return points within (0, 1), each column with one in each of `rows` equal parts."""
    order = rng.permuted(np.tile(np.arange(rows)[:, None], columns), axis=0)
    return np.asarray(np.clip((order + rng.random(order.shape)) / rows, 1e-12, 1 - 1e-12))


def _mixture(traits: Floats) -> tuple[Floats, Floats, Floats]:
    from sklearn.mixture import GaussianMixture

    lives, size = traits.shape
    if lives < 2:
        return np.ones(1), traits.mean(0)[None], np.zeros((1, size, size))
    if lives > MOST_LIVES:
        traits = np.random.default_rng(0).choice(traits, MOST_LIVES, replace=False)
    if lives >= 20:
        fits = [
            GaussianMixture(k, reg_covar=1e-3, n_init=2, random_state=0).fit(traits)
            for k in range(1, 4)
            if k == 1 or lives >= 5 * k * size
        ]
        best = min(fits, key=lambda fit: fit.bic(traits))
        if best.n_components > 1:
            return best.weights_, best.means_, best.covariances_
    return np.ones(1), traits.mean(0)[None], factored(traits)[0][None]
