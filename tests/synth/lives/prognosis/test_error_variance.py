"""The errors of lives that a curve was not fitted to: how large, how much of them is a level."""

from __future__ import annotations

import torch

from gan_lab.synth.lives.degradation_curve import EFFECTS, WEAR_FEATURES, Curve
from gan_lab.synth.lives.prognosis.error_variance import ErrorVariance
from gan_lab.synth.lives.random_effects import CurveData

LIVES, ROWS = 200, 50
WITHIN, LEVEL = torch.tensor([0.25, 4.0, 1.0]), torch.tensor([1.0, 0.0, 0.5])


def planted(missing: float = 0.0) -> tuple[Curve, CurveData]:
    """Return a curve that is too sure of itself, and lives that lie around it at random."""
    generator = torch.Generator().manual_seed(3)
    torch.manual_seed(3)
    curve = Curve(WEAR_FEATURES, 3)
    with torch.no_grad():
        curve.log_sigma.fill_(-3.0)
        curve.random.weight.mul_(150)  # random effects move columns by about half a unit
    life = torch.arange(LIVES).repeat_interleave(ROWS)
    features = torch.rand(LIVES * ROWS, WEAR_FEATURES, generator=generator)
    effects = torch.randn(LIVES, EFFECTS, generator=generator)
    with torch.no_grad():
        value, _ = curve(features, effects[life])
    levels = torch.randn(LIVES, 3, generator=generator) * LEVEL.sqrt()
    noise = torch.randn(value.shape, generator=generator) * WITHIN.sqrt()
    values = value + levels[life] + noise
    values[torch.rand(values.shape, generator=generator) < missing] = torch.nan
    rows = torch.full((LIVES,), ROWS)
    return curve, CurveData(features, values, life, rows, torch.zeros(LIVES, 0))


def test_variances_within_and_between_lives_are_told_apart() -> None:
    for missing in (0.0, 0.4):
        curve, data = planted(missing)
        found = ErrorVariance.of(curve, data)
        torch.testing.assert_close(found.within, WITHIN, rtol=0.1, atol=0.0)
        torch.testing.assert_close(found.level, LEVEL, rtol=0.25, atol=0.05)
        assert (curve.log_sigma == -3.0).all()  # it was asked of a copy


def test_a_curve_is_given_the_mean_of_the_folds() -> None:
    curve, _ = planted()
    before = curve.log_sigma.clone()
    ErrorVariance.give([], curve)
    torch.testing.assert_close(curve.log_sigma, before)
    folds = [ErrorVariance(each * WITHIN, each * LEVEL) for each in (0.5, 1.5)]
    ErrorVariance.give(folds, curve)
    torch.testing.assert_close(curve.log_sigma.exp().square(), WITHIN + LEVEL)
    torch.testing.assert_close(curve.within_life, WITHIN.rsqrt())
