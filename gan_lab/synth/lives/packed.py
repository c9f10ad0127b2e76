"""Rows of all lives in one array: where each life begins, and their order step by step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Real = TypeVar("Real", np.float32, np.float64)
Value = TypeVar("Value", bound=np.generic)


class Packed:
    """The rows of lives, life by life, and their packed order for recursions over time.

    Packed order holds step t of every life side by side, long lives first, as PyTorch's packed
    sequences do: step t is the packed rows `slices[t]`, and the rows before these are the first so
    many of step t - 1. `life` and `age` (rows,) are the life of each row and its number within it.
    """

    def __init__(self, rows: Ints) -> None:
        self.rows = rows  # of each life
        self.starts = np.r_[0, np.cumsum(rows)]
        longest = int(rows.max(initial=0))
        alive = len(rows) - np.cumsum(np.bincount(rows, minlength=longest + 1))[:longest]
        offsets = np.r_[0, np.cumsum(alive)].astype(np.int64)
        rank = np.empty(len(rows), dtype=np.int64)
        rank[np.argsort(-rows, kind="stable")] = np.arange(len(rows))
        self.life = np.repeat(np.arange(len(rows)), rows)
        self.age = np.arange(len(self.life)) - self.starts[self.life]
        self._place = offsets[self.age] + rank[self.life]
        self._row = np.empty(len(self.life), dtype=np.int64)
        self._row[self._place] = np.arange(len(self.life))
        self.slices = [(int(a), int(b)) for a, b in pairwise(offsets)]

    def pack(self, values: NDArray[Value]) -> NDArray[Value]:
        """Return values (rows, ...), life by life, in packed order."""
        return values[self._row]

    def unpack(self, values: NDArray[Value]) -> NDArray[Value]:
        """Return values (rows, ...) in packed order life by life."""
        return values[self._place]

    def averages(self, values: NDArray[Real], decays: Sequence[float]) -> NDArray[Real]:
        """Return exponential averages up to and with each row, (rows, decays x columns), life by
        life."""
        packed, found = self.pack(values), []
        for decay in decays:
            mean = packed.copy()
            for (a, _), (b, e) in pairwise(self.slices):
                mean[b:e] = decay * mean[a : a + e - b] + (1 - decay) * packed[b:e]
            found.append(self.unpack(mean))
        return np.concatenate(found, axis=1) if found else values[:, :0]

    def sums(self, values: NDArray[Any]) -> Floats:
        """Return the sums over the rows of each life, (lives, ...)."""
        return np.add.reduceat(values, self.starts[:-1], axis=0, dtype=np.float64)
