"""Markov chains over the rows of lives: regimes, steps of time, patterns of missing values.

Counted from the training lives (Norris 1997), given how long a symbol has lasted (a semi-Markov
chain) and a context, such as the hour: so shifts and idle nights come back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints, Packed

DWELL_EDGES = np.unique(np.round(np.r_[np.arange(1, 17), 16 * 1.5 ** np.arange(1, 10)])).astype(int)
PARENT_ROWS = 3.0  # how many observed rows the coarser table counts for


@dataclass
class MarkovChain:
    """Probabilities of the `first` symbol of a life, (contexts, symbols), and of the `following`
    one, (symbols, contexts, dwell times, symbols)."""

    first: Floats
    following: Floats

    @classmethod
    def fit(
        cls, symbols: Ints, context: Ints, packed: Packed, count: int, contexts: int
    ) -> MarkovChain:
        """Count a chain of `count` symbols; rare transitions lean on coarser counts."""
        starts, later = packed.starts[:-1], packed.age > 0
        first = np.full((contexts, count), 1e-9)
        np.add.at(first, (context[starts], symbols[starts]), 1.0)
        first += PARENT_ROWS * first.sum(axis=0) / first.sum()
        now, then = np.flatnonzero(later) - 1, np.flatnonzero(later)
        counts = np.zeros((count, contexts, len(DWELL_EDGES), count))
        dwell = _dwell(symbols, later)
        np.add.at(counts, (symbols[now], context[now], dwell[now], symbols[then]), 1.0)
        coarse = _normalized(counts.sum(axis=(1, 2)) + 1e-9 * np.eye(count))
        middle = _normalized(counts.sum(axis=2) + PARENT_ROWS * coarse[:, None])
        fine = _normalized(counts + PARENT_ROWS * middle[:, :, None])
        return cls(_normalized(first), fine)

    def draw(self, context: Ints, packed: Packed, rng: np.random.Generator) -> Ints:
        """Draw symbols for all lives, life by life; `context` likewise."""
        context, drawn = packed.pack(context), np.zeros(len(context), dtype=np.int64)
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
        return packed.unpack(drawn)

    def with_shares(self, shares: Floats, context: Ints, packed: Packed, seed: int) -> MarkovChain:
        """Return the chain whose symbols come in these shares of the rows: what may follow is
        weighted, round by round, by how far a draw with this seed misses them."""
        factor, chain = np.where(shares > 0, 1.0, 0.0), self
        for _ in range(25):
            chain = MarkovChain(
                _normalized(self.first * factor), _normalized(self.following * factor)
            )
            drawn = chain.draw(context, packed, np.random.default_rng(seed))
            share = np.bincount(drawn, minlength=len(shares)) / max(len(drawn), 1)
            if np.abs(share - shares).max() < 0.002:
                break
            factor *= ((shares + 1e-6) / (share + 1e-6)) ** 0.5
        return chain


def _dwell(symbols: Ints, later: NDArray[np.bool_]) -> Ints:
    """Return the bin of how many rows the present symbol has lasted, this row counted."""
    rows = np.arange(len(symbols))
    changed = np.r_[True, symbols[1:] != symbols[:-1]] | ~later
    since = rows - np.maximum.accumulate(np.where(changed, rows, 0))
    return np.searchsorted(DWELL_EDGES, since + 1, side="right") - 1


def _normalized(counts: Floats) -> Floats:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-300))
