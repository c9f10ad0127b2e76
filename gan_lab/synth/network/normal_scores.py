"""Numbers as normal scores: the rank of a value, as a draw of N(0, 1) would have it.

The quantile transformation (van der Waerden 1952; as TabDDPM uses it, Kotelnikov et al. 2023,
arXiv:2209.15421) makes any distribution a Gaussian one, whatever its tails. Values that gather in
several places with next to nothing between them, such as those of operating regimes, are cut there
first: each *stretch* has ranks of its own.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Stretch = list[list[float]]  # values, rising, and the score of each

KNOTS = 64
WINDOW, WINDOW_ROWS = 0.01, 40  # what a density is measured over: share of the rows, and at least
DEEP = 0.3  # of the lower of the peaks beside it is a valley to cut in
WIDE = 0.5  # of the central 98 % is a gap to cut at, with so many rows on each side of it:
GAP_ROWS = 20


def stretches(values: Floats, counts: NDArray[np.int64]) -> list[Stretch]:
    """Return the stretches of sorted values that occur so often, each with at most 65 knots."""
    mass = np.cumsum(counts) / counts.sum()
    rows = counts.sum()
    window, few = max(WINDOW, WINDOW_ROWS / rows), GAP_ROWS / rows
    pieces = [0, *_gaps(values, mass, 0, len(values), few), len(values)]
    places = [
        place for a, b in pairwise(pieces) for place in (a, *_cuts(values, mass, a, b, window))
    ] + [len(values)]
    return [_scored(values[a:b], counts[a:b]) for a, b in pairwise(places)]


def _gaps(values: Floats, mass: Floats, first: int, last: int, few: float) -> list[int]:
    """Return where to cut values[first:last] at gaps: what lies beyond one is rare, but not odd."""
    lower = mass[first - 1] if first else 0.0
    upper = mass[last - 1]
    places = np.arange(first + 1, last)
    beside = np.minimum(mass[places - 1] - lower, upper - mass[places - 1])
    places = places[beside >= few * (1 - 1e-9)]
    if not len(places):
        return []
    gaps = values[places] - values[places - 1]
    ends = np.searchsorted(mass, lower + np.array([0.01, 0.99]) * (upper - lower))
    low, high = values[ends.clip(first, last - 1)]
    cut = int(places[gaps.argmax()])
    # Beyond a gap in a heavy tail the values lie farther apart than the gap is wide.
    left_is_less = mass[cut - 1] - lower < upper - mass[cut - 1]
    beyond = values[first:cut] if left_is_less else values[cut:last]
    if gaps.max() <= max(WIDE * (high - low), beyond[-1] - beyond[0]):
        return []
    left = _gaps(values, mass, first, cut, few)
    return [*left, cut, *_gaps(values, mass, cut, last, few)]


def _cuts(values: Floats, mass: Floats, first: int, last: int, window: float) -> list[int]:
    """Return where to cut values[first:last], by the density over a window that moves along."""
    starts = np.arange(first, last)
    ends = np.searchsorted(mass, mass[first:last] + window)
    starts, ends = starts[ends < last], ends[ends < last]
    if not len(starts):
        return []
    density = (mass[ends] - mass[starts]) / (values[ends] - values[starts])
    before, behind = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    depth = density / np.minimum(before, behind)
    lowest = depth.argmin()
    if depth[lowest] > DEEP:
        return []
    start = starts[lowest]
    cut = int(start + 1 + np.diff(values[start : ends[lowest] + 1]).argmax())
    left = _cuts(values, mass, first, cut, window)
    return [*left, cut, *_cuts(values, mass, cut, last, window)]


def _scored(values: Floats, counts: NDArray[np.int64]) -> Stretch:
    """Return as few knots of a stretch as keep its distribution."""
    scores = ndtri((np.cumsum(counts) - counts / 2) / counts.sum())
    if len(values) > KNOTS:
        even = np.searchsorted(scores, np.linspace(scores[0], scores[-1], KNOTS))
        kept = np.unique([*even.clip(max=len(values) - 1), len(values) - 1])
        values, scores = values[kept], scores[kept]
    return [values.tolist(), scores.tolist()]
