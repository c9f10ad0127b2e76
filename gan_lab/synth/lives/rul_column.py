"""The column of remaining useful life as a function of the distance to the life's end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from gan_lab.errors import BadTable
from gan_lab.synth.lives.packed import Floats, Packed
from gan_lab.synth.network.columns import NumericColumn, numbers_of

TOLERANCE = 0.02  # of its range, that a column may be off a straight line


@dataclass
class RulColumn(NumericColumn):
    """Remaining useful life: it falls by `rate` per mean step down to `lowest`, from `cap` where it
    is capped."""

    rate: float = 1.0
    cap: float | None = None
    lowest: float = 0.0

    @classmethod
    def fit(cls, series: pd.Series[Any], elapsed: Floats, packed: Packed) -> tuple[Self, Floats]:
        """Return how remaining useful life falls, and each row's distance to the life's end in mean
        steps.

        A life whose record ends before its failure (censored) has a distance left in its last row;
        one without any rul has none (NaN). Raises `BadTable` where it does not fall evenly.
        """
        rul = numbers_of(series)
        if rul is None or not np.isfinite(rul).any():
            raise BadTable(
                f"Column {series.name!r} should hold the remaining useful life but no numbers."
            )
        column = cls.of(series, rul)
        column._fit_line(rul, elapsed, packed)
        known = pd.Series(np.where(np.isfinite(rul), np.arange(len(rul)), -1))
        last = known.groupby(packed.life).max().to_numpy()  # row with a rul, -1: there is none
        column.lowest = float(rul[last[last >= 0]].min())
        whole = elapsed[last] + (rul[last] - column.lowest) / column.rate
        remaining = np.where(last < 0, np.nan, whole)[packed.life] - elapsed
        error = np.nanquantile(np.abs(column.read(column.at(remaining)) - rul), 0.99)
        span = max(column.maximum - column.lowest, 1e-9)
        if error > TOLERANCE * span:
            raise BadTable(
                f"Column {series.name!r} does not fall evenly: it is up to {error / span:.0%} "
                "of its range off a straight line to each life's end. Give the remaining useful "
                "life in the unit of the time or in rows, or name no such column: then each life "
                "is taken to end at its last row."
            )
        return column, remaining

    def at(self, remaining: Floats) -> pd.Series[Any]:
        """Return the remaining useful life so many mean steps before the end; NaN is missing."""
        values = self.lowest + self.rate * remaining
        if self.cap is not None:
            values = np.minimum(values, self.cap)
        return self.typed(np.round(values, 9 if self.digits is None else self.digits))

    def _fit_line(self, rul: Floats, elapsed: Floats, packed: Packed) -> None:
        """Find `rate` and `cap`."""
        seen = np.flatnonzero(np.isfinite(rul))
        same_life = np.diff(packed.life[seen]) == 0
        falls, spans = -np.diff(rul[seen]), np.diff(elapsed[seen])
        inside = same_life & (spans > 0)
        below = rul[seen][:-1] < self.maximum
        if (same_life & (falls == 0) & ~below).any():
            self.cap = self.maximum
            inside &= below
        slopes = falls[inside] / spans[inside]
        self.rate = float(slopes.mean()) if len(slopes) and slopes.mean() > 0 else 1.0
