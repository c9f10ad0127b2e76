"""What holds in every row of a table: found, said, and kept in what is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.cluster.tasks import draw_splits
from gan_lab.schema import GenerateConfig, Roles, TrainConfig
from gan_lab.synth.importing.importer import import_table
from gan_lab.synth.importing.relations import find_relations, hold
from gan_lab.synth.tabular.model import TabularTVAE
from gan_lab.workspace.profiles import load_profile

DECIMALS = {"raw": 9, "low": 9, "max_7d": 9, "load": 9, "heat": 9, "whole": 1, "rough": 0}


def rows(count: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    raw = rng.normal(50, 8, count)
    load, heat = rng.uniform(10, 20, count), rng.normal(40, 9, count)
    return pd.DataFrame(
        {
            "rough": heat.round().astype(int), "raw": raw, "low": raw - rng.gamma(1, 2, count),
            "max_7d": pd.Series(raw).rolling(7, 1).max(), "load": load, "heat": heat,
            "whole": (load + heat).round(1),
        }
    )  # fmt: skip


def said(table: pd.DataFrame) -> list[str]:
    return sorted(map(str, find_relations(table, {name: DECIMALS[name] for name in table})))


def test_sums_bounds_and_roundings_are_found_and_chance_is_not() -> None:
    table = rows()
    assert said(table) == [
        "max_7d >= raw", "raw >= low", "rough = heat rounded", "whole = load + heat",
    ]  # fmt: skip
    assert said(table[:99]) == []  # so few rows hold anything
    once = table.copy()
    once.loc[7, ["rough", "max_7d", "whole"]] = [99, 0.0, 0.0]
    assert said(once) == ["raw >= low"]
    rng = np.random.default_rng(1)
    apart = table.assign(max_7d=table["raw"] + rng.normal(30, 2, len(table)))  # by chance only
    assert "max_7d >= raw" not in said(apart)
    table.loc[::3, "rough"] = np.nan
    assert "rough = heat rounded" in said(table)


def test_rows_are_made_to_hold_in_the_order_of_what_depends_on_what() -> None:
    table = rows()
    relations = find_relations(table, DECIMALS)
    drawn = table.sample(frac=1, random_state=0, ignore_index=True)
    for name in drawn:  # each by itself, so that nothing holds
        drawn[name] = drawn[name].sample(frac=1, ignore_index=True, random_state=len(name))
    drawn.loc[3, "max_7d"] = np.nan
    before = drawn.copy()
    hold(drawn, relations, fixed=["rough"])
    assert (drawn["raw"] >= drawn["low"]).all() and drawn.dtypes.equals(before.dtypes)
    assert ((drawn["max_7d"] >= drawn["raw"]) | drawn["max_7d"].isna()).all()
    assert drawn["max_7d"].isna().sum() == 1
    np.testing.assert_allclose(drawn["whole"], (drawn["load"] + drawn["heat"]).round(1))
    assert drawn["rough"].equals(before["rough"])
    hold(drawn, relations)
    assert (drawn["rough"] == drawn["heat"].round()).all()


def test_what_an_import_finds_holds_in_drawn_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    summary = import_table("m_1", [rows()])
    assert "whole = load + heat" in str(summary) and "--no-relations" in str(summary)
    model = TabularTVAE.fit(rows(), Roles(), TrainConfig())
    config = GenerateConfig(train=500, val=0, test=0, conditions={"rough": 40})
    ((_, drawn),) = draw_splits(model, config, load_profile("m_1"))
    assert (drawn["raw"] >= drawn["low"]).all() and (drawn["rough"] == 40).all()
    np.testing.assert_allclose(drawn["whole"], (drawn["load"] + drawn["heat"]).round(1))
    import_table("m_1", [rows()], relations=False, replace=True)
    imported = load_profile("m_1").imported
    assert imported is not None and imported.relations == []
