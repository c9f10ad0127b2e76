"""What the degradation curve leaves: its own past first, then a conditional TVAE for all that
remains.

The residual `e_t` of each number has a mean of its own in each life (random intercepts, Laird and
Ware 1982), as wide as it scatters there, and is predicted linearly from the residuals before it
where that explains something. A TVAE (Xu et al. 2019) conditioned on wear, regime and life (Sohn et
al. 2015) models the innovations of all numbers, scaled to one variance, and the categories of a row
together. It is fitted by the evidence lower bound itself: a heavier reconstruction makes the latent
code carry plain noise, which the prior then draws less well than the decoder would.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.columns import Lives
from gan_lab.synth.lives.dependence import Dependence
from gan_lab.synth.lives.drivers import Drivers
from gan_lab.synth.lives.factors import factored
from gan_lab.synth.lives.life_table import LifeTable
from gan_lab.synth.lives.memory import Past, past_of
from gan_lab.synth.lives.packed import Floats, Ints, Packed, Real
from gan_lab.synth.lives.population import evenly
from gan_lab.synth.lives.variance import Scatter, before_rounding, entries
from gan_lab.synth.network.build import build_network
from gan_lab.synth.network.encoding import Column, Encoded, Encoding
from gan_lab.synth.network.latent_prior import Prior
from gan_lab.synth.network.normal_scores import stretches
from gan_lab.synth.network.tvae_network import Batch, Network

PAST_LEVELS = 32  # of a category, the most frequent, whose past the network is told
PAST_CELLS = (0.0, 0.8, 0.95)  # the same of categories
LEVEL_ROWS = 10  # of a life, at least, to tell its level
PRIOR_COMPONENTS = 10
LIKE_TAUGHT = 2.0  # how many lives whose offsets are as wide as the taught ones' are presumed
DRAW_ROWS = 16_384


@dataclass
class Chance:
    """Innovations of rows (rows, columns), packed, in units of their spread, and the level of each
    life (lives, columns)."""

    innovation: Floats
    offset: Floats


@dataclass
class Residual:
    """The fitted residual: past, encoding of innovations and categories, network and prior.

    `groups` are the categories (of the table's encoding) that the network draws.
    """

    past: Past
    gain: Floats  # (columns,), of the residual's deviation over the innovation's
    scatter: Scatter
    dependence: Dependence
    encoding: Encoding
    groups: list[int]
    network: Network
    prior: Prior
    lowest: Floats
    highest: Floats
    level: Scatter  # how widely lives' means differ at each part of a life
    offsets: Floats  # (columns, columns), the root of their covariance where they differ most

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
        drivers: Drivers,
        held_out: NDArray[np.bool_],
        asked: NDArray[np.bool_],
        config: TrainConfig,
    ) -> tuple[Residual, Encoded]:
        """Fit everything but the network's weights; return it with the encoded innovations.

        `residual` (rows, columns) is NaN where a reading is missing or can only be one. Rows that
        are `asked` decide what is worth a coefficient.
        """
        known = np.isfinite(residual)
        # Drivers are drawn before there is a hidden layer that knows them: it may not matter there.
        driving = drivers.among(residual.shape[1])
        entered = entries(lives.regime, packed)
        level = Scatter.fit(
            hidden, residual.astype(np.float64), asked, np.zeros_like(entered), lives.regime,
            table.regimes, driving,
        )  # fmt: skip
        share = level.relative(hidden)
        offset, differ = _levels(residual / share, packed)
        regime, codes = lives.regime, lives.codes
        still = table.still[regime]
        whole = np.where(still, 0.0, _filled(residual - offset[packed.life] * share, config.seed))
        past = Past.fit(whole, packed, regime, table.still, asked, drivers.tracks)
        innovation = past.innovations(whole, packed, regime)
        gain = np.maximum(whole.std(axis=0) / (innovation.std(axis=0) + 1e-12), 1.0)
        scatter = Scatter.fit(
            hidden, np.where(known, innovation, np.nan), asked, entered, regime, table.regimes,
            driving,
        )  # fmt: skip
        innovation = innovation / scatter.deviation(hidden, entered)
        dependence = Dependence.fit(innovation, regime, table.regimes)
        innovation = np.where(still, np.nan, dependence.alone(innovation, regime))
        innovation = _filled(innovation, config.seed + 1)  # nobody will see it, and it is no atom
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
            past, gain, scatter, dependence, encoding, groups, network, prior, *limits, level,
            _root(differ * offset, held_out),
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
        regime: Ints,
        packed: Packed,
        generator: torch.Generator,
    ) -> tuple[Chance, NDArray[np.int16]]:
        """Draw what chance holds for lives, and their cells (rows, groups), life by life.

        Rows are drawn at once where no category needs the one before.
        """
        static = static[packed.index]
        columns = len(self.gain)
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
        innovation = self.dependence.together(innovation, regime[packed.index], self.past.still)
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        offset = ndtri(evenly(len(packed.order), columns, rng)) @ self.offsets.T
        return Chance(innovation, offset), cells[packed.place]

    def lived(
        self,
        chance: Chance,
        hidden: NDArray[np.float32],
        steps: Floats,
        regime: Ints,
        packed: Packed,
    ) -> Floats:
        """Return the residuals (rows, columns) that chance becomes with each row's past, life by
        life."""
        deviation = self.scatter.deviation(hidden, entries(regime, packed))
        drawn = before_rounding(deviation * self.gain, steps) / self.gain
        innovation = chance.innovation * drawn[packed.index]
        found = self.past.together(
            innovation, packed, regime[packed.index], self.lowest, self.highest
        )[packed.place]
        return found + chance.offset[packed.life] * self.level.relative(hidden)

    def _drawn(self, told: NDArray[np.float32], generator: torch.Generator) -> Encoded:
        z = self.prior.sample(len(told), generator)
        return self.network.draw(z, generator, torch.from_numpy(told))

    def _numbers(self, drawn: Encoded) -> Floats:
        """Return the innovations that cells and deviations stand for."""
        found = np.zeros((len(drawn), len(self.gain)))
        parts = islice(self.encoding.parts(drawn), found.shape[1])
        for number, (column, codes, scores) in enumerate(parts):
            found[:, number] = column.numbers(codes, scores)
        return found

    @property
    def _width(self) -> int:
        return sum(map(_told, self.encoding.columns[len(self.gain) :]))

    def _one_hot(self, codes: Ints | NDArray[np.int16]) -> NDArray[np.float32]:
        widths = map(_told, self.encoding.columns[len(self.gain) :])
        parts = [
            (codes[:, [i]] == np.arange(width)).astype(np.float32) for i, width in enumerate(widths)
        ]
        return np.concatenate(parts, axis=1)


def _told(column: Column) -> int:
    """Return of how many cells the network is told the past; the levels of a text are sorted by
    their frequency, and a number has no more atoms than that."""
    return min(column.cells, PAST_LEVELS)


def _levels(residual: NDArray[Real], packed: Packed) -> tuple[Floats, Floats]:
    """Return the best guess of each life's level, (lives, columns), and how much more widely levels
    differ than guesses at them, (columns,).

    The mean of a residual that remembers also differs by chance, and its past draws that anew: by
    how much say the means of the quarters of each life (batch means, Conway 1963). What is left of
    their variance is that of levels; a guess is the mean, shrunk by what its rows tell (best linear
    unbiased prediction, Henderson 1975).
    """
    rows, lives = np.diff(packed.starts), len(packed.starts) - 1
    quarter = 4 * packed.life + 4 * packed.age // rows[packed.life]
    starts = np.minimum(np.searchsorted(quarter, np.arange(4 * lives)), len(residual) - 1)
    sums, counts = (
        np.add.reduceat(each, starts, dtype=np.float64).reshape(lives, 4, -1)
        for each in (np.nan_to_num(residual), np.isfinite(residual))
    )
    known = counts.sum(axis=1)
    told, known = known >= LEVEL_ROWS, np.maximum(known, 1)
    of = np.maximum(told.sum(axis=0), 1)
    whole = sums.sum(axis=1) / known
    mean = np.where(told, whole - np.where(told, whole, 0.0).sum(axis=0) / of, 0.0)
    strays = sums - counts * whole[:, None]
    chance = 4 / 3 * (strays**2).sum(axis=1) / known**2  # of each life's mean
    unsure = (chance * known * told).sum(axis=0) / of / known
    seen = (mean**2).sum(axis=0) / np.maximum(of - 1, 1)
    level = np.maximum(seen - (unsure * told).sum(axis=0) / of, 0.0)
    guess = mean * level / np.maximum(level + unsure, 1e-12)
    width = np.sqrt((guess**2).sum(axis=0) / of)
    return guess, np.sqrt(level) / np.maximum(width, 1e-9)


def _root(offset: Floats, held_out: NDArray[np.bool_]) -> Floats:
    """Return the root of the covariance of the lives' offsets, (columns, columns).

    The curve is fitted closer to the lives that taught it than to any new one: the offsets of
    held-out lives are wider. What is drawn is half-way between, on a logarithmic scale: drawn
    embeddings already differ as much as those of the training lives.
    """
    lives, columns = offset.shape
    if lives < 2 or not columns:
        return np.zeros((columns, columns))
    mean, size = offset[~held_out].mean(axis=0), offset[~held_out].std(axis=0) + 1e-9
    strays = (offset - mean) / size  # in each column's own: what is shrunk is how they go together
    covariance = factored(strays[~held_out])[0] + 1e-9 * np.eye(columns)  # lives may be few
    wider = (strays[held_out] ** 2).sum() / np.trace(covariance)  # times how many they are
    wider = max(1.0, (wider + LIKE_TAUGHT) / (held_out.sum() + LIKE_TAUGHT)) ** 0.5
    return np.asarray(size[:, None] * np.linalg.cholesky(wider * covariance))


def _filled(residual: NDArray[Real], seed: int) -> Floats:
    """Return residuals without gaps: a missing one is that of another row of the same column."""
    rng, whole = np.random.default_rng(seed), residual.astype(np.float64)
    for column in whole.T:
        gone = np.isnan(column)
        if gone.all():
            column[:] = 0.0
        elif gone.any():
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
