"""Fidelity: how alike the columns are, one by one and in pairs, by SDMetrics' two reports."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from gan_lab.schema import Message
from gan_lab.synth.report.compared_tables import Figure, Kind, Sides

BINS = 24


class Scores(Message):
    """SDMetrics' scores of one table against the held-out rows, 0 to 1."""

    overall: Figure
    shapes: Figure
    pairs: Figure
    diagnostic: Figure


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
    ours, real = _reports(sides, sides.synthetic), _reports(sides, sides.train)
    columns = [
        ColumnFit(
            name=name,
            kind=kind,
            score=ours["shapes"].get(name),
            real_score=real["shapes"].get(name),
            missing=sides.synthetic[name].isna().mean(),
            missing_real=pd.concat([sides.train[name], sides.holdout[name]]).isna().mean(),
            histogram=_histogram(sides, name),
        )
        for name, kind in sides.kinds.items()
    ]
    pairs = [
        PairFit(columns=pair, score=score, real_score=real["pairs"].get(pair))
        for pair, score in ours["pairs"].items()
    ]
    return Fidelity(
        synthetic=ours["scores"],
        real=real["scores"],
        columns=sorted(columns, key=lambda c: (c.score or 0) - (c.real_score or 0)),
        pairs=sorted(pairs, key=lambda p: (p.score or 0) - (p.real_score or 0))[:20],
    )


def _reports(sides: Sides, table: pd.DataFrame) -> dict[str, Any]:
    """Run SDMetrics' QualityReport and DiagnosticReport with the held-out rows as the real ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sdmetrics.reports import DiagnosticReport, QualityReport

        types = {"number": "numerical", "category": "categorical"}
        columns = {name: {"sdtype": types[kind]} for name, kind in sides.kinds.items()}
        about = {"tables": {"table": {"columns": columns}}}
        real = {"table": sides.holdout[list(sides.kinds)]}
        drawn = {"table": table[list(sides.kinds)]}
        quality, diagnostic = QualityReport(), DiagnosticReport()
        quality.generate(real, drawn, about, verbose=False)
        diagnostic.generate(real, drawn, about, verbose=False)
    by_name = quality.get_properties().set_index("Property")["Score"]
    shapes = quality.get_details("Column Shapes").set_index("Column")["Score"]
    pairs = quality.get_details("Column Pair Trends")
    if "Meets Threshold?" in pairs:
        pairs = pairs[pairs["Meets Threshold?"].eq(True) & pairs["Score"].notna()]
    scores = Scores(
        overall=quality.get_score(),
        shapes=by_name.get("Column Shapes"),
        pairs=by_name.get("Column Pair Trends"),
        diagnostic=diagnostic.get_score(),
    )
    named = {
        (str(line["Column 1"]), str(line["Column 2"])): line["Score"]
        for line in pairs.to_dict("records")
    }
    return {"scores": scores, "shapes": shapes.to_dict(), "pairs": named}


def _histogram(sides: Sides, name: str) -> Histogram:
    real = pd.concat([sides.train[name], sides.holdout[name]]).dropna()
    drawn = sides.synthetic[name].dropna()
    if sides.kinds[name] == "category":
        levels = pd.concat([real, drawn]).value_counts().index[:12]
        shares = [
            each.value_counts(normalize=True).reindex(levels).fillna(0) for each in (real, drawn)
        ]
        return Histogram(
            levels=list(levels), real=_rounded(shares[0]), synthetic=_rounded(shares[1])
        )
    both = pd.concat([real, drawn]).replace([np.inf, -np.inf], np.nan).dropna()
    edges = np.histogram_bin_edges(both, BINS)
    counts = [np.histogram(each, edges)[0] / max(len(each), 1) for each in (real, drawn)]
    return Histogram(
        edges=[float(f"{edge:.6g}") for edge in edges],
        real=_rounded(counts[0]),
        synthetic=_rounded(counts[1]),
    )


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 5) for value in values]
