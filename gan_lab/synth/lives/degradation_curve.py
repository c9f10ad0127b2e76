"""Step curve: how a life wears, a mixed-effects degradation curve.

`x_t = m(wear_t, regime_t) + B(wear_t, regime_t) w + e_t` (Lu and Meeker 1993): `m` and the basis of
`B` are a small network, `w` are the random effects of the life, six numbers with a standard normal
prior. The curve is linear in them, random coefficients as in a mixed model (Laird and Ware 1982):
one that bends with `w` bends towards every training life, and drawn lives would lie near these.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_lab.synth.lives.packed import Floats

EFFECTS = 6  # random effects of a life
WIDTH = 48  # of the hidden layers
BASIS = 16  # functions of wear and regime that the random effects weigh
MIN_BETA = 16.0  # weight of the random effects' KL: lives are few, and soon memorised
BLOCK_ROWS = 8_192  # that are predicted at once
WEAR_FEATURES = 8
SCALES = (0.04, 0.125, 0.35)  # of a typical life: how close to its end wear shows


def wear_features(elapsed: Floats, remaining: Floats, span: float, cap: float | None) -> Floats:
    """Return the features of age and distance to the end, (rows, 8).

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
    """The degradation curve of all columns of numbers, in units of the regime's spread."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        columns = max(outputs, 1)  # a layer without outputs cannot be made
        self.hidden = nn.Sequential(
            nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU()
        )
        self.fixed = nn.Linear(WIDTH, columns)
        self.basis = nn.Linear(WIDTH, BASIS)
        self.random = nn.Linear(EFFECTS * BASIS, columns, bias=False)
        self.log_sigma = nn.Parameter(torch.zeros(outputs))
        self.level_share: Tensor  # of sigma squared: how much is the level of the life
        self.register_buffer("level_share", torch.full((outputs,), 0.5))
        with torch.no_grad():  # lives begin alike: what little each row says of one is soon noise
            self.random.weight.mul_(0.1)

    @classmethod
    def from_weights(cls, weights: dict[str, Tensor]) -> Curve:
        """Build the curve that has these weights."""
        curve = cls(weights["hidden.0.weight"].shape[1], len(weights["log_sigma"]))
        curve.load_state_dict(weights)
        return curve

    def forward(self, features: Tensor, effects: Tensor) -> tuple[Tensor, Tensor]:
        """Return the curve's value for rows, (rows, columns), and the last hidden layer, (rows,
        48); `effects` (rows, 6) are the random effects of each row's life."""
        hidden = self.hidden(features)
        random = (effects[:, :, None] * self.basis(hidden)[:, None, :]).flatten(1)
        return (self.fixed(hidden) + self.random(random))[:, : len(self.log_sigma)], hidden

    @torch.no_grad()
    def predict(
        self, features: NDArray[np.float32], effects: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the same of arrays."""
        blocks = (torch.from_numpy(rows).split(BLOCK_ROWS) for rows in (features, effects))
        found = [self(*rows) for rows in zip(*blocks, strict=True)]
        value, hidden = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return value, hidden

    def loadings(self, hidden: Tensor) -> Tensor:
        """Return how far each random effect moves each column, (rows, 6, columns), given the last
        hidden layer."""
        return torch.einsum("rb,kbc->rkc", self.basis(hidden), self.directions)

    @property
    def directions(self) -> Tensor:
        """How far each random effect moves each column along each function of the basis, (6, 16,
        columns)."""
        columns = len(self.log_sigma)
        return self.random.weight[:columns].view(columns, EFFECTS, BASIS).permute(1, 2, 0)

    @property
    def within_life(self) -> Tensor:
        """One over the standard deviation of each column within a life, beside its level."""
        return torch.exp(-self.log_sigma) / (1 - self.level_share).sqrt()

    @property
    def beta(self) -> float:
        """Weight of the random effects' KL (Higgins et al. 2017). The columns of a row mostly owe
        to the same few causes: however many there are, they say no more of a life than sixteen."""
        return max(MIN_BETA, float(len(self.log_sigma)))

    def train_random_effects(self, learn: bool) -> None:
        """Let the weights of the random effects learn, or leave them as they are: without gradient
        the optimizer's weight decay would shrink them."""
        for layer in (self.basis, self.random):
            layer.requires_grad_(learn)
