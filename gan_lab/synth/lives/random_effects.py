"""The random effects of lives, given the degradation curve, and the curve's loss given them.

Both are fitted in turns, much as EM does it (Dempster, Laird and Rubin 1977): the random effects in
closed form given the curve, then an epoch of the curve given the random effects. For the former
each column of a life also has a level of its own within the error (a random intercept), so that
high readings of one column are not yet a random effect; the latter takes rows as independent, which
is less sharp and as right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_lab.synth.lives.degradation_curve import BASIS, EFFECTS, Curve

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

    def by_life(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield features and values of each life, and which of the latter are known; None: all."""
        order, lives = self.life.argsort(stable=True), self.rows.tolist()
        known = self.known
        rest = [None] * len(lives) if known is None else known[order].split(lives)
        features, values = (each[order].split(lives) for each in (self.features, self.values))
        yield from zip(features, values, rest, strict=True)


@dataclass
class Evidence:
    """What the rows of each life say of its random effects, in double precision: sums over rows of
    the curve's six loadings and its error, column by column.

    `products` (lives, 7, 7, columns) are of each with each, `sums` (lives, 7, columns) of each,
    `rows` (lives, columns) how many are known; `within` (columns,) is the error's variance within a
    life, `share` (columns,) which part of all its variance is the life's level.
    """

    products: Tensor
    sums: Tensor
    rows: Tensor
    within: Tensor
    share: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, curve: Curve, data: CurveData) -> Evidence:
        """Sum over the rows of each life: of the basis that loadings are linear in, for it is
        narrow."""
        found = [_sums_of_life(curve, *life) for life in data.by_life()]
        gram, cross, error = (torch.stack(each) for each in zip(*found, strict=True))
        directions = curve.directions.double()
        loadings = torch.einsum("lbnc,kbc->lknc", cross, directions)
        products = loadings.new_zeros(len(gram), EFFECTS + 1, EFFECTS + 1, gram.shape[-1])
        halves = torch.einsum("lbdc,kbc->lkdc", gram, directions)
        products[:, :-1, :-1] = torch.einsum("lkdc,mdc->lkmc", halves, directions)
        products[:, :-1, -1] = products[:, -1, :-1] = loadings[:, :, 0]
        products[:, -1, -1] = error[:, 0]
        sums = torch.cat([loadings[:, :, 1], error[:, None, 1]], dim=1)
        within = curve.within_life.double() ** -2
        return cls(products, sums, error[:, 2], within, curve.level_share.double())

    def likelihood(self) -> tuple[Tensor, Tensor]:
        """Return the precision of the random effects, (lives, 6, 6), and its product with the mean,
        (lives, 6), the levels of the life integrated out."""
        odds = self.share / (1 - self.share)
        taken = odds / (1 + self.rows * odds) / self.within
        found = (self.products / self.within).sum(dim=3)
        found -= (self.sums * taken[:, None]) @ self.sums.transpose(1, 2)
        return found[:, :-1, :-1], found[:, :-1, -1]

    def level_share(self, mean: Tensor) -> Tensor:
        """Return the share of levels (columns,) in lives with these random effects (lives, 6).

        What shrunk random effects leave of a level counts as one: where few columns share it, it
        stays a level, and is drawn as such.
        """
        explained = torch.einsum("lkc,lk->lc", self.sums[:, :-1], mean.double())
        known, rows = self.rows > 0, self.rows.clamp(min=1)
        level = ((self.sums[:, -1] - explained) / rows).square()
        beyond_chance = level / self.within - 1 / rows
        mean_square = (beyond_chance * known).sum(dim=0) / known.sum(dim=0).clamp(min=1)
        return ((1 - self.share) * mean_square).clamp(0.0, MAX_SHARE).float()


def _sums_of_life(
    curve: Curve, features: Tensor, values: Tensor, known: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums over the rows of a life: of products of the basis with itself, (16, 16, columns),
    with error and one, (16, 2, columns), and of squared error, error and one, (3, columns)."""
    hidden = curve.hidden(features)
    basis, columns = curve.basis(hidden).double(), values.shape[1]
    error = (values - curve.fixed(hidden)[:, :columns]).double()
    if known is None:
        gram = (basis.T @ basis)[:, :, None].expand(-1, -1, columns)
        known = torch.ones_like(error)
    else:
        known = known.double()
        gram = ((basis[:, :, None] * basis[:, None]).flatten(1).T @ known).unflatten(0, (BASIS, -1))
    error = error * known
    cross = (basis.T @ torch.cat([error, known], dim=1)).unflatten(1, (2, columns))
    return gram, cross, torch.stack([error.square().sum(0), error.sum(0), known.sum(0)])


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
