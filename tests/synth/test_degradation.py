"""The degradation curve, and who a life is given the curve."""

from __future__ import annotations

import numpy as np
import torch

from gan_lab.synth.degradation import BETA, EMBEDDING, Curve, CurveData, Embeddings


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


def test_who_a_life_is_follows_from_its_rows_in_closed_form() -> None:
    """Mean and deviation are where the evidence lower bound is stationary."""
    torch.manual_seed(0)
    data = wearing_lives(lives=3)
    curve, columns = Curve(3, 2), 2
    curve.own.weight.data.mul_(100.0)
    found = Embeddings.infer(curve, data, Embeddings.nobody(3, 0).follows)
    mean, log = found.mean.clone().requires_grad_(), found.deviation.log().requires_grad_()
    zero = torch.zeros(len(data.life), EMBEDDING)
    level = curve(data.features, zero)[0].detach()
    loadings = torch.stack(
        [curve(data.features, zero + unit)[0] - level for unit in torch.eye(EMBEDDING)], dim=2
    ).detach()
    guess = level + (loadings * mean[data.life][:, None]).sum(dim=2)
    spread = (loadings.square() * log.exp().square()[data.life][:, None]).sum(dim=2)
    kl = 0.5 * BETA * (mean.square() + (2 * log).exp() - 1 - 2 * log)
    assert torch.allclose(kl.sum(dim=1), found.kl)
    bound = 0.5 * ((data.values - guess).square() + spread).sum() + kl.sum()
    bound.backward()
    scale = BETA * EMBEDDING * columns
    assert mean.grad is not None and mean.grad.abs().max() < 1e-4 * scale
    assert log.grad is not None and log.grad.abs().max() < 1e-4 * scale
    assert found.mean.abs().max() > 0.05 and found.deviation.min() < 0.99


def test_a_missing_value_says_nothing_of_a_life() -> None:
    torch.manual_seed(0)
    data = wearing_lives(lives=4)
    curve, gone = Curve(3, 2), torch.rand(data.values.shape) < 0.3
    found = []
    for lie in (0.0, 1e6):
        values = torch.where(gone, torch.nan, data.values)
        gappy = CurveData(data.features, values, data.life, data.rows, data.told)
        gappy.values[gone] = lie
        found.append(Embeddings.infer(curve, gappy).mean)
    assert torch.equal(*found)


def test_a_long_quiet_life_is_found_as_exactly_as_a_short_one() -> None:
    """A hundred thousand rows with little noise say so much that single precision would lose it."""
    torch.manual_seed(0)
    rows = 100_000
    features = torch.linspace(0, 1, rows)[:, None]
    curve, w = Curve(1, 2), torch.randn(EMBEDDING)
    values = curve(features, w.expand(rows, -1))[0].detach()
    curve.log_sigma.data.fill_(-4.0)
    ofs = torch.zeros(rows, dtype=torch.int64), torch.tensor([rows]), torch.zeros(1, 0)
    found = Embeddings.infer(
        curve, CurveData(features, values, *ofs), Embeddings.nobody(1, 0).follows
    )
    again = curve(features, found.mean.expand(rows, -1))[0].detach()
    assert (again - values).abs().max() < 0.2 * np.exp(-4.0)


def test_the_curve_is_linear_in_who_a_life_is() -> None:
    torch.manual_seed(0)
    curve, features = Curve(5, 3), torch.randn(20, 5)

    def value(w: torch.Tensor) -> torch.Tensor:
        return curve(features, w.expand(20, -1))[0]

    one, other, nobody = torch.randn(EMBEDDING), torch.randn(EMBEDDING), torch.zeros(EMBEDDING)
    both = value(one) + value(other) - value(nobody)
    assert torch.allclose(value(one + other), both, atol=1e-5)
    assert not torch.allclose(value(one), value(nobody), atol=1e-3)
