"""The scores of columns are SDMetrics' own."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gan_lab.schema import Roles
from gan_lab.synth.report.compared_tables import Sides, compare
from gan_lab.synth.report.fidelity import fidelity, shape_scores


def made_up(seed: int) -> pd.DataFrame:
    """Numbers and categories, tied and not, skewed, rounded, with gaps, constant, empty."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(3, 400))
    base = rng.normal(size=(rows, 3))
    table = pd.DataFrame({"a": base[:, 0], "b": base[:, 0] * rng.normal() + base[:, 1]})
    table["skewed"] = np.exp(2 * base[:, 1])
    table["rounded"] = np.round(base[:, 0] * 2)
    table["large"] = 1e6 + base[:, 2]
    table["few"] = rng.choice(list("xyz"), rows, p=(0.7, 0.25, 0.05))
    table["tied"] = np.where(table["a"] > 0, "high", table["few"])
    table["flag"] = (table["b"] > 1).astype(int)
    for name in rng.choice(table.columns, 3, replace=False):
        table[name] = table[name].astype(object).where(rng.random(rows) > 0.2, None)
    numbers = [name for name in ("a", "b", "skewed", "rounded", "large") if name in table]
    table[numbers] = table[numbers].astype(float)
    if seed % 5 == 0:
        table["a"] = 3.0
    if seed % 7 == 0:
        table["few"] = "x"
    if seed % 11 == 0:
        table["large"] = np.nan
    return table


def sides_of(seed: int) -> Sides:
    drawn, train, holdout = (made_up(3 * seed + number) for number in range(3))
    return compare(drawn, train, holdout, Roles(), None, 0)


def sdmetrics(real: pd.DataFrame, drawn: pd.DataFrame, kinds: dict[str, Any]) -> dict[str, float]:
    """What SDMetrics' quality report says of each column."""
    from sdmetrics.reports import QualityReport

    types = {"number": "numerical", "category": "categorical"}
    columns = {name: {"sdtype": types[kind]} for name, kind in kinds.items()}
    tables = [{"table": table[list(kinds)]} for table in (real, drawn)]
    report = QualityReport()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        report.generate(*tables, {"tables": {"table": {"columns": columns}}}, verbose=False)
    return report.get_details("Column Shapes").set_index("Column")["Score"].to_dict()


@pytest.mark.slow
def test_scores_are_those_of_sdmetrics() -> None:
    assert version("sdmetrics").startswith("0.32."), "compare fidelity.py with the new release"
    for seed in range(25):
        sides = sides_of(seed)
        args = sides.holdout, sides.synthetic, sides.kinds
        wanted = sdmetrics(*args)
        assert shape_scores(*args) == pytest.approx(wanted, abs=1e-9, nan_ok=True)
        mean = np.nanmean(list(wanted.values()))
        assert fidelity(sides).synthetic == pytest.approx(mean, abs=1e-6)


def test_values_too_close_for_a_histogram_are_shown_in_one_bin() -> None:
    table = pd.DataFrame({"a": 1e16 + np.arange(4.0) % 2 * 2, "b": range(4)})
    sides = compare(table, table, table, Roles(), None, 0)
    shown = {column.name: column.histogram for column in fidelity(sides).columns}
    assert shown["a"].real == shown["a"].synthetic == [1.0]
