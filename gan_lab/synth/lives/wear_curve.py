"""How a life wears: a mixed-effects degradation curve, and how lives differ from one another.

`x_t = m(wear_t, regime_t) + B(wear_t, regime_t) w + e_t` (Lu and Meeker 1993): `m` and the basis of
`B` are a small network, `w` is the embedding of the life, six numbers with a standard normal prior.
The curve is linear in them, random coefficients as in a mixed model (Laird and Ware 1982): one that
bends with `w` bends towards every training life, and drawn lives would lie near these. It is
fitted in turns, much as EM does it (Dempster, Laird and Rubin 1977): the embeddings in closed form
given the curve, then an epoch of the curve given the embeddings. For the former each column of a
life also has a level of its own within `e`, so that high readings of one column are not yet an
embedding; the latter takes rows as independent, which is less sharp and as right. What makes
lives differ (`w`, length, start of counters) is drawn from a Gaussian mixture fitted to the
training lives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_lab.synth.lives.packed import Floats

EMBEDDING = 6
WIDTH = 48  # of the hidden layers
BASIS = 16  # functions of wear and regime that the embedding weighs
LEAST_BETA = 16.0  # weight of the embedding's KL: lives are few, and soon memorised
MOST_SHARE = 0.9  # of a column's variance beside the curve, that is its level in each life
RIDGE = 1.0  # the same, of what a condition says of the embedding: the curve has learned most
BLOCK_ROWS = 8_192  # whose loadings are held in memory at once
WEAR_FEATURES = 8
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
    """The degradation curve of all columns of numbers, in units of the regime's spread."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        some = max(outputs, 1)  # a layer of none is none
        self.hidden = nn.Sequential(
            nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU()
        )
        self.common = nn.Linear(WIDTH, some)
        self.basis = nn.Linear(WIDTH, BASIS)
        self.own = nn.Linear(EMBEDDING * BASIS, some, bias=False)
        self.log_sigma = nn.Parameter(torch.zeros(outputs))
        self.level_share: Tensor  # of sigma squared: how much is the level of the life
        self.register_buffer("level_share", torch.full((outputs,), 0.5))
        with torch.no_grad():  # lives begin alike: what little each row says of one is soon noise
            self.own.weight.mul_(0.1)

    @classmethod
    def shaped_like(cls, weights: dict[str, Tensor]) -> Curve:
        """Build the curve that these weights are of."""
        curve = cls(weights["hidden.0.weight"].shape[1], len(weights["log_sigma"]))
        curve.load_state_dict(weights)
        return curve

    def forward(self, features: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return the curve's value for rows, (rows, columns), and the last hidden layer, (rows,
        48), that it is linear in; `w` (rows, 6) is the embedding of each row's life."""
        hidden = self.hidden(features)
        own = (w[:, :, None] * self.basis(hidden)[:, None, :]).flatten(1)
        return (self.common(hidden) + self.own(own))[:, : len(self.log_sigma)], hidden

    @property
    def beta(self) -> float:
        """Weight of the embedding's KL (Higgins et al. 2017). The columns of a row mostly owe to
        the same few causes: however many there are, they say no more of a life than sixteen."""
        return max(LEAST_BETA, float(len(self.log_sigma)))

    def tell_apart(self, learn: bool) -> None:
        """Let the curve learn how lives differ, or leave that as it is: weights that nothing
        teaches would decay."""
        for layer in (self.basis, self.own):
            layer.requires_grad_(learn)

    @torch.no_grad()
    def levels(self, told: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the same for rows of features and embedding side by side."""
        rows = torch.from_numpy(told).split(BLOCK_ROWS)
        found = [self(part[:, :-EMBEDDING], part[:, -EMBEDDING:]) for part in rows]
        value, hidden = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return value, hidden

    @torch.no_grad()
    def evidence(self, data: CurveData) -> Evidence:
        """Return what the rows of each life say of its embedding."""
        columns, lives = len(self.log_sigma), len(data.rows)
        directions = self.own.weight[:columns].view(columns, EMBEDDING, BASIS).transpose(0, 1)
        scale = torch.exp(-self.log_sigma) / (1 - self.level_share).sqrt()
        found = Evidence.none(lives, columns, self.level_share)
        for start in range(0, len(data.life), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            hidden, life = self.hidden(data.features[part]), data.life[part]
            known = torch.ones_like(data.values[part]) if data.known is None else data.known[part]
            error = (data.values[part] - self.common(hidden)[:, :columns]) * known * scale
            loadings = self.basis(hidden) @ directions.flatten(0, 1).T
            loadings = loadings.view(len(hidden), EMBEDDING, columns) * (known * scale)[:, None]
            both = torch.cat([loadings, error[:, None]], dim=1).double()
            found.squares.index_add_(0, life, both[:, :-1] @ both.transpose(1, 2))
            found.sums.index_add_(0, life, both)
            found.rows.index_add_(0, life, known.double())
        return found


@dataclass
class Evidence:
    """What the rows of each life say of its embedding, in double precision: sums over rows of the
    curve's loadings and of its error, in units of the standard deviation within a life.

    `squares` (lives, 6, 7) are products of loadings with loadings and error, `sums` (lives, 7,
    columns) of each, `rows` (lives, columns) how many are known, `share` (columns,) which part of
    the error's variance is the life's level.
    """

    squares: Tensor
    sums: Tensor
    rows: Tensor
    share: Tensor

    @classmethod
    def none(cls, lives: int, columns: int, share: Tensor) -> Evidence:
        """Return what no row says."""
        squares = torch.zeros(lives, EMBEDDING, EMBEDDING + 1, dtype=torch.float64)
        sums = torch.zeros(lives, EMBEDDING + 1, columns, dtype=torch.float64)
        return cls(squares, sums, torch.zeros_like(sums[:, 0]), share.double())

    def likelihood(self) -> tuple[Tensor, Tensor]:
        """Return the precision of each embedding, (lives, 6, 6), and its product with the mean,
        (lives, 6), the levels of the life integrated out (random intercepts)."""
        odds = self.share / (1 - self.share)
        taken = odds / (1 + self.rows * odds)
        found = self.squares - (self.sums[:, :-1] * taken[:, None]) @ self.sums.transpose(1, 2)
        return found[:, :, :-1], found[:, :, -1]

    def level_share(self, mean: Tensor) -> Tensor:
        """Return the share of levels (columns,) that lives with these embeddings (lives, 6) show.

        What a cautious embedding leaves of a level counts as one: where few columns share it, it
        stays a level, and is drawn as such.
        """
        explained = torch.einsum("lkc,lk->lc", self.sums[:, :-1], mean.double())
        known, rows = self.rows > 0, self.rows.clamp(min=1)
        beyond_chance = ((self.sums[:, -1] - explained) / rows).square() - 1 / rows
        mean_square = (beyond_chance * known).sum(dim=0) / known.sum(dim=0).clamp(min=1)
        return ((1 - self.share) * mean_square).clamp(0.0, MOST_SHARE).float()


@dataclass
class CurveData:
    """Rows of some lives; `told` (lives, n) are the conditions of each life."""

    features: Tensor
    values: Tensor  # NaN: missing
    life: Tensor
    rows: Tensor  # of each life
    told: Tensor

    def __post_init__(self) -> None:
        self.known = None if self.values.isfinite().all() else self.values.isfinite().float()
        self.values = self.values.nan_to_num()


@dataclass
class Embeddings:
    """Who the lives are: mean and deviation of each embedding (lives, 6), independent within a
    life, its weighted KL (lives,) in nats, how the mean follows from what is told of a life
    (1 + n, 6), and the share of their levels (columns,) in what the curve leaves."""

    mean: Tensor
    deviation: Tensor
    kl: Tensor
    follows: Tensor
    level_share: Tensor

    @classmethod
    def nobody(cls, curve: Curve, data: CurveData) -> Embeddings:
        """Return lives that are all alike."""
        lives, told = data.told.shape
        alike = torch.zeros(lives, EMBEDDING)
        follows = torch.zeros(1 + told, EMBEDDING, dtype=torch.float64)
        return cls(alike, alike, torch.zeros(lives), follows, curve.level_share.clone())

    @classmethod
    def infer(cls, curve: Curve, data: CurveData, follows: Tensor | None = None) -> Embeddings:
        """Return the embeddings that the evidence lower bound is largest for, given the curve, but
        what follows from the conditions.

        A failure mode is a fixed effect, not a lot of the life's own: what follows from it is taken
        off, by regression or as `follows` from other lives, and the common curve learns it.
        """
        evidence = curve.evidence(data)
        precision, pull = evidence.likelihood()
        beta = curve.beta
        prior = beta * torch.eye(EMBEDDING, dtype=torch.float64)
        mean = torch.linalg.solve(precision + prior, pull)
        variance = beta / (precision.diagonal(dim1=1, dim2=2) + beta)
        told = torch.cat([torch.ones(len(mean), 1), data.told], dim=1).double()
        if follows is None:
            ridge = RIDGE * torch.eye(told.shape[1], dtype=torch.float64)
            follows = torch.linalg.solve(told.T @ told + ridge, told.T @ mean)
        share = evidence.level_share(mean)
        mean = mean - told @ follows
        kl = 0.5 * beta * (mean.square() + variance - 1 - variance.log()).sum(dim=1)
        return cls(mean.float(), variance.sqrt().float(), kl.float(), follows, share)


def curve_losses(
    curve: Curve,
    data: CurveData,
    embeddings: Embeddings,
    chosen: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return negative log likelihood of rows and their KL, weighted, nats a row."""
    life = data.life.index_select(0, chosen)
    mean, deviation = (
        each.index_select(0, life) for each in (embeddings.mean, embeddings.deviation)
    )
    w = torch.addcmul(mean, deviation, torch.randn(mean.shape, generator=generator))
    guess, _ = curve(data.features.index_select(0, chosen), w)
    error = (data.values.index_select(0, chosen) - guess) * torch.exp(-curve.log_sigma)
    nats = 0.5 * error.square() + curve.log_sigma
    if data.known is not None:
        nats = nats * data.known.index_select(0, chosen)
    kl = embeddings.kl.index_select(0, life) / data.rows.index_select(0, life)
    return nats.sum() / len(chosen), kl.mean()
