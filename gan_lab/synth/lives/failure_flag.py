"""A category that tells the end of a life: one cell until shortly before it, others from there
on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.lives.packed import Floats, Ints, Packed


@dataclass
class FailureFlag:
    """How far from a life's end a category changes, its cell before, and how many rows take each
    cell from there on under each combination of conditions, (combinations, cells)."""

    distance: float
    before: int
    counts: list[list[int]]

    @classmethod
    def fit(
        cls,
        cells: NDArray[np.int16],
        remaining: Floats,
        packed: Packed,
        combo: Ints,
    ) -> FailureFlag | None:
        """Return the flag that the cells of a category are in all lives, None where they are
        none."""
        counts, life = np.zeros((combo.max() + 1, cells.max() + 1), dtype=int), packed.life
        known = np.isfinite(remaining)
        if not known.any():
            return None
        before = cells[np.nanargmax(remaining)]
        changed = cells != before
        if len(np.unique(life[changed])) < 2 or (changed & ~known).any():
            return None
        last, first = remaining[changed].max(), np.nanmin(remaining[~changed])
        if last >= first:
            return None
        np.add.at(counts, (combo[life[changed]], cells[changed]), 1)
        return cls(float((last + first) / 2), int(before), counts.tolist())

    def apply(
        self,
        cells: NDArray[np.int16],
        remaining: Floats,
        combo: Ints,
        packed: Packed,
        rng: np.random.Generator,
    ) -> None:
        """Set the cells before the change; after it, draw those that did not occur under the life's
        conditions anew, one for each life."""
        counts = np.array(self.counts)
        counts = np.where(counts.any(axis=1, keepdims=True), counts, counts.sum(axis=0))
        chances = (counts / counts.sum(axis=1, keepdims=True)).cumsum(axis=1)[combo]
        drawn = (rng.random((len(combo), 1)) > chances).sum(axis=1)
        at_end = remaining <= self.distance
        cells[~at_end] = self.before
        unseen = at_end & (counts[combo[packed.life], cells] == 0)
        cells[unseen] = drawn[packed.life[unseen]]
