"""The column of remaining useful life as a function of the distance to the life's end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from gan_lab.errors import BadTable
from gan_lab.synth.lives.packed import Floats, Ints, Packed
from gan_lab.synth.network.columns import NumericColumn, numbers_of


@dataclass
class RulColumn(NumericColumn):
    """Remaining useful life: it falls by `rate` per mean step down to `lowest`, from `cap` where it
    is capped.

    Where it is not linear, `curve` (distance, rul), the distance in mean steps or, where
    `relative`, as a share of the life.
    """

    rate: float = 1.0
    cap: float | None = None
    lowest: float = 0.0
    curve: tuple[list[float], list[float]] | None = None
    relative: bool = False

    @classmethod
    def fit(cls, series: pd.Series[Any], elapsed: Floats, packed: Packed) -> tuple[Self, Floats]:
        """Return how remaining useful life falls, and each row's distance to the life's end in mean
        steps.

        A life whose record ends before its failure (censored) has a distance left in its last row;
        one without any rul has none (NaN). Raises `BadTable` where the column rises within a life.
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
        tolerance = 0.02 * max(column.maximum - column.lowest, 1e-9)
        written = column.read(column.at(elapsed, remaining))
        if np.nanquantile(np.abs(written - rul), 0.99) > tolerance:
            if not elapsed.any():
                raise BadTable(
                    f"Column {series.name!r} falls within lives in which no time passes: name "
                    "another column of time, or none."
                )
            remaining = column._fit_curve(rul, last, elapsed, packed, tolerance)
        return column, remaining

    def at(self, elapsed: Floats, remaining: Floats) -> pd.Series[Any]:
        """Return the remaining useful life so many mean steps after the start and before the end;
        NaN is missing."""
        if self.curve is not None:
            distance = share_left(elapsed, remaining) if self.relative else remaining
            values = np.interp(distance, *self.curve)
        else:
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
        if (falls[inside] < -1e-6 * max(self.maximum, 1)).any():
            raise BadTable(
                f"Column {self.name!r} rises within a life: remaining useful life can only fall. "
                "Give each run to failure its own life."
            )
        below = rul[seen][:-1] < self.maximum
        if (same_life & (falls == 0) & ~below).any():
            self.cap = self.maximum
            inside &= below
        slopes = falls[inside] / spans[inside]
        self.rate = float(slopes.mean()) if len(slopes) and slopes.mean() > 0 else 1.0

    def _fit_curve(
        self, rul: Floats, last: Ints, elapsed: Floats, packed: Packed, tolerance: float
    ) -> Floats:
        """Find the `curve` of a rul that is not linear; return each row's distance to the end.

        A life whose record ends before its failure is as far from it as its last reading says, and
        one that shows no wear yet as most are.
        """
        end = elapsed[packed.starts[1:] - 1]
        ended = (last >= 0) & (rul[last] <= self.lowest + tolerance)
        remaining = np.where(ended, end, np.nan)[packed.life] - elapsed
        views = remaining, share_left(elapsed, remaining)
        curves = [_falling_curve(view, rul) for view in views]
        self.relative = curves[1][0] < curves[0][0]
        self.curve = curves[self.relative][1]
        distance = np.interp(rul[last], *self.curve[::-1])
        lengths = end[ended]
        if self.relative:
            distance *= elapsed[last] / np.maximum(1 - distance, 1e-9)
        fresh = rul[last] >= self.curve[1][-1] - tolerance
        distance = np.where(fresh, np.maximum(np.median(lengths) - elapsed[last], 1.0), distance)
        whole = np.where(ended, end, elapsed[last] + np.minimum(distance, lengths.max()))
        return np.where(last < 0, np.nan, whole)[packed.life] - elapsed


def share_left(elapsed: Floats, remaining: Floats) -> Floats:
    """Return which share of its life a row has before it."""
    return np.asarray(remaining / np.maximum(elapsed + remaining, 1e-9))


def _falling_curve(distance: Floats, rul: Floats) -> tuple[float, tuple[list[float], list[float]]]:
    """Return the error of the mean rul at each distance to the end, and knots of it, made to rise
    with the distance."""
    from sklearn.isotonic import IsotonicRegression

    known = np.isfinite(rul) & np.isfinite(distance)
    knots = np.unique(np.quantile(distance[known], np.linspace(0, 1, 200)))
    model = IsotonicRegression(out_of_bounds="clip").fit(distance[known], rul[known])
    curve = knots.tolist(), model.predict(knots).tolist()
    return float(np.abs(np.interp(distance[known], *curve) - rul[known]).mean()), curve
