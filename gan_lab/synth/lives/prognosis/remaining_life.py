"""The posterior of a running unit's remaining life, in closed form.

The one thing not known of a running unit is how long its life will be. Given a candidate length,
each row has a distance to the end, and the degradation curve is linear and Gaussian in the unit's
random effects and levels: both integrate out (Lu and Meeker 1993; Gebraeel et al. 2005). What rows
say of a fixed grid of lengths are sums, which grow row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.stats import beta
from torch import Tensor, nn

from gan_lab.synth.lives.degradation_curve import (
    EFFECTS,
    WEAR_FEATURES,
    Curve,
    wear_features,
)
from gan_lab.synth.lives.drivers import Drivers
from gan_lab.synth.lives.life_table import ROWS, LifeTable
from gan_lab.synth.lives.packed import Floats, Ints
from gan_lab.synth.lives.prognosis.life_length import LifeLength
from gan_lab.synth.lives.prognosis.running import Running
from gan_lab.synth.lives.row_context import RowContext

LENGTHS = 120  # candidates of a life's length
SHORTEST, LONGEST = 0.4, 3.0  # of them, in lengths of training lives
REMAINING = 240  # distances to the end that a posterior gives the probability of
MAX_COMBINATIONS = 8  # of conditions, the most frequent, that a unit may have
# Of a typical life: the rows of a block are averaged. Blocks are longer where each holds regimes.
BLOCKS, MAX_WIDER = 50, 5
CHUNK_BLOCKS = 64  # that are read at once
MIN_DENSITY = 0.01  # of an even one: what was thought impossible costs no more than so much


@dataclass
class Blocks:
    """Rows of units, averaged block by block, and regime by regime within a block.

    `features` (blocks, n) are those but wear and age, `values` and `known` (blocks, columns) mean
    readings, and of how many rows, `elapsed` (blocks,) their age in mean steps; `starts` (units +
    1,) where the blocks of each unit begin; `ends` (blocks,) the age at the last row.
    """

    features: NDArray[np.float32]
    values: NDArray[np.float32]
    known: NDArray[np.float32]
    elapsed: Floats
    ends: Floats
    starts: Ints


@dataclass
class Evidence:
    """What rows say of each candidate length: `quadratic` (entries, lengths, 7, 7), products of the
    six loadings and the error, the levels of the unit integrated out; `readings` (entries,) of how
    many, `ages` (entries,) in mean steps. An entry is a unit, or a unit at some age."""

    quadratic: Floats
    readings: Floats
    ages: Floats

    def log_likelihood(self, temper: Floats) -> Floats:
        """Return the log likelihood of each length, (entries, lengths), up to a constant; `temper`
        (entries,) weighs rows, see `row_weights`."""
        weight = temper[:, None, None, None] * self.quadratic
        precision = weight[..., :-1, :-1] + np.eye(EFFECTS)
        pull = weight[..., :-1, -1:]
        explained = (pull * np.linalg.solve(precision, pull)).sum(axis=(-2, -1))
        _, volume = np.linalg.slogdet(precision)
        return np.asarray(-0.5 * (weight[..., -1, -1] - explained + volume))

    def misfit(self) -> Floats:
        """Return the mean squared error of a reading, (entries,), at the best length, in units of
        the error within training lives."""
        best = self.log_likelihood(np.ones(len(self.ages))).max(axis=1)
        return np.asarray(-2 * best / np.maximum(self.readings, 1))

    def draw_random_effects(
        self, entry: int, place: int, temper: float, rng: np.random.Generator
    ) -> Floats:
        """Draw a unit's random effects (6,) from their posterior at a length."""
        weight = temper * self.quadratic[entry, place]
        precision = weight[:-1, :-1] + np.eye(EFFECTS)
        root = np.linalg.cholesky((precision + precision.T) / 2)
        mean = np.linalg.solve(precision, weight[:-1, -1])
        return np.asarray(mean + np.linalg.solve(root.T, rng.normal(size=EFFECTS)))


@dataclass
class WearReader:
    """Reads the wear of units with a degradation curve; `lengths` are candidates, mean steps."""

    table: LifeTable
    context: RowContext
    drivers: Drivers
    curve: Curve
    lengths: Floats

    @classmethod
    def of(
        cls, table: LifeTable, context: RowContext, drivers: Drivers, curve: Curve, seen: Floats
    ) -> WearReader:
        """Lay out candidates around the lengths `seen` of training lives, mean steps."""
        ends = max(SHORTEST * float(seen.min()), 1.0), max(LONGEST * float(seen.max()), 3.0)
        return cls(table, context, drivers, curve, np.geomspace(*ends, LENGTHS))

    def blocks(self, running: Running, combo: int) -> Blocks:
        """Average the rows of all units, under one combination of conditions."""
        packed, lives = running.packed, running.lives
        rows = float(np.median(self.table.covariates[ROWS].values))
        each = max(1, round(rows / BLOCKS * min(self.table.regimes, MAX_WIDER)))
        key = (packed.life, packed.age // each, lives.regime)
        order = np.lexsort(key[::-1])
        new = np.r_[True, np.any([np.diff(k[order]) != 0 for k in key], axis=0)]
        first = np.flatnonzero(new)
        lives.combo[:] = combo
        features = self.context.features(self.table, lives, packed)[:, WEAR_FEATURES:]
        if self.drivers:
            features = np.c_[features, self.drivers.features(np.nan_to_num(lives.numbers), packed)]
        # Drivers do not wear; indicators of categories tell little of it.
        values = np.full((len(packed.life), len(self.curve.log_sigma)), np.nan)
        sensors = running.values.shape[1]
        values[:, :sensors] = np.where(self.drivers.among(sensors), np.nan, running.values)

        def total(rows: NDArray[Any]) -> Floats:
            return np.add.reduceat(rows[order], first, axis=0, dtype=np.float64)

        count = np.diff(np.r_[first, len(order)])
        known = total(np.isfinite(values))
        unit = packed.life[order][first]
        return Blocks(
            (total(features) / count[:, None]).astype(np.float32),
            (total(np.nan_to_num(values)) / np.maximum(known, 1)).astype(np.float32),
            known.astype(np.float32),
            total(lives.elapsed) / count,
            np.maximum.reduceat(lives.elapsed[order], first),
            np.searchsorted(unit, np.arange(len(packed.rows) + 1)),
        )

    def evidence(self, blocks: Blocks, unit: int, ages: Floats | None = None) -> Evidence:
        """Return what a unit's blocks say of each length: of all of them, or of those up to each of
        some `ages` (mean steps), one entry each."""
        mine = slice(blocks.starts[unit], blocks.starts[unit + 1])
        known, ends = torch.from_numpy(blocks.known[mine]), blocks.ends[mine]
        if ages is None:
            ages = ends.max(keepdims=True)
        upto = np.searchsorted(np.maximum.accumulate(ends), ages + 1e-9, side="right").clip(1)
        lengths, columns = len(self.lengths), len(self.curve.log_sigma)
        sums = torch.zeros(lengths, EFFECTS + 1, columns, dtype=torch.float64)
        squares = torch.zeros(lengths, EFFECTS + 1, EFFECTS + 1, dtype=torch.float64)
        rows = torch.zeros(columns, dtype=torch.float64)
        found, counts, before = [], [], 0
        share = self.curve.level_share.double()
        odds = share / (1 - share)
        for end in upto:
            for first in range(before, int(end), CHUNK_BLOCKS):
                part = slice(first, min(first + CHUNK_BLOCKS, int(end)))
                both = self._loadings(blocks, mine.start + part.start, mine.start + part.stop)
                weighted = both * known[part][None, :, None, :]
                sums += weighted.sum(dim=1)
                flat = both.transpose(1, 2).flatten(2), weighted.transpose(1, 2).flatten(2)
                squares += flat[0] @ flat[1].transpose(1, 2)
                rows += known[part].sum(dim=0)
            before = int(end)
            taken = odds / (1 + rows * odds)
            found.append((squares - (sums * taken) @ sums.transpose(1, 2)).numpy())
            counts.append(float(rows.sum()))
        return Evidence(np.stack(found), np.array(counts), ages)

    @torch.no_grad()
    def _loadings(self, blocks: Blocks, start: int, stop: int) -> Tensor:
        """Return loadings and error of some blocks at each length, in units of the error within a
        life, (lengths, blocks, 7, columns)."""
        curve, columns = self.curve, len(self.curve.log_sigma)
        elapsed = np.tile(blocks.elapsed[start:stop], (len(self.lengths), 1))
        remaining = np.maximum(self.lengths[:, None] - elapsed, 0.0)
        wear = wear_features(
            elapsed.ravel(), remaining.ravel(), self.context.span, self.table.cap
        ).astype(np.float32)
        first = curve.hidden[0]
        assert isinstance(first, nn.Linear)
        rest = torch.from_numpy(blocks.features[start:stop])
        inputs = torch.from_numpy(wear) @ first.weight[:, :WEAR_FEATURES].T
        inputs = inputs.view(*elapsed.shape, -1) + (
            rest @ first.weight[:, WEAR_FEATURES:].T + first.bias
        )
        hidden = curve.hidden[1:](inputs).flatten(0, 1)
        values = torch.from_numpy(blocks.values[start:stop])
        value = curve.fixed(hidden)[:, :columns].view(*elapsed.shape, columns)
        loadings = curve.loadings(hidden).view(*elapsed.shape, EFFECTS, columns)
        error = (values - value)[:, :, None]
        return torch.cat([loadings, error], dim=2).mul(curve.within_life)


def row_weights(temper: float, ages: Floats, span: float) -> Floats:
    """Return how much each row of a unit weighs, (entries,), given its age and a typical life
    `span`, mean steps.

    Rows are not as independent as the model has it (Gruenwald and van Ommen 2017). What keeps a
    unit beside its curve for long is one fact that many rows say: their worth grows as the root of
    their number. In the middle of a typical life each weighs `temper`.
    """
    share = np.maximum(ages / span, 1 / BLOCKS)
    return np.minimum(temper / np.sqrt(2 * share), 1.0)


@dataclass
class Posterior:
    """What is believed of entries (units, or units at some age): the `probability` (entries,
    combinations, 240) that the remaining life lies between two of `edges` (entries, 241), mean
    steps."""

    edges: Floats
    probability: Floats

    @classmethod
    def of(
        cls,
        evidence: dict[int, Evidence],
        lengths: Floats,
        length: LifeLength,
        shares: dict[int, float],
        temper: Floats,
    ) -> Posterior:
        """Weigh the evidence under each combination of conditions by their `shares` and the prior
        of a life's length, given that it has lasted so long; `temper` (entries,)."""
        ages = next(iter(evidence.values())).ages
        reach = np.maximum(lengths[-1] - ages, 0.5 * ages)
        edges = reach[:, None] * np.linspace(0, 1, REMAINING + 1)[None, :] ** 2
        whole = ages[:, None] + (edges[:, 1:] + edges[:, :-1]) / 2
        found = [
            interpolate(each.log_likelihood(temper), lengths, whole)
            + length.log_density(whole, combo)
            + np.log(shares[combo])
            for combo, each in evidence.items()
        ]
        log = np.stack(found, axis=1) + np.log(np.diff(edges, axis=1))[:, None]
        probability = np.exp(log - log.max(axis=(1, 2), keepdims=True))
        return cls(edges, probability / probability.sum(axis=(1, 2), keepdims=True))

    @property
    def remaining(self) -> Floats:
        """The middles between edges, (entries, 240)."""
        return (self.edges[:, 1:] + self.edges[:, :-1]) / 2

    def log_score(self, truth: Floats) -> Floats:
        """Return the log density of what truly remained (entries,), mean steps."""
        density = self.probability.sum(axis=1) / np.diff(self.edges, axis=1)
        places = zip(truth, self.remaining, density, strict=True)
        found = np.array([np.interp(t, r, d, right=0.0) for t, r, d in places])
        return np.log(found + MIN_DENSITY / self.edges[:, -1])

    def share_below(self, truth: Floats) -> Floats:
        """Return the probability that less remains than this (entries,), mean steps."""
        places = zip(truth, self.edges, self._below(), strict=True)
        return np.array([np.interp(*place) for place in places])

    def widened(self, shape: float) -> Posterior:
        """Return what is believed where a share p of the probability below is truly that of a
        Beta(shape, shape): with a `shape` below 1 the ends are likelier (Ranjan and Gneiting
        2010)."""
        mass = np.diff(beta.cdf(self._below(), shape, shape), axis=1)
        before = np.maximum(self.probability.sum(axis=1), np.finfo(float).tiny)
        return Posterior(self.edges, self.probability * (mass / before)[:, None])

    def _below(self) -> Floats:
        """The probability that less remains than each edge, (entries, 241)."""
        below = np.cumsum(self.probability.sum(axis=1), axis=1)
        return np.c_[np.zeros(len(below)), below / below[:, -1:]]

    def quantiles(self, shares: Floats) -> Floats:
        """Return the remaining life below which each share of the probability lies, (entries,
        shares), in mean steps."""
        each = zip(self._below(), self.edges, strict=True)
        return np.stack([np.interp(shares, *line) for line in each])


def combinations(table: LifeTable, counts: Ints) -> dict[int, float]:
    """Return combinations of conditions that features tell apart, the most frequent ones by their
    `counts` (combinations,), with their shares; none of lives whose end nobody knows."""
    cells = np.array(table.combinations).reshape(len(counts), -1)[:, table.inputs]
    counts = np.where(table.endless, 0, counts)
    _, first, group = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    sums = np.bincount(group.reshape(-1), counts)
    most = [g for g in np.argsort(-sums, kind="stable")[:MAX_COMBINATIONS] if sums[g] > 0]
    if not most:
        return {0: 1.0}
    return {int(first[g]): float(sums[g] / sums[most].sum()) for g in most}


def interpolate(values: Floats, lengths: Floats, wanted: Floats) -> Floats:
    """Return values (entries, lengths) at wanted lengths (entries, n) by a cubic spline over the
    logarithm of the length; beyond its ends as there."""
    log, at = np.log(lengths), np.log(wanted.clip(lengths[0], lengths[-1]))
    return np.stack([CubicSpline(log, own)(each) for own, each in zip(values, at, strict=True)])
