"""What a life goes through: operating regimes, their order, their after-effects, the time of day.

Regimes are the `state` column, else the columns of few levels that do not depend on wear
(settings). Their order is a Markov chain counted from the training lives (Norris 1997), which also
knows how long a state has lasted and the hour, so that shifts and idle nights come back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints, Packed

MOST_LEVELS = 12
MOST_REGIMES = 30
DWELL_EDGES = np.unique(np.round(np.r_[np.arange(1, 17), 16 * 1.5 ** np.arange(1, 10)])).astype(int)
PARENT_WEIGHT = 3.0  # how many observed rows the coarser table counts for


class Chain:
    """A Markov chain of symbols counted from lives, given the time a symbol has lasted and a
    context."""

    def __init__(self, first: Floats, following: Floats) -> None:
        self.first = first  # (contexts, symbols)
        self.following = following  # (symbols, contexts, dwell, symbols)

    @classmethod
    def fit(cls, symbols: Ints, context: Ints, rows: Ints, count: int, contexts: int) -> Chain:
        """Count a chain of `count` symbols; what was rarely seen leans on coarser counts."""
        packed = Packed(rows)
        starts = packed.starts[:-1]
        first = np.full((contexts, count), 1e-9)
        np.add.at(first, (context[starts], symbols[starts]), 1.0)
        first += PARENT_WEIGHT * first.sum(axis=0) / first.sum()
        later = packed.age > 0
        now, then = np.flatnonzero(later) - 1, np.flatnonzero(later)
        counts = np.zeros((count, contexts, len(DWELL_EDGES), count))
        dwell = _dwell(symbols, later)
        np.add.at(counts, (symbols[now], context[now], dwell[now], symbols[then]), 1.0)
        coarse = _normalized(counts.sum(axis=(1, 2)) + 1e-9 * np.eye(count))
        middle = _normalized(counts.sum(axis=2) + PARENT_WEIGHT * coarse[:, None])
        fine = _normalized(counts + PARENT_WEIGHT * middle[:, :, None])
        return cls(_normalized(first), fine)

    def draw(self, context: Ints, packed: Packed, rng: np.random.Generator) -> Ints:
        """Draw symbols for lives at once, life by life; `context` likewise."""
        context, drawn = context[packed.index], np.zeros(len(context), dtype=np.int64)
        first, following = self.first.cumsum(axis=1), self.following.cumsum(axis=3)
        chance = rng.random(len(context))
        lasted = np.zeros(0, dtype=np.int64)
        for step, (a, b) in enumerate(packed.slices):
            if step == 0:
                cumulative = first[context[a:b]]
                lasted = np.ones(b - a, dtype=np.int64)
            else:
                before = slice(packed.slices[step - 1][0], packed.slices[step - 1][0] + b - a)
                bins = np.searchsorted(DWELL_EDGES, lasted[: b - a], side="right") - 1
                cumulative = following[drawn[before], context[before], bins]
            found = (chance[a:b, None] > cumulative[:, :-1]).sum(axis=1)
            if step:
                lasted = np.where(found == drawn[before], lasted[: b - a] + 1, 1)
            drawn[a:b] = found
        return drawn[packed.place]

    def tilted(
        self,
        wanted: Floats,
        context: Ints,
        packed: Packed,
        seed: int,
        kept: NDArray[np.bool_] | slice = slice(None),
    ) -> Chain:
        """Return the chain whose symbols come in the wanted shares of the rows that are kept, by
        weighing what may follow."""
        factor = np.where(wanted > 0, 1.0, 0.0)
        for _ in range(25):
            chain = self._weighted(factor)
            drawn = chain.draw(context, packed, np.random.default_rng(seed))
            share = np.bincount(drawn[kept], minlength=len(wanted)) / max(len(drawn[kept]), 1)
            if np.abs(share - wanted).max() < 0.002:
                break
            factor *= ((wanted + 1e-6) / (share + 1e-6)) ** 0.5
        return chain

    def _weighted(self, factor: Floats) -> Chain:
        return Chain(_normalized(self.first * factor), _normalized(self.following * factor))


def find_regimes(
    levels: dict[str, Ints], numbers: Floats, progress: Floats
) -> tuple[list[str], Ints]:
    """Return the columns that make the regimes, and the regime of each row.

    A regime column has few levels, does not depend on wear (its level tells nothing of the quarter
    of the life), and explains other columns; a further one must explain more than those before.
    """
    quarter = np.minimum((progress * 4).astype(np.int64), 3)
    free = {name: code for name, code in levels.items() if _free_of_wear(code, quarter)}
    chosen: list[str] = []
    regime = np.zeros(len(progress), dtype=np.int64)
    known = 0.0
    while free:
        gains = {name: _explained(_joint([regime, code]), numbers) for name, code in free.items()}
        best = max(gains, key=lambda name: gains[name])
        joint = _joint([regime, free.pop(best)])
        if gains[best] < known + 0.05 or joint.max() >= MOST_REGIMES:
            break
        chosen, regime, known = [*chosen, best], joint, gains[best]
    return chosen, regime


def levels_of(values: Floats) -> Ints | None:
    """Return the level of each number where they gather in 2 to 12 tight groups, else None."""
    known = values[np.isfinite(values)]
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) < 2 or len(known) < len(values):
        return None
    if len(distinct) > MOST_LEVELS:
        cuts = np.flatnonzero(np.diff(distinct) > 0.03 * np.ptp(distinct))
        group = np.searchsorted(cuts, np.arange(len(distinct)))
        share = np.bincount(group, counts) / len(known)
        tight = [np.ptp(distinct[group == g]) for g in range(group.max() + 1)]
        if not 1 <= len(cuts) < MOST_LEVELS or max(tight) > 0.03 * np.ptp(distinct):
            return None
    else:
        group, share = np.arange(len(distinct)), counts / len(known)
    if share.min() < 0.002:
        return None
    return np.asarray(group[np.searchsorted(distinct, values)], dtype=np.int64)


def calendar(times: pd.Series[Any]) -> tuple[Floats, Ints, int]:
    """Return sines and cosines of day, week and year, the chain's context of each row, and how
    many there are."""
    hours = times.dt.hour + times.dt.minute / 60 + times.dt.second / 3600
    day = hours.to_numpy(np.float64) / 24
    week = (times.dt.dayofweek.to_numpy(np.float64) + day) / 7
    year = times.dt.dayofyear.to_numpy(np.float64) / 365.25
    waves = [wave(2 * np.pi * phase) for phase in (day, week, year) for wave in (np.sin, np.cos)]
    weekend = (week >= 5 / 7).astype(np.int64)
    return np.stack(waves, axis=1), times.dt.hour.to_numpy(np.int64) + 24 * weekend, 48


def _dwell(symbols: Ints, later: NDArray[np.bool_]) -> Ints:
    """Return the bin of how many rows the present symbol has lasted, this row counted."""
    changed = np.r_[True, symbols[1:] != symbols[:-1]] | ~later
    since = np.arange(len(symbols)) - np.maximum.accumulate(
        np.where(changed, np.arange(len(symbols)), 0)
    )
    return np.searchsorted(DWELL_EDGES, since + 1, side="right") - 1


def _normalized(counts: Floats) -> Floats:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-300))


def _joint(codes: list[Ints]) -> Ints:
    return np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def _free_of_wear(code: Ints, quarter: Ints) -> bool:
    """Return whether a level tells nothing of the quarter of the life, as far as its runs can
    show."""
    runs = 1 + int((code[1:] != code[:-1]).sum())
    levels = int(code.max())
    by_chance = np.sqrt(3 * levels / (runs * max(min(levels, 3), 1)))
    return _association(code, quarter) < 0.1 + 1.5 * by_chance


def _association(a: Ints, b: Ints) -> float:
    """Return Cramer's V of two codes: 0 where one tells nothing of the other."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1.0)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    chi2 = ((table - expected) ** 2 / np.maximum(expected, 1e-12)).sum()
    return float(np.sqrt(chi2 / table.sum() / max(min(table.shape) - 1, 1)))


def _explained(code: Ints, numbers: Floats) -> float:
    """Return the share of variance that the code explains, over columns of numbers (eta
    squared)."""
    if not numbers.shape[1]:
        return 0.0
    filled = np.where(np.isnan(numbers), np.nanmean(numbers, axis=0), numbers)
    count = np.bincount(code)[:, None]
    sums = np.stack([np.bincount(code, column) for column in filled.T], axis=1)
    between = (count * (sums / np.maximum(count, 1) - filled.mean(0)) ** 2).sum(0)
    total = ((filled - filled.mean(0)) ** 2).sum(0)
    return float(np.mean(between / np.maximum(total, 1e-300)))
