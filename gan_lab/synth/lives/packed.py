"""Rows of all lives in one array, and where each life begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Real = TypeVar("Real", np.float32, np.float64)


class Packed:
    """The order in which lives are lived at once: row t of every life side by side, long lives
    first.

    `index[r]` is the row (life by life) that packed row r is; step t is packed rows `slices[t]`,
    and the rows before are the first so many of step t - 1.
    """

    def __init__(self, rows: Ints) -> None:
        self.starts = np.r_[0, np.cumsum(rows)]
        self.order = np.argsort(-rows, kind="stable")
        longest = int(rows.max(initial=0))
        alive = len(rows) - np.cumsum(np.bincount(rows, minlength=longest + 1))[:longest]
        self.offsets = np.r_[0, np.cumsum(alive)].astype(np.int64)
        rank = np.empty(len(rows), dtype=np.int64)
        rank[self.order] = np.arange(len(rows))
        self.life = np.repeat(np.arange(len(rows)), rows)
        self.age = np.arange(len(self.life)) - self.starts[self.life]
        self.place = self.offsets[self.age] + rank[self.life]
        self.index = np.empty(len(self.life), dtype=np.int64)
        self.index[self.place] = np.arange(len(self.life))
        self.slices = [
            (int(a), int(b)) for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)
        ]

    def averages(self, values: NDArray[Real], decays: Sequence[float]) -> NDArray[Real]:
        """Return exponential averages up to and with each row, (rows, decays x columns), life by
        life."""
        packed, found = values[self.index], []
        for decay in decays:
            mean = packed.copy()
            for (a, _), (b, e) in zip(self.slices, self.slices[1:], strict=False):
                mean[b:e] = decay * mean[a : a + e - b] + (1 - decay) * packed[b:e]
            found.append(mean[self.place])
        return np.concatenate(found, axis=1) if found else values[:, :0]
