"""What the degradation curve leaves: its own past first, then a conditional TVAE for all that
remains.

The residual `e_t` of each number has a mean of its own in each life (random intercepts, Laird and
Ware 1982), and is predicted linearly from the residuals before it where that explains something. A
TVAE (Xu et al. 2019) conditioned on wear, regime and life (Sohn et al. 2015) models the innovations
of all numbers, scaled to one variance, and the categories of a row together. It is fitted by the
evidence lower bound itself: a heavier reconstruction makes the latent code carry plain noise, which
the prior then draws less well than the decoder would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gan_lab.schema import TrainConfig
from gan_lab.synth.dependence import Dependence
from gan_lab.synth.encoding import Column, Encoded, Encoding
from gan_lab.synth.lifetable import LifeTable
from gan_lab.synth.network import Batch, Network
from gan_lab.synth.normal_scores import stretches
from gan_lab.synth.prior import Prior
from gan_lab.synth.regimes import DECAYS, Floats, Ints, Packed, Real
from gan_lab.synth.scatter import Scatter, before_rounding
from gan_lab.synth.trajectories import Lives
from gan_lab.synth.tvae import build_network

PAST = (0.0, *DECAYS)  # the row before, and averages of those before it
PAST_LEVELS = 32  # of a category, the most frequent, whose past the network is told
PAST_CELLS = (0.0, 0.8, 0.95)  # the same of categories
OFFSET_ROWS = 10.0  # how many rows of its own make half of a life's mean residual its own
LEAST_GAIN = 0.01  # of a residual's variance, to be worth a coefficient
PRIOR_COMPONENTS = 10
DRAW_ROWS = 16_384


def past_of(values: NDArray[Real], packed: Packed, decays: Sequence[float] = PAST) -> NDArray[Real]:
    """Return the exponential averages of what comes before each row, (rows, decays x columns)."""
    averages = packed.averages(values, decays)
    past = np.zeros_like(averages)
    later = np.flatnonzero(packed.age > 0)
    past[later] = averages[later - 1]
    return past


def fit_past(residual: Floats, packed: Packed, asked: NDArray[np.bool_]) -> Floats:
    """Return the coefficients of the past, (4 x columns, columns), by ridge regression.

    Per column: none, its own past, or that of all columns, whichever predicts the lives of `asked`
    rows best by a margin. Shrunk until what is predicted dies away when nothing new comes.
    """
    columns = residual.shape[1]
    past = past_of(residual, packed)
    taught, asked = ~asked & (packed.age > 0), asked & (packed.age > 0)
    best = np.zeros((4 * columns, columns))
    if not taught.any() or not asked.any():
        return best
    error = (residual[asked] ** 2).mean(axis=0) + 1e-12
    own = np.zeros_like(best)
    for column in range(columns):
        lines = column + columns * np.arange(4)
        own[lines, column] = _ridge(past[taught][:, lines], residual[taught, column])
    for candidate in (own, _ridge(past[taught], residual[taught])):
        tried = ((residual[asked] - past[asked] @ candidate) ** 2).mean(axis=0)
        better = tried < error * (1 - LEAST_GAIN)
        best[:, better], error[better] = candidate[:, better], tried[better]
    return _stable(best)


def _ridge(past: Floats, residual: Floats) -> Floats:
    strength = 1e-3 * len(past) + 1.0
    gram = past.T @ past + strength * np.eye(past.shape[1])
    return np.asarray(np.linalg.solve(gram, past.T @ residual))


def _stable(coefficients: Floats) -> Floats:
    """Shrink the coefficients until the recursion's spectral radius is below 1."""
    columns = coefficients.shape[1]
    if not coefficients.any():
        return coefficients
    keep = np.kron(np.diag(PAST), np.eye(columns))
    take = np.kron(np.array([[1 - decay] for decay in PAST]), np.eye(columns))
    for _ in range(40):
        radius = np.abs(np.linalg.eigvals(keep + take @ coefficients.T)).max()
        if radius < 0.998:
            break
        coefficients = coefficients * 0.97
    return coefficients


@dataclass
class Residual:
    """The fitted residual: past, encoding of innovations and categories, network and prior.

    `groups` are the categories (of the table's encoding) that the network draws.
    """

    past: Floats
    gain: Floats  # (columns,), of the residual's deviation over the innovation's
    scatter: Scatter
    dependence: Dependence
    encoding: Encoding
    groups: list[int]
    network: Network
    prior: Prior
    lowest: Floats
    highest: Floats
    offsets: Floats  # (columns, columns), the root of their covariance

    @classmethod
    def prepare(
        cls,
        residual: NDArray[Real],
        hidden: NDArray[np.float32],
        lives: Lives,
        table: LifeTable,
        groups: list[int],
        static: int,
        packed: Packed,
        asked: NDArray[np.bool_],
        config: TrainConfig,
    ) -> tuple[Residual, Encoded]:
        """Fit everything but the network's weights; return it with the encoded innovations.

        `residual` (rows, columns) is NaN where a reading is missing.
        """
        known, starts = np.isfinite(residual), packed.starts[:-1]
        rows = np.add.reduceat(known, starts, dtype=np.float64)
        offset = np.add.reduceat(np.nan_to_num(residual), starts) / (rows + OFFSET_ROWS)
        offset[rows < OFFSET_ROWS] = 0.0
        offset -= offset.mean(axis=0)
        whole = _filled(residual - offset[packed.life], config.seed)
        past = fit_past(whole, packed, asked)
        regime, codes = lives.regime, lives.codes
        innovation = whole - past_of(whole, packed) @ past if past.any() else whole
        gain = np.maximum(whole.std(axis=0) / (innovation.std(axis=0) + 1e-12), 1.0)
        scatter = Scatter.fit(hidden, np.where(known, innovation, np.nan), asked)
        innovation = innovation / scatter.deviation(hidden)
        dependence = Dependence.fit(innovation, regime, table.regimes)
        innovation = dependence.alone(innovation, regime)
        names = [f"#{number}" for number in range(innovation.shape[1])]
        frame = pd.DataFrame(innovation, columns=names)
        numbers = Encoding([number_column(name, frame[name].to_numpy()) for name in frame])
        words: list[Column] = [table.categories.groups[group] for group in groups]
        encoding = Encoding(numbers.columns + words)
        encoded = numbers.encode(frame)
        joint = Encoded(
            encoded.deviations, np.concatenate([encoded.codes, codes[:, groups]], axis=1)
        )
        conditions = static + len(PAST_CELLS) * sum(map(_told, words))
        network = build_network(encoding, config, conditions)
        start_at_marginals(network, joint)
        prior = Prior.normal(config.embedding_dim)
        limits = whole.min(axis=0, initial=0), whole.max(axis=0, initial=0)
        return cls(
            past, gain, scatter, dependence, encoding, groups, network, prior, *limits,
            _root(offset),
        ), joint  # fmt: skip

    def conditions(
        self, static: NDArray[np.float32], codes: NDArray[np.int16], packed: Packed
    ) -> NDArray[np.float32]:
        """Return what the network is told of each row: wear, regime, life, and the cells before."""
        if not self.groups:
            return static
        before = past_of(self._one_hot(codes[:, self.groups]), packed, PAST_CELLS)
        return np.concatenate([static, before], axis=1)

    def fit_prior(self, batch: Batch, seed: int) -> None:
        """Fit the prior of latent codes to those of the training rows."""
        chosen = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))[:20_000]
        with torch.no_grad():
            mean, log_variance = self.network.encode(batch[chosen])
        self.prior = Prior.fit(mean, log_variance, PRIOR_COMPONENTS, seed)

    def draw(
        self,
        static: NDArray[np.float32],
        hidden: NDArray[np.float32],
        steps: Floats,
        regime: Ints,
        packed: Packed,
        generator: torch.Generator,
    ) -> tuple[Floats, NDArray[np.int16]]:
        """Draw residuals (rows, columns) and cells (rows, groups) of lives, life by life.

        Rows are drawn at once where no category needs the one before; the past is added afterwards.
        """
        static = static[packed.index]
        columns = self.past.shape[1]
        innovation = np.zeros((len(static), columns))
        cells = np.zeros((len(static), len(self.groups)), dtype=np.int16)
        if not self.groups:
            for start in range(0, len(static), DRAW_ROWS):
                part = slice(start, start + DRAW_ROWS)
                innovation[part] = self._numbers(self._drawn(static[part], generator))
        else:
            decay = np.repeat(np.array(PAST_CELLS, dtype=np.float32), self._width)
            before = np.zeros((packed.slices[0][1], len(decay)), dtype=np.float32)
            for step, (a, b) in enumerate(packed.slices):
                before = before[: b - a]
                drawn = self._drawn(np.concatenate([static[a:b], before], axis=1), generator)
                cells[a:b] = drawn.codes[:, -len(self.groups) :]
                innovation[a:b] = self._numbers(drawn)
                now = np.tile(self._one_hot(cells[a:b]), len(PAST_CELLS))
                before = now if step == 0 else decay * before + (1 - decay) * now
        innovation = self.dependence.together(innovation, regime[packed.index])
        deviation = self.scatter.deviation(hidden)
        innovation *= (before_rounding(deviation * self.gain, steps) / self.gain)[packed.index]
        found = self._with_past(innovation, packed)[packed.place]
        noise = torch.randn(len(packed.order), columns, generator=generator).double().numpy()
        return found + (noise @ self.offsets.T)[packed.life], cells[packed.place]

    def _drawn(self, told: NDArray[np.float32], generator: torch.Generator) -> Encoded:
        z = self.prior.sample(len(told), generator)
        return self.network.draw(z, generator, torch.from_numpy(told))

    def _numbers(self, drawn: Encoded) -> Floats:
        """Return the innovations that cells and deviations stand for."""
        found = np.zeros((len(drawn), self.past.shape[1]))
        parts = islice(self.encoding.parts(drawn), found.shape[1])
        for number, (column, codes, scores) in enumerate(parts):
            found[:, number] = column.numbers(codes, scores)
        return found

    def _with_past(self, innovation: Floats, packed: Packed) -> Floats:
        """Add what the past says, row by row, for all lives at once; within the range seen."""
        if not self.past.any():
            return np.clip(innovation, self.lowest, self.highest)
        found, columns = np.empty_like(innovation), innovation.shape[1]
        decay = np.repeat(PAST, columns)
        mean = np.zeros((packed.slices[0][1], 4 * columns))
        for step, (a, b) in enumerate(packed.slices):
            mean = mean[: b - a]
            now = np.clip(innovation[a:b] + mean @ self.past, self.lowest, self.highest)
            found[a:b] = now
            mean = np.tile(now, 4) if step == 0 else decay * mean + (1 - decay) * np.tile(now, 4)
        return found

    @property
    def _width(self) -> int:
        return sum(map(_told, self.encoding.columns[self.past.shape[1] :]))

    def _one_hot(self, codes: Ints | NDArray[np.int16]) -> NDArray[np.float32]:
        widths = map(_told, self.encoding.columns[self.past.shape[1] :])
        parts = [
            (codes[:, [i]] == np.arange(width)).astype(np.float32) for i, width in enumerate(widths)
        ]
        return np.concatenate(parts, axis=1)


def _told(column: Column) -> int:
    """Return of how many cells the network is told the past; the levels of a text are sorted by
    their frequency, and a number has no more atoms than that."""
    return min(column.cells, PAST_LEVELS)


def _root(offset: Floats) -> Floats:
    """Return the root of the covariance of the lives' offsets, (columns, columns)."""
    lives, columns = offset.shape
    if lives < 2 or not columns:
        return np.zeros((columns, columns))
    covariance = np.atleast_2d(np.cov(offset.T))
    return np.asarray(np.linalg.cholesky(covariance + 1e-9 * np.eye(columns)))


def _filled(residual: NDArray[Real], seed: int) -> Floats:
    """Return residuals without gaps: a missing one is that of another row of the same column."""
    rng, whole = np.random.default_rng(seed), residual.astype(np.float64)
    for column in whole.T:
        gone = np.isnan(column)
        if gone.any():
            column[gone] = rng.choice(column[~gone], size=int(gone.sum()))
    return whole


def number_column(name: str, values: Floats) -> Column:
    """Return the encoding of a residual: mostly one stretch."""
    return Column(name, "float64", "number", stretches(*np.unique(values, return_counts=True)))


@torch.no_grad()
def start_at_marginals(network: Network, rows: Encoded) -> None:
    """Let the decoder begin at each column's own distribution, deaf to the latent code, which is
    noise until the encoder says something: what is given is then learned in few epochs."""
    first, last = network.decoder[0], network.decoder[-1]
    assert isinstance(first, torch.nn.Linear) and isinstance(last, torch.nn.Linear)
    first.weight[:, : network.embedding_dim].mul_(0.1)
    deviations = network.layout.deviations
    last.weight.mul_(0.3)
    last.bias.zero_()
    if deviations:
        spread = np.nan_to_num(np.nanstd(rows.deviations, axis=0), nan=0.1)
        network.sigma.copy_(torch.from_numpy(np.clip(spread, 0.01, 1.0)))
    for group, width in enumerate(network.layout.widths):
        share = np.bincount(rows.codes[:, group], minlength=width) + 0.5
        offset = deviations + int(network.layout.offsets[group])
        last.bias[offset : offset + width] = torch.from_numpy(np.log(share / share.sum())).float()
