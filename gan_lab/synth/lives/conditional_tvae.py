"""Step scores: a conditional TVAE of what is left of the numbers of a row, and of its categories.

A TVAE (Xu et al. 2019) conditioned on wear, regime, life (Sohn et al. 2015) and the categories of
the rows before models normal scores of all numbers and the categories of a row together. It is
fitted by the evidence lower bound itself: a heavier reconstruction makes the latent code carry
plain noise, which the prior then draws less well than the decoder would.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.memory import past_averages
from gan_lab.synth.lives.packed import Floats, Ints, Packed
from gan_lab.synth.network.build import build_network
from gan_lab.synth.network.encoding import Column, Encoded, EncodedNumber, Encoding
from gan_lab.synth.network.latent_prior import Prior
from gan_lab.synth.network.normal_scores import stretches
from gan_lab.synth.network.tvae_network import Batch, Network

MAX_CELLS = 32  # of a category, the most frequent, whose past is a condition
DECAYS = (0.0, 0.8, 0.95)  # of averages of the categories of the rows before
WIDTHS = (64,)  # of the network's layers: wider ones learn no more of what is left
PRIOR_COMPONENTS = 10
DRAW_ROWS = 16_384  # at once

Cells = NDArray[np.int16]


@dataclass
class ConditionalTVAE:
    """`encoding` is of the numbers, then of the categories `groups` (of the table's encoding)."""

    encoding: Encoding
    groups: list[int]
    network: Network
    prior: Prior

    @classmethod
    def build(
        cls,
        numbers: Floats,
        categories: list[Column],
        codes: Cells,
        groups: list[int],
        static: int,
        config: TrainConfig,
    ) -> tuple[ConditionalTVAE, Encoded]:
        """Return a network that is not trained yet, and its encoded rows.

        `numbers` is (rows, columns); `categories` encode the table's `codes` (rows, all
        categories), of which `groups` are drawn; `static` is how many features a row has.
        """
        frame = pd.DataFrame(numbers, columns=[f"#{n}" for n in range(numbers.shape[1])])
        columns: list[Column] = [
            EncodedNumber(name, "float64", stretches=stretches(*np.unique(own, return_counts=True)))
            for name, own in frame.items()
        ]
        drawn = [categories[group] for group in groups]
        scores = Encoding(columns).encode(frame)
        rows = Encoded(scores.deviations, np.concatenate([scores.codes, codes[:, groups]], axis=1))
        encoding = Encoding(columns + drawn)
        conditions = static + len(DECAYS) * sum(map(_width, drawn))
        network = build_network(encoding, config, conditions, WIDTHS)
        start_at_marginals(network, rows)
        return cls(encoding, groups, network, Prior.normal(config.embedding_dim)), rows

    def conditions(
        self, static: NDArray[np.float32], codes: Cells, packed: Packed
    ) -> NDArray[np.float32]:
        """Return the conditions of each row: its features, and averages of the categories of the
        rows before."""
        if not self.groups:
            return static
        before = past_averages(self._one_hot(codes[:, self.groups]), packed, DECAYS)
        return np.concatenate([static, before], axis=1)

    def fit_prior(self, batch: Batch, seed: int) -> None:
        """Fit the prior of latent codes to those of the training rows."""
        self.prior = Prior.fit(self.network, batch, PRIOR_COMPONENTS, seed)

    def draw(
        self, static: NDArray[np.float32], packed: Packed, generator: torch.Generator
    ) -> tuple[Floats, Cells]:
        """Draw numbers (rows, columns) and cells (rows, groups), both packed, for features life by
        life; rows at once where no category needs the one before."""
        static = packed.pack(static)
        numbers = np.zeros((len(static), len(self.encoding.columns) - len(self.groups)))
        cells = np.zeros((len(static), len(self.groups)), dtype=np.int16)
        if not self.groups:
            for start in range(0, len(static), DRAW_ROWS):
                part = slice(start, start + DRAW_ROWS)
                numbers[part] = self._numbers(self._draw_rows(static[part], generator))
            return numbers, cells
        width = sum(map(_width, self._categories))
        decay = np.repeat(np.array(DECAYS, dtype=np.float32), width)
        before = np.zeros((len(packed.rows), len(decay)), dtype=np.float32)
        for step, (a, b) in enumerate(packed.slices):
            before = before[: b - a]
            drawn = self._draw_rows(np.concatenate([static[a:b], before], axis=1), generator)
            cells[a:b] = drawn.codes[:, -len(self.groups) :]
            numbers[a:b] = self._numbers(drawn)
            now = np.tile(self._one_hot(cells[a:b]), len(DECAYS))
            before = now if step == 0 else decay * before + (1 - decay) * now
        return numbers, cells

    def _draw_rows(self, conditions: NDArray[np.float32], generator: torch.Generator) -> Encoded:
        z = self.prior.sample(len(conditions), generator)
        return self.network.draw(z, generator, torch.from_numpy(conditions))

    def _numbers(self, drawn: Encoded) -> Floats:
        """Return the numbers that cells and deviations stand for."""
        found = np.zeros((len(drawn), len(self.encoding.columns) - len(self.groups)))
        parts = islice(self.encoding.parts(drawn), found.shape[1])
        for number, (column, codes, scores) in enumerate(parts):
            assert isinstance(column, EncodedNumber)
            found[:, number] = column.numbers(codes, scores)
        return found

    @property
    def _categories(self) -> list[Column]:
        return list(self.encoding.columns[len(self.encoding.columns) - len(self.groups) :])

    def _one_hot(self, codes: Cells | Ints) -> NDArray[np.float32]:
        parts = [
            (codes[:, [i]] == np.arange(_width(column))).astype(np.float32)
            for i, column in enumerate(self._categories)
        ]
        return np.concatenate(parts, axis=1)


def _width(column: Column) -> int:
    """Return of how many cells the past is a condition; the levels of a text are sorted by their
    frequency, and a number has no more atoms than that."""
    return min(column.cells, MAX_CELLS)


@torch.no_grad()
def start_at_marginals(network: Network, rows: Encoded) -> None:
    """Let the decoder begin at each column's own distribution, nearly independent of the latent
    code, which is noise until the encoder has learned: the conditions are then learned in few
    epochs."""
    first, last = network.decoder[0], network.decoder[-1]
    assert isinstance(first, torch.nn.Linear) and isinstance(last, torch.nn.Linear)
    first.weight[:, : network.embedding_dim].mul_(0.1)
    deviations = network.deviations
    last.weight.mul_(0.3)
    last.bias.zero_()
    if deviations:
        spread = np.nan_to_num(np.nanstd(rows.deviations, axis=0), nan=0.1)
        network.sigma.copy_(torch.from_numpy(np.clip(spread, 0.01, 1.0)))
    for group, width in enumerate(network.widths):
        share = np.bincount(rows.codes[:, group], minlength=width) + 0.5
        offset = deviations + int(network.offsets[group])
        last.bias[offset : offset + width] = torch.from_numpy(np.log(share / share.sum())).float()
