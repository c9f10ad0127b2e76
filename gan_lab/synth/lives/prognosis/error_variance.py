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
        curve = Curve.from_weights(curve.state_dict())
        hidden = curve.hidden(data.features)
        error = data.values - curve.fixed(hidden)[:, : len(curve.log_sigma)]
        loadings, life, lives = curve.loadings(hidden), data.life, len(data.rows)
        known = torch.ones_like(error) if data.known is None else data.known

        def total(rows: Tensor) -> Tensor:
            return torch.zeros(lives, *rows.shape[1:]).index_add_(0, life, rows)

        count = total(known)
        loadings = loadings * known[:, None]
        mean_loadings = total(loadings) / count.clamp(min=1)[:, None]
        beside = (loadings - mean_loadings[life]) * known[:, None]  # what a level does not take
        free = (count - 1).clamp(min=0).sum(dim=0)
        share, variance = curve.level_share, (2 * curve.log_sigma).exp()
        usual = cls(variance * (1 - share), variance * share)  # of columns that no life tells of
        for _ in range(ROUNDS):
            precision, pull = Evidence.of(curve, data).likelihood()
            prior = torch.eye(EFFECTS, dtype=torch.float64)
            covariance = torch.linalg.inv(precision + prior)
            effects = (covariance @ pull[:, :, None])[:, :, 0].float()
            covariance = covariance.float()
            rest = (error - (loadings * effects[life][:, :, None]).sum(dim=1)) * known
            mean = total(rest) / count.clamp(min=1)
            squares = (((rest - mean[life]) * known) ** 2).sum(dim=0)
            squares += torch.einsum("rkc,rkm,rmc->c", beside, covariance[life], beside)
            within = squares / free.clamp(min=1)
            level = mean.square() + torch.einsum(
                "lkc,lkm,lmc->lc", mean_loadings, covariance, mean_loadings
            )
            level = (level - within / count.clamp(min=1)) * (count > 0)
            level = level.sum(dim=0) / (count > 0).sum(dim=0).clamp(min=1)
            found = cls(
                torch.where(free > 0, within, usual.within).clamp(min=LEAST),
                torch.where(free > 0, level, usual.level).clamp(min=0.0),
            )
            found.give([found], curve)
        return found

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
