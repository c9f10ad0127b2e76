"""Fidelity: how alike the columns are, one by one and in pairs, scored as SDMetrics 0.32 does.

SDMetrics walks columns and pairs in pandas. Here a pair of numbers is an entry of a correlation
matrix and any other pair a joint count, which takes a hundredth of the time; a test holds the two
to the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Array, Figure, Kind, Sides

HISTOGRAM_BINS = 24
SHOWN_LEVELS, SHOWN_PAIRS = 12, 20
MIN_CORRELATION = 0.5  # SDMetrics leaves out pairs that are hardly tied in the real rows:
MIN_ASSOCIATION = 0.3  # below this Pearson correlation, or this Cramer's V
Kinds = dict[str, Kind]


class Scores(Message):
    """SDMetrics' scores of one table against the held-out rows, 0 to 1."""

    overall: Figure
    shapes: Figure
    pairs: Figure


class Histogram(Message):
    """Shares of rows per bin; `edges` of numbers, `levels` of categories."""

    edges: list[float] = Field(default_factory=list)
    levels: list[str] = Field(default_factory=list)
    real: list[float]
    synthetic: list[float]


class ColumnFit(Message):
    """One column: SDMetrics' shape score, beside what real training rows reach."""

    name: str
    kind: Kind
    score: Figure
    real_score: Figure
    missing: Figure
    missing_real: Figure
    histogram: Histogram


class PairFit(Message):
    """One pair of columns that belongs together in the real rows, and SDMetrics' score of it."""

    columns: tuple[str, str]
    score: Figure
    real_score: Figure


class Fidelity(Message):
    """Columns and pairs, the worst first."""

    synthetic: Scores
    real: Scores
    columns: list[ColumnFit]
    pairs: list[PairFit]


def fidelity(sides: Sides) -> Fidelity:
    """Score synthetic rows, and beside them the training rows, against the held-out rows."""
    kinds, held = sides.kinds, sides.holdout
    tables = {"synthetic": sides.synthetic, "real": sides.train}
    shapes = {side: shape_scores(held, table, kinds) for side, table in tables.items()}
    pairs = {side: pair_scores(held, table, kinds) for side, table in tables.items()}
    scores = {side: _scores(shapes[side], pairs[side]) for side in tables}
    columns = [
        ColumnFit(
            name=name,
            kind=kind,
            score=shapes["synthetic"][name],
            real_score=shapes["real"][name],
            missing=sides.synthetic[name].isna().mean(),
            missing_real=sides.real[name].isna().mean(),
            histogram=_histogram(sides.real[name], sides.synthetic[name], kind),
        )
        for name, kind in kinds.items()
    ]
    fits = [
        PairFit(columns=pair, score=score, real_score=pairs["real"].get(pair))
        for pair, score in pairs["synthetic"].items()
    ]
    return Fidelity(
        synthetic=scores["synthetic"],
        real=scores["real"],
        columns=sorted(columns, key=lambda c: (c.score or 0) - (c.real_score or 0)),
        pairs=sorted(fits, key=lambda p: (p.score or 0) - (p.real_score or 0))[:SHOWN_PAIRS],
    )


def _scores(shapes: dict[str, float], pairs: dict[tuple[str, str], float]) -> Scores:
    parts = pd.Series([pd.Series(shapes).mean(), pd.Series(pairs, dtype=float).mean()])
    return Scores(overall=parts.mean(), shapes=parts[0], pairs=parts[1])


def shape_scores(real: pd.DataFrame, drawn: pd.DataFrame, kinds: Kinds) -> dict[str, float]:
    """Return 1 less the distance between the two distributions of each column.

    Kolmogorov and Smirnov's of numbers, half the sum of differences in share of categories.
    """
    scores = {}
    for name, kind in kinds.items():
        sides = real[name].dropna(), drawn[name].dropna()
        if min(map(len, sides)) == 0:
            scores[name] = np.nan
        elif kind == "number":
            values = [np.sort(np.round(side.to_numpy(np.float64), 14)) for side in sides]
            both = np.concatenate(values)
            below = [np.searchsorted(side, both, side="right") / len(side) for side in values]
            scores[name] = 1 - float(np.abs(below[0] - below[1]).max())
        else:
            count = pd.concat([side.value_counts() for side in sides], axis=1).fillna(0.0)
            seen, ours = count.to_numpy(np.float64).T
            seen = np.where(seen == 0, 1e-6, seen)  # as SDMetrics does
            scores[name] = 1 - 0.5 * float(np.abs(ours / ours.sum() - seen / seen.sum()).sum())
    return scores


def pair_scores(
    real: pd.DataFrame, drawn: pd.DataFrame, kinds: Kinds
) -> dict[tuple[str, str], float]:
    """Return SDMetrics' score of each pair of columns that are tied in the real rows.

    1 less half the distance of two correlations, or half the sum of differences in share of two
    joint counts, for which numbers are cut into ten bins.
    """
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    place = {name: number for number, name in enumerate(numbers)}
    varying = (real[numbers].nunique() != 1) & (drawn[numbers].nunique() != 1)
    seen, ours = (table[numbers].corr().to_numpy() for table in (real, drawn))
    codes = dict(_codes(real, drawn, kinds)) if len(numbers) < len(kinds) else {}
    scores = {}
    for one, other in combinations(kinds, 2):
        if one in place and other in place:
            at = place[one], place[other]
            if varying[one] and varying[other] and abs(seen[at]) > MIN_CORRELATION:
                scores[one, other] = 1 - abs(seen[at] - ours[at]) / 2
        elif one in codes and other in codes:
            scores[one, other] = _joint_score(codes[one], codes[other])
    return {pair: float(score) for pair, score in scores.items() if not np.isnan(score)}


Codes = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]


def _codes(real: pd.DataFrame, drawn: pd.DataFrame, kinds: Kinds) -> Iterator[tuple[str, Codes]]:
    """Yield each column as whole numbers: real, drawn, and how many there are at most.

    Numbers by ten bins of each table's own, as SDMetrics cuts them; not where they cannot be cut.
    """
    for name, kind in kinds.items():
        if kind == "category":
            levels = pd.factorize(pd.concat([real[name], drawn[name]]), use_na_sentinel=False)
            yield name, (levels[0][: len(real)], levels[0][len(real) :], len(levels[1]))
            continue
        try:
            binned = [
                np.digitize(table[name], np.histogram_bin_edges(table[name].dropna()))
                for table in (real, drawn)
            ]
        except ValueError:  # too narrow for ten bins
            continue
        yield name, (binned[0], binned[1], 12)


def _joint_score(one: Codes, other: Codes) -> float:
    shape = one[2], other[2]
    seen, ours = (
        np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1])
        for a, b in zip(one[:2], other[:2], strict=True)
    )
    if _association(seen.reshape(shape).astype(np.float64)) <= MIN_ASSOCIATION:
        return np.nan
    return 1 - float(np.abs(seen / seen.sum() - ours / ours.sum()).sum()) / 2


def _association(count: Array) -> float:
    """Return Cramer's V; 0 where one column has a single value."""
    count = count[count.any(axis=1)][:, count.any(axis=0)]
    if min(count.shape) < 2:
        return 0.0
    expected = np.outer(count.sum(axis=1), count.sum(axis=0)) / count.sum()
    spread = ((count - expected) ** 2 / expected).sum() / count.sum()
    return float(np.sqrt(spread / (min(count.shape) - 1)))


def _histogram(real: pd.Series[Any], drawn: pd.Series[Any], kind: Kind) -> Histogram:
    real, drawn = real.dropna(), drawn.dropna()
    if kind == "category":
        levels = pd.concat([real, drawn]).value_counts().index[:SHOWN_LEVELS]
        shares = [
            each.value_counts(normalize=True).reindex(levels).fillna(0) for each in (real, drawn)
        ]
        return Histogram(
            levels=list(levels), real=_rounded(shares[0]), synthetic=_rounded(shares[1])
        )
    try:
        edges = np.histogram_bin_edges(np.concatenate([real, drawn]), HISTOGRAM_BINS)
    except ValueError:  # values so close that they cannot be told apart in so many bins
        edges = np.histogram_bin_edges(np.concatenate([real, drawn]), 1)
    counts = [np.histogram(each, edges)[0] / max(len(each), 1) for each in (real, drawn)]
    return Histogram(
        edges=[float(f"{edge:.6g}") for edge in edges],
        real=_rounded(counts[0]),
        synthetic=_rounded(counts[1]),
    )


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 5) for value in values]
