"""The random effects of lives, given the degradation curve, and the curve's loss given them.

Both are fitted in turns, much as EM does it (Dempster, Laird and Rubin 1977): the random effects in
closed form given the curve, then an epoch of the curve given the random effects. For the former
each column of a life also has a level of its own within the error (a random intercept), so that
high readings of one column are not yet a random effect; the latter takes rows as independent, which
is less sharp and as right.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_lab.synth.lives.degradation_curve import BLOCK_ROWS, EFFECTS, Curve

MAX_SHARE = 0.9  # of a column's variance beside the curve, that is its level in each life
RIDGE = 1.0  # of the regression of random effects on conditions: the curve has learned most


@dataclass
class CurveData:
    """Rows of some lives; `conditions` (lives, n) are of each life."""

    features: Tensor
    values: Tensor  # NaN: missing
    life: Tensor
    rows: Tensor  # of each life
    conditions: Tensor

    def __post_init__(self) -> None:
        self.known = None if self.values.isfinite().all() else self.values.isfinite().float()
        self.values = self.values.nan_to_num()


@dataclass
class Evidence:
    """What the rows of each life say of its random effects, in double precision: sums over rows of
    the curve's loadings and of its error, in units of the standard deviation within a life.

    `squares` (lives, 6, 7) are products of loadings with loadings and error, `sums` (lives, 7,
    columns) of each, `rows` (lives, columns) how many are known, `share` (columns,) which part of
    the error's variance is the life's level.
    """

    squares: Tensor
    sums: Tensor
    rows: Tensor
    share: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, curve: Curve, data: CurveData) -> Evidence:
        """Sum over the rows of each life."""
        columns, lives = len(curve.log_sigma), len(data.rows)
        sums = torch.zeros(lives, EFFECTS + 1, columns, dtype=torch.float64)
        squares = torch.zeros(lives, EFFECTS, EFFECTS + 1, dtype=torch.float64)
        found = cls(squares, sums, torch.zeros_like(sums[:, 0]), curve.level_share.double())
        scale = curve.within_life
        for start in range(0, len(data.life), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            hidden, life = curve.hidden(data.features[part]), data.life[part]
            known = torch.ones_like(data.values[part]) if data.known is None else data.known[part]
            error = (data.values[part] - curve.fixed(hidden)[:, :columns]) * known * scale
            loadings = curve.loadings(hidden) * (known * scale)[:, None]
            both = torch.cat([loadings, error[:, None]], dim=1).double()
            found.squares.index_add_(0, life, both[:, :-1] @ both.transpose(1, 2))
            found.sums.index_add_(0, life, both)
            found.rows.index_add_(0, life, known.double())
        return found

    def likelihood(self) -> tuple[Tensor, Tensor]:
        """Return the precision of the random effects, (lives, 6, 6), and its product with the mean,
        (lives, 6), the levels of the life integrated out."""
        odds = self.share / (1 - self.share)
        taken = odds / (1 + self.rows * odds)
        found = self.squares - (self.sums[:, :-1] * taken[:, None]) @ self.sums.transpose(1, 2)
        return found[:, :, :-1], found[:, :, -1]

    def level_share(self, mean: Tensor) -> Tensor:
        """Return the share of levels (columns,) in lives with these random effects (lives, 6).

        What shrunk random effects leave of a level counts as one: where few columns share it, it
        stays a level, and is drawn as such.
        """
        explained = torch.einsum("lkc,lk->lc", self.sums[:, :-1], mean.double())
        known, rows = self.rows > 0, self.rows.clamp(min=1)
        beyond_chance = ((self.sums[:, -1] - explained) / rows).square() - 1 / rows
        mean_square = (beyond_chance * known).sum(dim=0) / known.sum(dim=0).clamp(min=1)
        return ((1 - self.share) * mean_square).clamp(0.0, MAX_SHARE).float()


@dataclass
class RandomEffects:
    """The random effects of lives: mean and deviation (lives, 6), independent within a life, their
    weighted KL (lives,) in nats, the regression of the mean on the conditions of a life,
    `by_condition` (1 + n, 6), and the share of levels (columns,) in what the curve leaves."""

    mean: Tensor
    deviation: Tensor
    kl: Tensor
    by_condition: Tensor
    level_share: Tensor

    @classmethod
    def zero(cls, curve: Curve, data: CurveData) -> RandomEffects:
        """Return lives that are all alike."""
        lives, conditions = data.conditions.shape
        alike = torch.zeros(lives, EFFECTS)
        by_condition = torch.zeros(1 + conditions, EFFECTS, dtype=torch.float64)
        return cls(alike, alike, torch.zeros(lives), by_condition, curve.level_share.clone())

    @classmethod
    def fit(
        cls, curve: Curve, data: CurveData, by_condition: Tensor | None = None
    ) -> RandomEffects:
        """Return the random effects that the evidence lower bound is largest for, given the curve,
        less what follows from the conditions.

        A failure mode is a fixed effect, not one of the life: what follows from it is taken off, by
        regression or as `by_condition` of other lives, and the fixed part of the curve learns it.
        """
        evidence = Evidence.of(curve, data)
        precision, pull = evidence.likelihood()
        beta = curve.beta
        prior = beta * torch.eye(EFFECTS, dtype=torch.float64)
        mean = torch.linalg.solve(precision + prior, pull)
        variance = beta / (precision.diagonal(dim1=1, dim2=2) + beta)
        inputs = torch.cat([torch.ones(len(mean), 1), data.conditions], dim=1).double()
        if by_condition is None:
            ridge = RIDGE * torch.eye(inputs.shape[1], dtype=torch.float64)
            by_condition = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ mean)
        share = evidence.level_share(mean)
        mean = mean - inputs @ by_condition
        kl = 0.5 * beta * (mean.square() + variance - 1 - variance.log()).sum(dim=1)
        return cls(mean.float(), variance.sqrt().float(), kl.float(), by_condition, share)


def curve_losses(
    curve: Curve,
    data: CurveData,
    effects: RandomEffects,
    chosen: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return negative log likelihood of the chosen rows and their KL, weighted, nats a row."""
    life = data.life.index_select(0, chosen)
    mean, deviation = (each.index_select(0, life) for each in (effects.mean, effects.deviation))
    w = torch.addcmul(mean, deviation, torch.randn(mean.shape, generator=generator))
    value, _ = curve(data.features.index_select(0, chosen), w)
    error = (data.values.index_select(0, chosen) - value) * torch.exp(-curve.log_sigma)
    nats = 0.5 * error.square() + curve.log_sigma
    if data.known is not None:
        nats = nats * data.known.index_select(0, chosen)
    kl = effects.kl.index_select(0, life) / data.rows.index_select(0, life)
    return nats.sum() / len(chosen), kl.mean()
