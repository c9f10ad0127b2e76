"""Imported lives of which not all are known to their end: from the file to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gan_lab.cluster.models import model_class
from gan_lab.errors import BadTable
from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.importing.importer import ImportSummary, import_table
from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.rul_column import RulColumn
from gan_lab.synth.report.evaluate import evaluate
from gan_lab.synth.report.page import render_html
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.tables import SplitWriter, read_seed, read_synthetic, split_holdout
from tests.synth.importing.test_importer import lives
from tests.synth.lives.tables import wearing_machines

PARTS = {"life": "unit", "time": "cycle"}


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))


@pytest.fixture
def brought(tmp_path: Path) -> Any:
    def bring(table: pd.DataFrame, **roles: Any) -> ImportSummary:
        table.to_csv(tmp_path / "a.csv", index=False)
        return import_table("mine_1", [tmp_path / "a.csv"], replace=True, **{**PARTS, **roles})

    return bring


def test_lives_without_a_rul_come_in_and_are_said(brought: Any) -> None:
    table = lives()
    summary = brought(table.assign(rul=table["rul"].mask(table["unit"] == 2)), rul="rul")
    (note,) = [note for note in summary.notes if note.startswith("Lives without a rul")]
    assert "1 of 3, such as 2." in note and "have no rul either" in note
    assert read_seed("mine_1").groupby("unit")["rul"].count().tolist() == [20, 0, 20]
    gaps = table["rul"].mask((table["cycle"] % 5 == 0) & (table["unit"] == 3))
    summary = brought(table.assign(rul=gaps), rul="rul")
    assert any("missing in some rows: 1, such as 3." in note for note in summary.notes)


def test_a_rul_that_no_life_has_or_that_rises_behind_a_gap_is_refused(brought: Any) -> None:
    with pytest.raises(BadTable, match="'rul' cannot be the rul: no row has one. .*--failure"):
        brought(lives().assign(rul=None), rul="rul")
    rising = lives().assign(rul=lives()["rul"].mask(lives()["cycle"] == 5))
    rising.loc[rising["cycle"] == 6, "rul"] = 18
    with pytest.raises(BadTable, match="rises in life 1"):
        brought(rising, rul="rul")


def test_without_lives_a_rul_must_be_whole(tmp_path: Path) -> None:
    lives().assign(rul=lives()["rul"].mask(lives()["unit"] == 2)).to_csv(tmp_path / "a.csv")
    with pytest.raises(BadTable, match="'rul' cannot be the rul: 20 rows lack it"):
        import_table("mine_1", [tmp_path / "a.csv"], rul="rul")


def test_of_a_flag_and_a_mode_both_are_used(brought: Any) -> None:
    table = lives().drop(columns="rul")
    table["failed"] = (table["cycle"] == 20) & (table["unit"] < 3)
    table["cause"] = np.where(table["unit"] == 1, "wear", "crack")
    summary = brought(table, failure="failed", failure_mode="cause")
    assert load_profile("mine_1").roles == Roles(**PARTS, rul="rul", failure_mode="cause")
    said = {column.name: column for column in summary.columns}
    assert (said["rul"].role, said["rul"].missing, said["rul"].maximum) == ("rul", 20, 19)
    with pytest.raises(BadTable, match="'mode' cannot be the failure mode: it changes within life"):
        brought(table, failure="failed", failure_mode="mode")


def test_a_unit_that_runs_on_behind_a_failure_is_cut_there(brought: Any) -> None:
    table = pd.DataFrame({"unit": np.repeat(["A", "B", "C"], 10), "cycle": np.tile(range(10), 3)})
    table["heat"] = np.arange(30.0)
    table["failed"] = 0
    table.loc[[3, 4, 9, 15, 29], "failed"] = 1  # A twice, the first in two rows; B runs on; C
    summary = brought(table, failure="failed")
    seed = read_seed("mine_1")
    ends = seed.groupby("unit", sort=False)["rul"].agg(["size", "first", "last"])
    assert ends.index.tolist() == ["A #1", "A #2", "B #1", "B #2", "C"]
    assert ends["size"].tolist() == [5, 5, 6, 4, 10]
    assert ends["first"].tolist()[:3] == [4, 4, 5] and ends["first"]["C"] == 9
    assert ends["last"][["A #1", "A #2", "B #1", "C"]].eq(0).all()
    assert pd.isna(ends["first"]["B #2"])
    assert any("ran on behind a failure: 2" in note for note in summary.notes)


def test_every_unit_ends_in_failure_and_a_flag_says_where_it_failed_before(brought: Any) -> None:
    table = lives(3).drop(columns="rul")
    age = table.groupby("unit").cumcount()
    table["failed"] = np.where((table["unit"] == table["unit"].iloc[0]) & (age == 9), "seal", "")
    brought(table, failure="failed", ends_in_failure=True)
    seed = read_seed("mine_1")
    assert seed["unit"].nunique() == 4 and seed["rul"].notna().all()
    assert "failure_mode" not in seed  # of the ends of the record nobody knows how


def test_few_lives_and_gaps_in_their_time_are_said(brought: Any) -> None:
    table = lives(3)
    assert "Lives: 3. A report needs 10, three of them held out." in brought(table).notes
    many = lives(12)
    assert not any(note.startswith(("Lives:", "Gaps")) for note in brought(many).notes)
    later = many.groupby("unit").cumcount() >= 10
    many["cycle"] += np.where(later & (many["unit"] == many["unit"].iloc[0]), 500, 0)
    (said,) = [note for note in brought(many).notes if note.startswith("Gaps")]
    assert f"Gaps in time: 1, the longest of {many['unit'].iloc[0]} (501 " in said


def test_a_sensor_is_no_failure(brought: Any) -> None:
    with pytest.raises(BadTable, match="'heat' holds numbers with decimals"):
        brought(lives(6).drop(columns="rul").assign(heat=0.5), failure="heat")


def test_a_code_in_the_failing_row_is_the_failure_mode_of_the_life(brought: Any) -> None:
    table = lives().drop(columns="rul")
    last = table["cycle"] == 20
    table["code"] = table["unit"].map({1: "wear", 2: "crack"}).where(last)
    summary = brought(table, failure="code")
    assert load_profile("mine_1").roles == Roles(**PARTS, rul="rul", failure_mode="failure_mode")
    modes = read_seed("mine_1").groupby("unit")["failure_mode"]
    assert modes.nunique(dropna=False).tolist() == [1, 1, 1]
    assert modes.first().fillna("none").tolist() == ["wear", "crack", "none"]
    assert any("'failure_mode' is what 'code' says" in note for note in summary.notes)


def test_the_fall_of_a_rul_is_read_across_its_gaps() -> None:
    packed = Packed(np.array([20, 20, 20]))
    rul = np.tile(24.0 * np.arange(20)[::-1], 3)
    rul[packed.age % 2 == 1] = np.nan
    rul[packed.life == 1] = np.nan
    wear, remaining = RulColumn.fit(pd.Series(rul, name="rul"), packed.age.astype(float), packed)
    assert (wear.rate, wear.lowest) == (24.0, 24.0)
    assert np.isnan(remaining[packed.life == 1]).all()
    assert remaining[packed.life == 0].tolist() == list(range(18, -2, -1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sequential", "tabular"])
def test_lives_without_a_rul_and_types_with_gaps_to_the_report(tmp_path: Path, kind: str) -> None:
    table = wearing_machines()
    table["rul"] = table["rul"].astype("Int64").mask(table["machine"] % 4 == 1)
    table["load"] = table["load"].astype("Int64").mask(table["load"] > 95)
    table["alarm"] = table["alarm"].astype("boolean").mask(table["load"] < 5)
    table = table.astype({"machine": "Int64", "heat": "Float64"})
    table.to_parquet(tmp_path / "a.parquet")
    roles = Roles(
        life="machine", time="time", rul="rul", state="state", failure_mode="failure_mode"
    )
    import_table("mine_1", [tmp_path / "a.parquet"], **roles.model_dump())
    seed = read_seed("mine_1")
    pd.testing.assert_frame_equal(seed, table)
    train, holdout = split_holdout(seed, roles, 0.2, seed=0)
    for side in (train, holdout):
        assert set(side["rul"].notna().groupby(side["machine"]).any()) == {True, False}
    model = model_class(kind).fit(train, roles, TrainConfig(epochs=40))
    with SplitWriter("mine_1", "task", "model") as writer:
        writer.write("train", pd.concat(model.sample(rows=600)))
    drawn = read_synthetic("mine_1")
    assert drawn.dtypes.to_dict() == seed[list(drawn)].dtypes.to_dict()
    if kind == "sequential":
        unknown = drawn["rul"].isna().groupby(drawn["machine"]).agg(["all", "any"])
        assert (unknown["all"] == unknown["any"]).all()
        assert 0 < unknown["all"].mean() < 0.6
    report = evaluate(drawn, train, holdout, roles, load_profile("mine_1"))
    assert "rul" in render_html(report)
    assert report.utility[0].scores["synthetic"]["r2"] is not None


def test_a_row_that_is_there_twice_is_kept_once_and_two_units_under_one_name_are_said(
    brought: Any,
) -> None:
    table = lives(4)
    summary = brought(pd.concat([table, table[table["unit"] == table["unit"].iloc[0]]]), rul="rul")
    assert summary.rows == len(table)
    assert any("rows were there twice: one of each is kept" in note for note in summary.notes)
    names = table["unit"].unique()
    mixed = table.assign(unit=table["unit"].replace({names[1]: names[0]})).drop(columns="rul")
    mixed["Temp [°C]"] += 0.01 * np.arange(len(mixed))
    said = [note for note in brought(mixed).notes if "two units under one name" in note]
    assert len(said) == 1 and f"such as {names[0]} at" in said[0]


def test_how_lives_end_is_asked_for_where_no_column_says_it(brought: Any) -> None:
    said = "No column says how lives ended"
    assert any(said in note for note in brought(lives().drop(columns="rul")).notes)
    ended = brought(lives().drop(columns="rul"), ends_in_failure=True)
    assert not any(said in note for note in ended.notes)


def test_units_that_nobody_tells_apart_are_not_one(brought: Any) -> None:
    table = lives().assign(failed=lambda all: (all["rul"] == 0).astype(int)).drop(columns="rul")
    with pytest.raises(BadTable, match=r"several units, .* with --life"):
        brought(table, life=None, failure="failed")
