"""How a life wears: a mixed-effects degradation curve, and how lives differ from one another.

`x_t = m(wear_t, regime_t, w) + e_t` (Lu and Meeker 1993), `m` a small network and `w` the
embedding of the life: six numbers with a standard normal prior, learned with the network by
variational inference (Kingma and Welling 2014). What makes lives differ (`w`, length, start of
counters) is drawn from a Gaussian mixture fitted to the training lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor, nn
from torch.nn import functional as F

from gan_lab.synth.regimes import Floats, Ints

EMBEDDING = 6
BETA = 4.0  # weight of the embedding's KL (Higgins et al. 2017): lives are few, and soon memorised
VALIDATION_ROWS = 20_000  # of held-out lives, that are asked after each epoch
MOST_LIVES = 5_000  # that the mixture is fitted to
SCALES = (0.04, 0.125, 0.35)  # of a typical life: how close to its end wear shows


def wear_features(elapsed: Floats, remaining: Floats, span: float, cap: float | None) -> Floats:
    """Return what the curve sees of age and distance to the end, (rows, 8).

    Both in mean steps; `span` is the typical life. Where the distance is not known (NaN), its
    features are those of a life far from its end, and a flag says so.
    """
    unknown = np.isnan(remaining)
    left = np.where(unknown, 4 * span, remaining) / span
    capped = np.minimum(left, 1.0 if cap is None else cap / span)
    near = [np.exp(-left / scale) for scale in SCALES]
    age = elapsed / span
    return np.stack(
        [np.log(left + 0.005) / 3, *near, capped, np.log(age + 0.01) / 3, np.tanh(age), unknown],
        axis=1,
    )


class Curve(nn.Module):
    """The degradation curve of all columns of numbers, and the embedding of each training life."""

    def __init__(self, inputs: int, outputs: int, lives: int, width: int = 64) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(inputs + EMBEDDING, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, max(outputs, 1)),
        )  # fmt: skip
        self.log_sigma = nn.Parameter(torch.zeros(outputs))
        self.mean = nn.Parameter(0.01 * torch.randn(lives, EMBEDDING))
        self.log_variance = nn.Parameter(torch.full((lives, EMBEDDING), -1.0))

    @classmethod
    def shaped_like(cls, weights: dict[str, Tensor]) -> Curve:
        """Build the curve that these weights are of."""
        inputs = weights["network.0.weight"].shape[1] - EMBEDDING
        curve = cls(inputs, len(weights["log_sigma"]), len(weights["mean"]))
        curve.load_state_dict(weights)
        return curve

    def forward(self, features: Tensor, w: Tensor, taught: Tensor) -> Tensor:
        """Return the curve's value for each row: (rows, columns), in units of the regime's spread.

        The curve learns from the rows where `taught` (rows, 1) is 1, the embedding `w` from all.
        """
        found = torch.cat([features, w], dim=1)
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                found = _TaughtLinear.apply(found, layer.weight, layer.bias, taught)
            else:
                found = layer(found)
        return found[:, : len(self.log_sigma)]

    @torch.no_grad()
    def levels(self, told: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the curve's value for rows of features and embedding side by side, and the last
        hidden layer, (rows, 64), that it is linear in."""
        hidden = self.network[:-1](torch.from_numpy(told))
        value = self.network[-1](hidden)[:, : len(self.log_sigma)]
        return value.numpy(), hidden.numpy()


class _TaughtLinear(torch.autograd.Function):
    """A linear layer whose weights learn from some of the rows, and its inputs from all."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, taught: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight, taught)
        return torch.addmm(bias, rows, weight.T)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        rows, weight, taught = ctx.saved_tensors
        learned = gradient * taught
        return gradient @ weight, learned.T @ rows, learned.sum(dim=0), None


@dataclass
class CurveData:
    """What the curve is fitted to: rows of all lives, and which lives are held out."""

    features: Tensor
    values: Tensor  # NaN: missing
    life: Tensor
    rows: Tensor  # of each life
    held_out: Tensor  # of each life

    def __post_init__(self) -> None:
        self.known = None if self.values.isfinite().all() else self.values.isfinite().float()
        self.values = self.values.nan_to_num()
        self.taught = (~self.held_out).float()[:, None]


def curve_losses(
    curve: Curve, data: CurveData, chosen: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return negative log likelihood of rows and their KL, weighted.

    Held-out lives learn their embedding beside the others, but the curve learns nothing from them.
    """
    life = data.life.index_select(0, chosen)
    noise = torch.randn(len(chosen), EMBEDDING, generator=generator)
    mean, log_variance = F.embedding(life, curve.mean), F.embedding(life, curve.log_variance)
    std = (0.5 * log_variance).exp()
    taught = data.taught.index_select(0, life)
    guess = curve(data.features.index_select(0, chosen), torch.addcmul(mean, noise, std), taught)
    log_sigma = torch.lerp(curve.log_sigma.detach(), curve.log_sigma, taught)
    error = (data.values.index_select(0, chosen) - guess) * torch.exp(-log_sigma)
    nats = 0.5 * error.square() + log_sigma
    if data.known is not None:
        nats = nats * data.known.index_select(0, chosen)
    kl = 0.5 * (mean.square() + std.square() - 1 - log_variance).sum(dim=1)
    return nats.sum() / len(chosen), (BETA * kl / data.rows.index_select(0, life)).mean()


@torch.no_grad()
def held_out_loss(curve: Curve, data: CurveData, seed: int) -> float | None:
    """Return the loss of held-out lives, nats a row; None where there are none."""
    chosen = data.held_out[data.life].nonzero()[:, 0]
    if not len(chosen):
        return None
    generator = torch.Generator().manual_seed(seed)
    chosen = chosen[torch.randperm(len(chosen), generator=generator)[:VALIDATION_ROWS]]
    reconstruction, kl = curve_losses(curve, data, chosen, generator)
    return float(reconstruction + kl)


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
        most.
        """
        shifts = np.zeros((conditions, traits.shape[1]))
        for number in range(conditions):
            mine = traits[condition == number]
            if len(mine) and conditions > 1:
                shifts[number] = (mine.mean(0) - traits.mean(0)) * len(mine) / (len(mine) + 3)
        centered = traits - shifts[condition]
        shares, means, covariances = _mixture(centered)
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
    from sklearn.covariance import ledoit_wolf
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
    covariance = ledoit_wolf(traits)[0]
    return np.ones(1), traits.mean(0)[None], covariance[None]
