"""What latent codes are drawn from: N(0, 1), or a Gaussian mixture fitted to the codes of the rows.

Encoded rows do not fill the standard normal they are to be drawn from. A density fitted to the
codes after training (ex-post density estimation, Ghosh et al. 2020, arXiv:1903.12436) closes the
gap. Only latent dimensions in use take part; the others stay N(0, 1). It is fitted to draws from
the posterior, not to its means, so that a component never is narrower than what the encoder knows
of one row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_lab.synth.network.tvae_network import Batch, Network

IN_USE = 0.05  # nats of KL above which a latent dimension counts as in use
ROWS = 20_000
ROUNDS = 40


class Prior:
    """A mixture of Gaussians over the dimensions in use: `weights` (k), `means` (k, d), `scales`
    (k, d, d)."""

    def __init__(
        self, embedding_dim: int, dims: Tensor, weights: Tensor, means: Tensor, scales: Tensor
    ) -> None:
        self.embedding_dim = embedding_dim
        self.dims, self.weights, self.means, self.scales = dims, weights, means, scales

    @classmethod
    def normal(cls, embedding_dim: int) -> Prior:
        """Return N(0, 1)."""
        none = torch.zeros(1, 0)
        return cls(
            embedding_dim, torch.zeros(0, dtype=torch.int64), torch.ones(1), none, none[:, :, None]
        )

    @classmethod
    @torch.no_grad()
    def fit(cls, network: Network, rows: Batch, components: int, seed: int) -> Prior:
        """Fit a mixture to the codes of rows, some where they are many."""
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(rows), generator=generator)[:ROWS]
        mu, log_variance = (each.float().cpu() for each in network.encode(rows[chosen]))
        kl = -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).mean(dim=0)
        dims = torch.nonzero(kl > IN_USE)[:, 0]
        if not len(dims) or len(mu) < 10 * components:
            return cls.normal(mu.shape[1])
        std = (0.5 * log_variance[:, dims]).exp()
        codes = mu[:, dims] + std * torch.randn(std.shape, generator=generator)
        weights, means, covariances = _expectation_maximization(codes, components, generator)
        return cls(mu.shape[1], dims, weights, means, torch.linalg.cholesky(covariances))

    def sample(self, rows: int, generator: torch.Generator) -> Tensor:
        """Draw latent codes: (rows, embedding_dim)."""
        z = torch.randn(rows, self.embedding_dim, generator=generator)
        if not len(self.dims):
            return z
        chosen = torch.multinomial(self.weights, rows, replacement=True, generator=generator)
        noise = z[:, self.dims]
        for k, (mean, scale) in enumerate(zip(self.means, self.scales, strict=True)):
            hit = chosen == k
            z[torch.nonzero(hit), self.dims] = mean + noise[hit] @ scale.T
        return z

    def tensors(self) -> dict[str, Tensor]:
        """Return what a file must hold."""
        return {
            "dims": self.dims,
            "weights": self.weights,
            "means": self.means,
            "scales": self.scales,
        }


def _expectation_maximization(
    codes: Tensor, components: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit full covariances, shrunk towards the pooled one by ten rows' worth: weights, means,
    covariances."""
    rows, dims = codes.shape
    means = codes[torch.randperm(rows, generator=generator)[:components]]
    for _ in range(10):
        nearest = torch.cdist(codes, means).argmin(dim=1)
        mass = torch.bincount(nearest, minlength=components).clamp(min=1)
        means = torch.zeros_like(means).index_add_(0, nearest, codes) / mass[:, None]
    shares = torch.nn.functional.one_hot(nearest, components).float()
    pooled = torch.cov(codes.T).reshape(dims, dims)
    for _ in range(ROUNDS):
        mass = shares.sum(dim=0) + 1e-6
        means = shares.T @ codes / mass[:, None]
        covariances = torch.empty(components, dims, dims)
        for k in range(components):
            apart = codes - means[k]
            covariances[k] = (apart * shares[:, k : k + 1]).T @ apart
        covariances = (covariances + 10 * pooled) / (mass + 10)[:, None, None]
        inverse = torch.linalg.inv(torch.linalg.cholesky(covariances))
        log = torch.log(mass / rows) + inverse.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        for k in range(components):
            log_k = (codes - means[k]) @ inverse[k].T
            shares[:, k] = -0.5 * log_k.square().sum(dim=1)
        shares = (shares + log).softmax(dim=1)
    return mass / mass.sum(), means, covariances
