"""The network of a TVAE: SDV's encoder and decoder, optionally conditioned.

Xu et al. 2019 (arXiv:1907.00503) for the TVAE, Sohn et al. 2015 for the conditioning: the same
matrix `conditions` (rows, n) is fed to the encoder beside the row and to the decoder beside the
latent code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan_lab.synth.network.encoding import Encoded


@dataclass
class Batch:
    """Encoded rows on the device: deviations (NaN where there is none), cells taken, conditions."""

    deviations: Tensor
    cells: Tensor
    conditions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, rows: Tensor | slice) -> Batch:
        if isinstance(rows, Tensor):
            rows = moved(rows, self.cells.device)
        conditions = None if self.conditions is None else _taken(self.conditions, rows)
        return Batch(_taken(self.deviations, rows), _taken(self.cells, rows), conditions)


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to a device, from pinned memory so that nothing waits for the device.

    What is random is drawn on the processor and moved: the same seed then means the same numbers
    on every device.
    """
    if values.device.type == device.type:
        return values
    pinned = values.pin_memory() if device.type == "cuda" else values
    return pinned.to(device, non_blocking=True)


def _taken(values: Tensor, rows: Tensor | slice) -> Tensor:
    """Return rows of a matrix; by number, `index_select` takes a quarter of the time of []."""
    if isinstance(rows, slice) or rows.dtype == torch.bool:
        return values[rows]
    return values.index_select(0, rows)


def _stack(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers


class Network(nn.Module):
    """Encoder, decoder and the scale of each deviation; sizes mean what SDV's options of that name
    mean."""

    offsets: Tensor

    def __init__(
        self,
        deviations: int,
        widths: Sequence[int],
        embedding_dim: int = 128,
        compress_dims: Sequence[int] = (128, 128),
        decompress_dims: Sequence[int] = (128, 128),
        conditions: int = 0,
    ) -> None:
        super().__init__()
        self.deviations, self.widths = deviations, list(widths)
        self.embedding_dim, self.conditions = embedding_dim, conditions
        columns = deviations + sum(widths)
        sizes = [columns + conditions, *compress_dims]
        self.encoder = nn.Sequential(*_stack(sizes), nn.Linear(sizes[-1], 2 * embedding_dim))
        sizes = [embedding_dim + conditions, *decompress_dims]
        self.decoder = nn.Sequential(*_stack(sizes), nn.Linear(sizes[-1], columns))
        self.sigma = nn.Parameter(torch.full((deviations,), 0.1))
        offsets = torch.tensor([0, *widths], dtype=torch.int64).cumsum(0)[:-1]
        self.register_buffer("offsets", offsets, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.sigma.device

    def batch(self, encoded: Encoded, conditions: np.ndarray | None = None) -> Batch:
        """Move encoded rows (and their conditions) to the network's device, once."""
        device = self.device
        return Batch(
            torch.from_numpy(encoded.deviations).to(device),
            torch.from_numpy(encoded.codes).to(device, torch.int32),
            None if conditions is None else torch.from_numpy(conditions).float().to(device),
        )

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latent codes of the rows: each (rows,
        embedding_dim)."""
        one_hot = batch.deviations.new_zeros(len(batch), sum(self.widths))
        one_hot.scatter_(1, batch.cells + self.offsets, 1.0)
        parts = [batch.deviations.nan_to_num(0.0), one_hot]
        parts += [] if batch.conditions is None else [batch.conditions]
        mu, log_variance = self.encoder(torch.cat(parts, dim=1)).chunk(2, dim=1)
        return mu, log_variance

    def decode(self, z: Tensor, conditions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return means of the deviations (rows, n) and logits of all cells (rows, cells)."""
        out = self.decoder(z if conditions is None else torch.cat([z, conditions], dim=1))
        return out[:, : self.deviations].tanh(), out[:, self.deviations :]

    def losses(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstruction and KL of a batch, in nats a row (SDV's, before `loss_factor`)."""
        mu, log_variance = self.encode(batch)
        std, noise = (0.5 * log_variance).exp(), moved(noise, self.device)
        kl = 0.5 * (mu.square() + std.square() - log_variance - 1).sum()
        means, logits = self.decode(torch.addcmul(mu, noise, std), batch.conditions)
        missing, apart = batch.deviations.isnan(), batch.deviations.nan_to_num(0.0) - means
        errors = apart.square() / (2 * self.sigma.square()) + self.sigma.log()
        reconstruction = errors.masked_fill(missing, 0.0).sum()
        for group, taken in zip(logits.split(self.widths, dim=1), batch.cells.T, strict=True):
            reconstruction = reconstruction + cross_entropy(group, taken.long(), reduction="sum")
        return reconstruction / len(batch), kl / len(batch)

    def clamp_sigma(self) -> None:
        """Keep the scale of the deviations within SDV's bounds."""
        self.sigma.data.clamp_(0.01, 1.0)

    @torch.no_grad()
    def draw(
        self, z: Tensor, generator: torch.Generator, conditions: Tensor | None = None
    ) -> Encoded:
        """Draw rows from latent codes: each cell from its softmax, where SDV takes the mode."""
        device = self.device
        conditions = None if conditions is None else moved(conditions, device)
        means, logits = self.decode(moved(z, device), conditions)
        codes = torch.empty(len(z), len(self.widths), dtype=torch.int16, device=device)
        for number, group in enumerate(logits.split(self.widths, dim=1)):
            shares = group.softmax(dim=1).cumsum(dim=1)
            chance = moved(torch.rand(len(z), 1, generator=generator), device)
            marks = (1 - chance) * shares[:, -1:]
            codes[:, number] = torch.searchsorted(shares, marks)[:, 0].to(torch.int16)
        noise = moved(torch.randn(means.shape, generator=generator), device)
        deviations = torch.addcmul(means, noise, self.sigma)
        return Encoded(deviations.cpu().numpy(), codes.cpu().numpy())
