"""The degradation curve, and who a life is given the curve."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_lab.synth.lives.degradation_curve import EFFECTS, MIN_BETA, Curve
from gan_lab.synth.lives.random_effects import MAX_SHARE, CurveData, Evidence, RandomEffects


def wearing_lives(lives: int) -> CurveData:
    """Return lives of 50 rows that differ in two columns."""
    rng, life = np.random.default_rng(0), np.arange(lives).repeat(50)
    worn = np.tile(np.linspace(0, 1, 50), lives)
    own = rng.normal(size=lives)[life]
    values = np.stack([own * worn, own], axis=1) + 0.1 * rng.normal(size=(len(life), 2))
    features = np.column_stack([worn, worn**2, np.ones_like(worn)])
    numbers = (torch.from_numpy(x.astype(np.float32)) for x in (features, values))
    ofs = torch.from_numpy(life), torch.full((lives,), 50), torch.zeros(lives, 0)
    return CurveData(*numbers, *ofs)


def unconditional(curve: Curve, data: CurveData) -> RandomEffects:
    """Return who the lives are where nothing is told of them."""
    return RandomEffects.fit(curve, data, RandomEffects.zero(curve, data).by_condition)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_who_a_life_is_follows_from_its_rows_in_closed_form(share: float) -> None:
    """Mean and deviation are where the evidence lower bound is stationary, with or without levels
    that a column has of its own in each life."""
    torch.manual_seed(0)
    data = wearing_lives(lives=3)
    curve, columns, rows = Curve(3, 2), 2, 50
    curve.random.weight.data.mul_(100.0)
    curve.level_share.copy_(torch.tensor([share, 0.0]))
    found = unconditional(curve, data)
    mean, log = found.mean.clone().requires_grad_(), found.deviation.log().requires_grad_()
    zero = torch.zeros(len(data.life), EFFECTS)
    level = curve(data.features, zero)[0].detach()
    loadings = torch.stack(
        [curve(data.features, zero + unit)[0] - level for unit in torch.eye(EFFECTS)], dim=2
    ).detach()
    error = data.values - level - (loadings * mean[data.life][:, None]).sum(dim=2)
    kl = 0.5 * MIN_BETA * (mean.square() + (2 * log).exp() - 1 - 2 * log)
    assert torch.allclose(kl.sum(dim=1), found.kl)
    bound = kl.sum()
    for column, own in enumerate(curve.level_share):
        precision = torch.linalg.inv((1 - own) * torch.eye(rows) + own * torch.ones(rows, rows))
        for life in range(3):
            mine = data.life == life
            misfit = error[mine, column] @ precision @ error[mine, column]
            load = loadings[mine, column]
            spread = ((load.T @ precision @ load).diagonal() * (2 * log[life]).exp()).sum()
            bound = bound + 0.5 * (misfit + spread)
    bound.backward()
    scale = MIN_BETA * EFFECTS * columns
    assert mean.grad is not None and mean.grad.abs().max() < 1e-4 * scale
    assert log.grad is not None and log.grad.abs().max() < 1e-4 * scale
    assert found.mean.abs().max() > 0.05 and found.deviation.min() < 0.99


def test_high_readings_of_one_column_are_no_embedding_yet() -> None:
    """What each column of a life may well be by itself says little of who the life is."""
    torch.manual_seed(0)
    curve, rows = Curve(1, 8), 200
    curve.random.weight.data.mul_(10.0)
    features = torch.linspace(-2, 2, rows)[:, None]
    ofs = torch.zeros(rows, dtype=torch.int64), torch.tensor([rows]), torch.zeros(1, 0)
    plain = curve(features, torch.zeros(rows, EFFECTS))[0].detach()
    high = plain + (torch.arange(8) == 3)
    found = {}
    for share in (0.0, 0.5):
        curve.level_share.fill_(share)
        found[share] = unconditional(curve, CurveData(features, high, *ofs)).mean.norm()
    assert found[0.5] < 0.5 * found[0.0]


@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_the_share_of_levels_is_found(gaps: float) -> None:
    torch.manual_seed(0)
    lives, rows, share = 3_000, 12, torch.tensor([0.0, 0.2, 0.7])
    life = torch.arange(lives).repeat_interleave(rows)
    curve, features, w = Curve(2, 3), torch.randn(len(life), 2), torch.randn(lives, EFFECTS)
    curve.random.weight.data.mul_(150.0)
    values = curve(features, w[life])[0].detach() + torch.randn(lives, 3)[life] * share.sqrt()
    values += torch.randn(len(life), 3) * (1 - share).sqrt()
    values[torch.rand(values.shape) < gaps] = torch.nan
    data = CurveData(features, values, life, torch.full((lives,), rows), torch.zeros(lives, 0))
    for _ in range(4):
        curve.level_share.copy_(Evidence.of(curve, data).level_share(w))
    assert torch.allclose(curve.level_share, share, atol=0.06)
    curve.level_share.copy_(Evidence.of(curve, data).level_share(torch.zeros_like(w)))
    assert (curve.level_share > share + 0.1).all()  # what an embedding tells is no level


def test_sixty_columns_that_say_the_same_of_a_life_say_it_once() -> None:
    """Four copies of as many columns as the least weight is meant for tell no more than one."""
    torch.manual_seed(0)
    data, few, many = wearing_lives(lives=3), Curve(3, 16), Curve(3, 64)
    few.random.weight.data.mul_(300.0)
    few.level_share.zero_()
    of_columns = ("fixed", "random", "log_sigma", "level_share")
    for name, weight in many.state_dict().items():
        told = few.state_dict()[name]
        copies = 4 if name.split(".")[0] in of_columns else 1
        weight.copy_(told.repeat(copies, *[1] * (told.ndim - 1)))
    found = []
    for curve, copies in ((few, 8), (many, 32)):
        values = data.values.repeat(1, copies)
        rows = CurveData(data.features, values, data.life, data.rows, data.conditions)
        found.append(unconditional(curve, rows))
    assert torch.allclose(found[0].mean, found[1].mean, atol=1e-4)
    assert torch.allclose(found[0].deviation, found[1].deviation, atol=1e-4)
    assert found[0].mean.abs().max() > 0.1 and found[0].deviation.min() < 0.9


def test_a_missing_value_says_nothing_of_a_life() -> None:
    torch.manual_seed(0)
    data = wearing_lives(lives=4)
    curve, gone = Curve(3, 2), torch.rand(data.values.shape) < 0.3
    found = []
    for lie in (0.0, 1e6):
        values = torch.where(gone, torch.nan, data.values)
        gappy = CurveData(data.features, values, data.life, data.rows, data.conditions)
        gappy.values[gone] = lie
        found.append(RandomEffects.fit(curve, gappy).mean)
    assert torch.equal(*found)


def test_a_long_quiet_life_is_found_as_exactly_as_a_short_one() -> None:
    """A hundred thousand rows with little noise say so much that single precision would lose it."""
    torch.manual_seed(0)
    rows = 100_000
    features = torch.linspace(0, 1, rows)[:, None]
    curve, w = Curve(1, 2), torch.randn(EFFECTS)
    values = curve(features, w.expand(rows, -1))[0].detach()
    curve.log_sigma.data.fill_(-4.0)
    ofs = torch.zeros(rows, dtype=torch.int64), torch.tensor([rows]), torch.zeros(1, 0)
    curve.level_share.zero_()  # else it might be its levels
    found = unconditional(curve, CurveData(features, values, *ofs))
    again = curve(features, found.mean.expand(rows, -1))[0].detach()
    assert (again - values).abs().max() < 0.2 * np.exp(-4.0)


def test_however_quiet_a_long_life_is_its_levels_take_no_more_than_there_is() -> None:
    """What levels may explain is nearly all of sums over many rows: it is taken off exactly."""
    torch.manual_seed(0)
    rows = 100_000
    features = 1e-3 * torch.linspace(0, 1, rows)[:, None]  # a curve that hardly moves
    curve = Curve(1, 2)
    curve.random.weight.data.mul_(300.0)
    curve.log_sigma.data.fill_(-6.0)
    curve.level_share.fill_(MAX_SHARE)
    ofs = torch.zeros(rows, dtype=torch.int64), torch.tensor([rows]), torch.zeros(1, 0)
    precision, _ = Evidence.of(curve, CurveData(features, torch.zeros(rows, 2), *ofs)).likelihood()
    assert torch.linalg.eigvalsh(precision).min() > -1e-3 * MIN_BETA


def test_the_curve_is_linear_in_who_a_life_is() -> None:
    torch.manual_seed(0)
    curve, features = Curve(5, 3), torch.randn(20, 5)

    def value(w: torch.Tensor) -> torch.Tensor:
        return curve(features, w.expand(20, -1))[0]

    one, other, nobody = torch.randn(EFFECTS), torch.randn(EFFECTS), torch.zeros(EFFECTS)
    both = value(one) + value(other) - value(nobody)
    assert torch.allclose(value(one + other), both, atol=1e-5)
    assert not torch.allclose(value(one), value(nobody), atol=1e-3)
