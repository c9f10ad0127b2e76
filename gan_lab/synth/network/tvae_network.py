"""The network of a TVAE: SDV's encoder and decoder, optionally conditioned, with all groups scored
at once.

Xu et al. 2019 (arXiv:1907.00503) for the TVAE, Sohn et al. 2015 for the conditioning: the same
matrix `conditions` (rows, n) is fed to the encoder beside the row and to the decoder beside the
latent code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_lab.synth.network.encoding import Encoded


@dataclass(frozen=True)
class Bucket:
    """Groups of like width that share one softmax: their place among the cells, and their
    number."""

    start: int
    groups: list[int]
    width: int

    @property
    def stop(self) -> int:
        """The first cell after the bucket."""
        return self.start + len(self.groups) * self.width

    def of(self, cells: Tensor) -> Tensor:
        """Return the bucket's part of all cells: (rows, groups, width)."""
        return cells[:, self.start : self.stop].unflatten(1, (len(self.groups), self.width))


class Layout:
    """Where the cells of each softmax group lie: groups of like width are padded to one, side by
    side."""

    def __init__(self, deviations: int, widths: Sequence[int]) -> None:
        self.deviations = deviations
        self.widths = list(widths)
        self.buckets: list[Bucket] = []
        order = sorted(range(len(widths)), key=lambda group: widths[group])
        start, first = 0, 0
        while first < len(order):
            least = max(5, 2 * widths[order[first]])
            groups = [group for group in order[first:] if widths[group] <= least]
            self.buckets.append(Bucket(start, groups, widths[groups[-1]]))
            start, first = self.buckets[-1].stop, first + len(groups)
        self.cells = start
        self.offsets = torch.zeros(len(widths), dtype=torch.int64)
        self.padding = torch.full((start,), -1e9)
        for bucket in self.buckets:
            for place, group in enumerate(bucket.groups):
                self.offsets[group] = offset = bucket.start + place * bucket.width
                self.padding[offset : offset + widths[group]] = 0.0


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

    padding: Tensor

    def __init__(
        self,
        layout: Layout,
        embedding_dim: int = 128,
        compress_dims: Sequence[int] = (128, 128),
        decompress_dims: Sequence[int] = (128, 128),
        conditions: int = 0,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.embedding_dim = embedding_dim
        self.conditions = conditions
        columns = layout.deviations + layout.cells
        sizes = [columns + conditions, *compress_dims]
        self.encoder = nn.Sequential(*_stack(sizes), nn.Linear(sizes[-1], 2 * embedding_dim))
        sizes = [embedding_dim + conditions, *decompress_dims]
        self.decoder = nn.Sequential(*_stack(sizes), nn.Linear(sizes[-1], columns))
        self.sigma = nn.Parameter(torch.full((layout.deviations,), 0.1))
        self.register_buffer("padding", layout.padding.clone(), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.sigma.device

    def batch(self, encoded: Encoded, conditions: np.ndarray | None = None) -> Batch:
        """Move encoded rows (and their conditions) to the network's device, once."""
        device = self.device
        cells = torch.from_numpy(encoded.codes).to(torch.int32) + self.layout.offsets.to(
            torch.int32
        )
        return Batch(
            torch.from_numpy(encoded.deviations).to(device),
            cells.to(device),
            None if conditions is None else torch.from_numpy(conditions).float().to(device),
        )

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latent codes of the rows: each (rows,
        embedding_dim)."""
        mu, log_variance = self._encode(*self._expand(batch), batch.conditions)
        return mu, log_variance

    def _expand(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return deviations without NaN and the one-hot cells."""
        one_hot = batch.deviations.new_zeros(len(batch), self.layout.cells)
        one_hot.scatter_(1, batch.cells.long(), 1.0)
        return batch.deviations.nan_to_num(0.0), one_hot

    def _encode(
        self, deviations: Tensor, one_hot: Tensor, conditions: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        parts = [deviations, one_hot] if conditions is None else [deviations, one_hot, conditions]
        mu, log_variance = self.encoder(torch.cat(parts, dim=1)).chunk(2, dim=1)
        return mu, log_variance

    def decode(self, z: Tensor, conditions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return means of the deviations (rows, n) and logits of all cells (rows, cells)."""
        out = self.decoder(z if conditions is None else torch.cat([z, conditions], dim=1)).float()
        means, logits = out.split([self.layout.deviations, self.layout.cells], dim=1)
        return means.tanh(), logits + self.padding

    def losses(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstruction and KL of a batch, in nats a row (SDV's, before `loss_factor`)."""
        deviations, one_hot = self._expand(batch)
        mu, log_variance = self._encode(deviations, one_hot, batch.conditions)
        mu, log_variance = mu.float(), log_variance.float()
        std, noise = (0.5 * log_variance).exp(), moved(noise, self.device)
        kl = 0.5 * (mu.square() + std.square() - log_variance - 1).sum()
        means, logits = self.decode(torch.addcmul(mu, noise, std), batch.conditions)
        errors = (deviations - means).square() / (2 * self.sigma.square()) + self.sigma.log()
        reconstruction = errors.masked_fill(batch.deviations.isnan(), 0.0).sum()
        reconstruction = reconstruction + cross_entropy(logits, batch.cells, self.layout.buckets)
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
        codes = torch.empty(len(z), len(self.layout.widths), dtype=torch.int16, device=device)
        for bucket in self.layout.buckets:
            part = bucket.of(logits)
            shares = (part - part.amax(dim=2, keepdim=True)).exp_().cumsum(dim=2)
            chance = moved(torch.rand(shares.shape[:2], generator=generator), device)
            mark = (1 - chance)[:, :, None] * shares[:, :, -1:]
            codes[:, bucket.groups] = torch.searchsorted(shares, mark)[:, :, 0].to(torch.int16)
        noise = moved(torch.randn(means.shape, generator=generator), device)
        deviations = torch.addcmul(means, noise, self.sigma)
        return Encoded(deviations.cpu().numpy(), codes.cpu().numpy())


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy of all softmax groups; its gradient is made on the way forward, in one pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, cells: Tensor, buckets: list[Bucket]) -> Tensor:
        shares = torch.empty_like(logits)
        total = -logits.gather(1, cells).sum()
        for bucket in buckets:
            part, share = bucket.of(logits), bucket.of(shares)
            highest = part.amax(dim=2, keepdim=True)
            torch.sub(part, highest, out=share).exp_()
            mass = share.sum(dim=2, keepdim=True)
            share /= mass
            total += mass.log_().add_(highest).sum()
        ctx.save_for_backward(shares.scatter_add_(1, cells, shares.new_full(cells.shape, -1.0)))
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (shares,) = ctx.saved_tensors
        return shares * gradient, None, None


def cross_entropy(logits: Tensor, cells: Tensor, buckets: list[Bucket]) -> Tensor:
    """Return the summed cross-entropy of logits (rows, cells) for the cells that were taken, in
    nats."""
    total: Tensor = _CrossEntropy.apply(logits, cells.long(), buckets)
    return total
