"""Fidelity: how alike the columns are, one by one, scored as SDMetrics 0.32 does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Figure, Kind, Sides
from gan_lab.synth.report.finding import Finding, by_level, listed, of_first, percent

HISTOGRAM_BINS = 24
SHOWN_LEVELS = 12
Kinds = dict[str, Kind]


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


class Fidelity(Message):
    """Mean scores of the columns, 0 to 1, of synthetic and of training rows; each column, the worst
    first."""

    synthetic: Figure
    real: Figure
    columns: list[ColumnFit]


def fidelity(sides: Sides) -> Fidelity:
    """Score synthetic rows, and beside them the training rows, against the held-out rows."""
    kinds, held = sides.kinds, sides.holdout
    tables = {"synthetic": sides.synthetic, "real": sides.train}
    shapes = {side: shape_scores(held, table, kinds) for side, table in tables.items()}
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
    mean = {side: pd.Series(scores).mean() for side, scores in shapes.items()}
    return Fidelity(
        **mean, columns=sorted(columns, key=lambda c: (c.score or 0) - (c.real_score or 0))
    )


def shape_scores(real: pd.DataFrame, drawn: pd.DataFrame, kinds: Kinds) -> dict[str, float]:
    """Return 1 less the distance between the two distributions of each column.

    Kolmogorov and Smirnov's of numbers, half the sum of differences in share of categories.
    """
    from scipy.stats import ks_2samp

    scores = {}
    for name, kind in kinds.items():
        sides = real[name].dropna(), drawn[name].dropna()
        if min(map(len, sides)) == 0:
            scores[name] = np.nan
        elif kind == "number":
            values = (np.round(side.to_numpy(np.float64), 14) for side in sides)
            scores[name] = 1 - float(ks_2samp(*values, method="asymp").statistic)
        else:
            count = pd.concat([side.value_counts() for side in sides], axis=1).fillna(0.0)
            seen, ours = count.to_numpy(np.float64).T
            seen = np.where(seen == 0, 1e-6, seen)  # as SDMetrics does
            scores[name] = 1 - 0.5 * float(np.abs(ours / ours.sum() - seen / seen.sum()).sum())
    return scores


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


def shapes(columns: list[ColumnFit]) -> Iterator[Finding]:
    """Find the columns that are not distributed as in real rows."""
    known = {column.name: column for column in columns}
    excess = {name: _excess(column) for name, column in known.items()}
    for level, names in by_level("shape", excess):
        worst = known[names[0]]
        missing, real = percent(worst.missing), percent(worst.missing_real)
        gaps = "" if missing == real else f", {missing} are missing ({real} of the real rows)"
        share = percent(1 - (1.0 if worst.score is None else worst.score))
        text = (
            f"{listed(names)}: not distributed as in real rows. {share} of the rows"
            f"{of_first(names)} would have to move{gaps}. Compare the histograms before you use "
            "these columns."
        )
        yield Finding(level=level, kind="shape", text=text, columns=names, value=excess[worst.name])


def _excess(column: ColumnFit) -> float:
    """Return the share of rows that would have to move beyond twice what training rows need."""
    ours = 1 - (column.score if column.score is not None else 1.0)
    real = 1 - (column.real_score if column.real_score is not None else 1.0)
    gaps = abs((column.missing or 0) - (column.missing_real or 0))
    return max(ours - 2 * real, gaps)
