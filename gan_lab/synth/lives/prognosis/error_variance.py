"""How far readings lie from the degradation curve of lives that it was not fitted to.

A curve with six random effects passes close to each of a few lives: what it leaves of these is less
than it will leave of the next one, and an answer that trusts it is wrong and sure of itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_lab.synth.lives.degradation_curve import EFFECTS, Curve
from gan_lab.synth.lives.random_effects import MAX_SHARE, CurveData, Evidence

ROUNDS = 20  # of expectation and maximization
LEAST = 1e-6


@dataclass
class ErrorVariance:
    """The variance of each column beside the curve, (columns,): `within` a life, and of its
    `level`, in units of the regime's spread."""

    within: Tensor
    level: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, curve: Curve, data: CurveData) -> ErrorVariance:
        """Estimate both from lives that the curve was not fitted to, in turns with their random
        effects (EM for variance components, Laird and Ware 1982)."""
        evidence = Evidence.of(curve, data)
        rows, sums, share = evidence.rows, evidence.sums, evidence.share
        some, free = rows.clamp(min=1), (rows - 1).clamp(min=0).sum(dim=0)
        apart = evidence.products - sums[:, :, None] * sums[:, None] / some[:, None, None]
        lives = (rows > 0).sum(dim=0)
        usual = evidence.within  # of columns that no life tells of
        within, level = usual, usual * share / (1 - share)
        usual_level = level
        for _ in range(ROUNDS):
            precision, pull = evidence.likelihood()
            covariance = torch.linalg.inv(precision + torch.eye(EFFECTS, dtype=torch.float64))
            mean = covariance @ pull[:, :, None]
            effects = torch.cat([mean, -torch.ones_like(mean[:, :1])], dim=1)
            second = effects @ effects.transpose(1, 2)
            second[:, :-1, :-1] += covariance
            within = torch.einsum("lkm,lkmc->c", second, apart) / free.clamp(min=1)
            level = torch.einsum("lkm,lkc,lmc->lc", second, sums, sums) / some.square()
            level = ((level - within / some) * (rows > 0)).sum(dim=0) / lives.clamp(min=1)
            within = torch.where(free > 0, within, usual).clamp(min=LEAST)
            level = torch.where(free > 0, level, usual_level).clamp(min=0.0)
            evidence.share = (level / (within + level)).clamp(max=MAX_SHARE)
            evidence.within = (within + level) * (1 - evidence.share)
        return cls(within.float(), level.float())

    @staticmethod
    def give(found: list[ErrorVariance], curve: Curve) -> None:
        """Give a curve the mean of some variances, where there are any, in place of those of its
        own training lives."""
        if not found:
            return
        within = torch.stack([each.within for each in found]).mean(dim=0)
        level = torch.stack([each.level for each in found]).mean(dim=0)
        with torch.no_grad():
            curve.log_sigma.copy_((within + level).log() / 2)
            curve.level_share.copy_((level / (within + level)).clamp(max=MAX_SHARE))
