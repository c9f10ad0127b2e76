"""The prior of latent codes follows codes that are not normal, and stays N(0, 1) elsewhere."""

from dataclasses import dataclass

import pytest
import torch

from gan_lab.synth.network.latent_prior import Prior


@dataclass
class Encoder:
    """Codes of rows that are known by their numbers."""

    mu: torch.Tensor
    log_variance: torch.Tensor

    def encode(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.mu[rows], self.log_variance[rows]


def test_the_prior_follows_codes_that_are_not_normal() -> None:
    torch.manual_seed(0)
    side = torch.randint(0, 2, (4000,)) * 2 - 1
    mu = torch.stack([2.0 * side, -2.0 * side, torch.zeros(4000)], dim=1)
    encoder = Encoder(mu, torch.full_like(mu, -4.0) * torch.tensor([1, 1, 0]))
    prior = Prior.fit(encoder, torch.arange(4000), 5, seed=0)  # type: ignore[arg-type]
    drawn = prior.sample(4000, torch.Generator().manual_seed(0))
    assert prior.dims.tolist() == [0, 1]
    assert (drawn[:, 0] * drawn[:, 1] < 0).float().mean() > 0.99
    assert drawn[:, 2].std().item() == pytest.approx(1, abs=0.05)


def test_too_few_rows_leave_the_standard_normal() -> None:
    mu = torch.randn(40, 2) * 3
    encoder = Encoder(mu, torch.full_like(mu, -4.0))
    prior = Prior.fit(encoder, torch.arange(40), 5, seed=0)  # type: ignore[arg-type]
    drawn = prior.sample(5000, torch.Generator().manual_seed(0))
    assert len(prior.dims) == 0
    assert drawn.std(dim=0).tolist() == pytest.approx([1, 1], abs=0.05)
