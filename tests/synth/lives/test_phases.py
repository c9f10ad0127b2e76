"""The phases of a training of lives: the curve learns conditions first, then how lives differ."""

from __future__ import annotations

import torch

from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.degradation_curve import Curve
from gan_lab.synth.lives.phases import CurveObjective, early_stopping
from gan_lab.synth.lives.random_effects import CurveData

CONFIG = TrainConfig(batch_size=50)


def data(conditions: int, lives: int = 4) -> CurveData:
    life = torch.arange(lives).repeat_interleave(50)
    features = torch.randn(len(life), 3, generator=torch.Generator().manual_seed(0))
    values = features[:, :1] * 2 + life[:, None]
    told = torch.zeros(lives, conditions)
    return CurveData(features, values, life, torch.full((lives,), 50), told)


def test_the_curve_learns_conditions_before_it_learns_how_lives_differ() -> None:
    torch.manual_seed(0)
    objective = CurveObjective(Curve(3, 1), data(1), data(1, 0), CONFIG, epochs=10)
    objective.before_epoch(0)
    assert not objective.effects.mean.any()
    assert not objective.curve.random.weight.requires_grad
    objective.before_epoch(2)  # a fifth of all epochs later
    assert objective.effects.mean.any()
    assert objective.curve.random.weight.requires_grad
    assert objective.validation() is None
    plain = CurveObjective(Curve(3, 1), data(0), data(0, 2), CONFIG, epochs=10)
    plain.before_epoch(0)  # without conditions, lives differ from the beginning
    assert plain.effects.mean.any()
    assert plain.validation() == plain.validation() != 0


def test_a_phase_of_many_rows_takes_fewer_epochs() -> None:
    few, many = (early_stopping(0, 100, 0.1, steps, columns=5) for steps in (20, 2_000))
    assert (few.steady, few.patience) == (75, 10)
    assert (many.steady, many.patience) == (2, 2)
    assert many.min_delta == few.min_delta == 0.01
