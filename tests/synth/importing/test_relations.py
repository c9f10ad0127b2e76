"""What holds in every row of a table: found, said, and kept in what is drawn."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.cluster.tasks import draw_splits
from gan_lab.schema import GenerateConfig, Roles, TrainConfig
from gan_lab.synth.importing.importer import import_table
from gan_lab.synth.importing.relations import find_relations, hold
from gan_lab.synth.tabular.model import TabularTVAE
from gan_lab.workspace.profiles import Relation, load_profile

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


def noticed(table: pd.DataFrame, **decimals: int) -> list[str]:
    return [str(relation) for relation in find_relations(table, decimals)]


def test_what_depends_on_itself_is_cut_where_it_closes() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.normal(230, 5, (300, 3)), columns=["Va", "Vb", "Vc"])
    for one, two in ("ab", "bc", "ca"):
        table[f"V{one}{two}"] = table[f"V{one}"] - table[f"V{two}"]
    relations = find_relations(table, dict.fromkeys(table, 9))
    assert sorted(map(str, relations)) == ["Va = Vb + Vab", "Vc = Va + Vca"]
    drawn = table.sample(frac=1, random_state=0, ignore_index=True)
    for name in drawn:
        drawn[name] = drawn[name].sample(frac=1, random_state=len(name), ignore_index=True)
    hold(drawn, relations)
    np.testing.assert_allclose(drawn["Vc"], drawn["Vb"] + drawn["Vab"] + drawn["Vca"])


def test_what_holding_would_change_is_no_relation() -> None:
    rng = np.random.default_rng(3)
    whole = pd.DataFrame(rng.integers(0, 1000, (400, 2)), columns=["a", "b"])
    assert noticed(whole.assign(c=whole.sum(axis=1)), a=0, b=0, c=0) == ["c = a + b"]
    bounds = ["c >= a", "c >= b"]
    one_more = whole.sum(axis=1) + rng.integers(0, 2, 400)
    assert noticed(whole.assign(c=one_more), a=0, b=0, c=0) == bounds
    parts = (whole / 100).round(2)
    noisy = (parts.sum(axis=1) + rng.choice([-0.01, 0, 0.01], 400)).round(2)
    assert "c = a + b" not in noticed(parts.assign(c=noisy), a=2, b=2, c=2)
    half_up = pd.DataFrame({"a": whole["a"] / 10, "c": np.floor(whole["a"] / 10 + 0.5)})
    assert "c = a rounded" not in noticed(half_up, a=1, c=0)
    assert noticed(half_up.assign(c=half_up["a"].round()), a=1, c=0) == ["c = a rounded"]
    tiny = pd.DataFrame(rng.normal(0, 1e-12, (400, 3)), columns=[*"abc"])  # all are 0.0 rounded
    assert noticed(tiny, a=0, b=0, c=0) == []
    late = pd.concat([whole.assign(c=whole.sum(axis=1))] * 40, ignore_index=True)
    assert noticed(late, a=0, b=0, c=0) == ["c = a + b"]
    late.loc[15_999, "c"] += 1  # a row that is not among those that proposals are made of
    assert noticed(late, a=0, b=0, c=0) == bounds


def test_columns_that_have_nothing_to_do_with_each_other_are_not_tied() -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        table = pd.DataFrame(rng.normal(rng.normal(0, 2, 20), 1, (100, 20))).add_prefix("s")
        found += noticed(table, **dict.fromkeys(table, 9))
    assert found == []


def test_a_wide_table_whose_columns_all_bound_each_other_is_looked_at_in_seconds() -> None:
    rng = np.random.default_rng(4)
    steps = np.cumsum(rng.gamma(0.05, 1, (50_000, 40)), axis=1)
    table = pd.DataFrame(rng.normal(size=(50_000, 1)) + steps).add_prefix("s")
    begin = time.process_time()
    assert len(noticed(table, **dict.fromkeys(table, 9))) == 39
    assert time.process_time() - begin < 4  # 8 s where each pair is sorted anew, in all rows


@pytest.mark.parametrize(
    ("dtype", "most"), [("int8", 127), ("uint8", 200), ("Int8", 127), ("int64", 200)]
)
def test_whole_numbers_stay_in_the_range_of_their_type(dtype: str, most: int) -> None:
    drawn = pd.DataFrame({"a": [100, 1], "b": [100, 2], "c": [0, 0]}).astype(dtype)
    hold(drawn, [Relation(column="c", kind="sum", of=["a", "b"], decimals=0)])
    assert drawn["c"].tolist() == [most, 3] and drawn["c"].dtype == dtype


def test_rows_that_are_no_finite_numbers_stay_as_they_are() -> None:
    drawn = pd.DataFrame({"a": [np.inf, np.nan, 1.0, 1.0], "b": 2.0, "c": [0.0, 0.0, np.inf, 0.0]})
    drawn["text"] = "x"
    hold(
        drawn,
        [
            Relation(column="c", kind="sum", of=["a", "b"], decimals=1),
            Relation(column="b", kind="at least", of=["a"], decimals=1),
            Relation(column="b", kind="rounded", of=["text"], decimals=1),
        ],
    )
    assert drawn["c"].tolist() == [0, 0, np.inf, 3] and drawn["b"].tolist() == [2, 2, 2, 2]


def test_a_column_that_tells_failures_is_tied_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    table = rows().assign(unit=np.arange(400) // 40, fault=0)
    table.loc[39::40, "fault"] = np.arange(10) % 4
    table["fault_copy"] = table["fault"]
    import_table("m_1", [table], life="unit", failure="fault")
    profile = load_profile("m_1")
    assert "fault" not in profile.roles.columns
    assert profile.relations and "fault" not in " ".join(map(str, profile.relations))


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
    parts = load_profile("m_1").model_copy(update={"roles": Roles(rul="raw")})
    ((_, drawn),) = draw_splits(model, config, parts)
    assert (drawn["raw"] < drawn["low"]).any()  # what plays a part is not made to hold
    assert (drawn["max_7d"] >= drawn["raw"]).all()
    import_table("m_1", [rows()], relations=False, replace=True)
    imported = load_profile("m_1").imported
    assert imported is not None and imported.relations == []
