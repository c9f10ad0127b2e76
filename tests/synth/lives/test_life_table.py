"""A table of lives as people have it: its columns are recognised, and come back as they were."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadTable
from gan_lab.schema import Roles
from gan_lab.synth.lives.life_table import LEFT
from gan_lab.synth.lives.sequential import SequentialTVAE
from tests.synth.lives.tables import (
    MACHINE_ROLES,
    ROLES,
    draw,
    fit,
    of_each,
    simple_lives,
    two_kinds,
)


@pytest.fixture(scope="module")
def odd() -> pd.DataFrame:
    """Lives with columns of many kinds, some of which are lacking or have a name of our own."""
    table, rng, lives = simple_lives(48), np.random.default_rng(0), np.arange(48)
    table["rows"] = of_each(table, lives * 37.5 + 500)
    table["left"] = table["rows"] / 2
    table["start"] = table["rows"] + table["t"]
    built = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(lives * 9, "D"))
    table["built"] = of_each(table, built.where(lives % 3 > 0).to_numpy())
    table["offset"] = of_each(table, np.where(lives % 3 == 1, np.nan, lives / 7))
    table["serial"] = of_each(table, np.array([f"no {n}" for n in lives]))
    table["site"] = of_each(table, np.array(["north", "south"])[lives % 2])
    used = pd.Series((rng.random(len(table)) < 0.3).astype(int)).groupby(table["unit"]).cumsum()
    table["fuel"] = 100 - used
    table["stock"] = (table["fuel"] - table["fuel"].min()).astype("uint16")
    table["to_go"] = 3 * table["rul"]
    table["pad"] = (12 - 0.049 * used).round(3)
    table["failed"] = table["rul"] == 0
    table["heat"] += 9 * table["failed"]  # as a setting would
    found = np.where(table["unit"] % 3 == 0, "smoke", "noise")
    table["found"] = np.where(table["rul"] <= 2, found, None)
    return table


@pytest.fixture(scope="module")
def odd_model(odd: pd.DataFrame) -> SequentialTVAE:
    return fit(odd)


@pytest.fixture(scope="module")
def drawn(odd_model: SequentialTVAE) -> pd.DataFrame:
    return draw(odd_model, lives=60)


def test_a_column_may_be_called_anything(odd: pd.DataFrame, drawn: pd.DataFrame) -> None:
    assert (drawn.groupby("unit").size() == 40).all()
    assert (drawn.groupby("unit")["rul"].last() == 0).all()
    assert drawn["t"].between(0, 39).all()
    for name in ("rows", "left", "start"):
        assert drawn[name].between(odd[name].min(), odd[name].max()).all()


def test_a_number_of_a_life_is_one_number_or_none(drawn: pd.DataFrame) -> None:
    each = drawn.groupby("unit")[["built", "offset"]]
    assert (each.nunique(dropna=False) == 1).all(axis=None)
    assert each.first().isna().mean().tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.1)


def test_a_sensor_that_is_not_fitted_to_some_units_has_no_other_gaps_in_the_rest() -> None:
    table, rng = simple_lives(40), np.random.default_rng(1)
    gone = {name: rng.random(len(table)) < 0.1 for name in ("flow", "grade")}
    table["flow"] = np.where(gone["flow"], np.nan, rng.normal(5, 1, len(table)))
    table["grade"] = np.where(gone["grade"], None, rng.choice(["a", "b"], len(table)))
    table["site"] = of_each(table, np.array(["old", "new", "new", "new"] * 10))
    table.loc[table["site"] == "old", ["flow", "grade"]] = None
    drawn = draw(fit(table, epochs=12), lives=80)
    lacking = drawn[["flow", "grade"]].isna().groupby(drawn["unit"]).all()
    assert (lacking["flow"] == lacking["grade"]).all()
    assert (lacking["flow"] == (drawn.groupby("unit")["site"].first() == "old")).all()
    rest = drawn[drawn["site"] == "new"]
    assert rest[["flow", "grade"]].isna().mean().tolist() == pytest.approx([0.1, 0.1], abs=0.05)


def test_what_is_used_up_only_falls(
    odd: pd.DataFrame, odd_model: SequentialTVAE, drawn: pd.DataFrame
) -> None:
    counters = {column.name for column in odd_model.table.sensors if column.counter}
    assert counters & {"fuel", "stock", "pad", "to_go"} == {"fuel", "stock", "pad"}
    assert drawn["stock"].dtype == "uint16"
    assert (drawn["pad"] == drawn["pad"].round(3)).all()
    assert drawn["fuel"].min() >= odd["fuel"].min()
    falls = drawn["fuel"].groupby(drawn["unit"]).diff().dropna()
    assert set(falls) == {-1, 0}
    assert falls.mean() == pytest.approx(-0.3, abs=0.05)


def test_a_name_of_each_life_tells_the_networks_nothing(
    odd: pd.DataFrame, odd_model: SequentialTVAE, drawn: pd.DataFrame
) -> None:
    table = odd_model.table
    told = [table.conditions.groups[group].name for group in table.inputs]
    assert "site" in told and "serial" not in told
    assert set(drawn["serial"]) <= set(odd["serial"])


def test_what_tells_that_a_life_has_ended_is_told_there_only(drawn: pd.DataFrame) -> None:
    assert (drawn["failed"] == (drawn["rul"] == 0)).all()
    assert (drawn["found"].notna() == (drawn["rul"] <= 2)).all()
    assert (drawn["found"].dropna() == "smoke").mean() == pytest.approx(1 / 3, abs=0.15)


def test_a_state_with_too_many_values_is_refused() -> None:
    table, roles = simple_lives(), ROLES.model_copy(update={"state": "odd"})
    table["odd"] = table["t"] % 26
    with pytest.raises(BadTable, match="Column 'odd' holds .*too many for operating states"):
        fit(table, roles)


def test_columns_keep_their_nature(model: SequentialTVAE, table: pd.DataFrame) -> None:
    drawn = draw(model, lives=40)
    assert drawn["machine"].nunique() == 40
    assert set(drawn["speed"]) <= {0, 700, 1500}
    assert (drawn["firmware"] == "v2").all()
    assert (drawn.groupby("machine")[["site", "failure_mode"]].nunique() == 1).all(axis=None)
    assert (drawn.groupby("machine")["starts"].diff().dropna() >= 0).all()
    speed_of = {"idle": 0, "half": 700, "full": 1500}
    assert (drawn["speed"] == drawn["state"].map(speed_of)).all()
    assert drawn["heat"].dropna().between(table["heat"].min(), table["heat"].max()).all()
    assert (drawn["heat"].dropna().round(1) == drawn["heat"].dropna()).all()


@pytest.mark.parametrize(
    "dropped", [["rul"], ["state"], ["time"], ["rul", "state", "failure_mode"]]
)
def test_tables_without_a_role(table: pd.DataFrame, dropped: list[str]) -> None:
    fewer = table.drop(columns=dropped)
    drawn = draw(fit(fewer, MACHINE_ROLES.model_copy(update=dict.fromkeys(dropped))), rows=333)
    assert len(drawn) == 333
    assert list(drawn.columns) == list(fewer.columns)


@pytest.mark.parametrize("kept", [["load", "heat"], ["alarm", "state"]])
def test_lives_of_numbers_alone_or_of_words_alone(table: pd.DataFrame, kept: list[str]) -> None:
    fewer = table[["machine", "rul", *kept]]
    roles = Roles(life="machine", rul="rul")
    drawn = draw(fit(fewer, roles), lives=60)
    for name in kept:
        assert drawn[name].isna().mean() == pytest.approx(fewer[name].isna().mean(), abs=0.03)
        if drawn[name].dtype.kind in "if":
            assert drawn[name].std() == pytest.approx(fewer[name].std(), rel=0.2)
        else:
            shares = fewer[name].value_counts(normalize=True)
            found = drawn[name].value_counts(normalize=True)
            assert (found - shares).abs().max() < 0.15


@pytest.mark.parametrize(
    ("column", "values", "named"),
    [
        ("machine", None, "'machine' is missing"),
        ("note", None, "'note' has no value"),
        ("rul", "rising", "'rul' does not fall evenly"),
    ],
)
def test_what_cannot_be_modelled_is_refused_by_name(
    table: pd.DataFrame, column: str, values: object, named: str
) -> None:
    wrong = table.copy()
    if values == "rising":
        wrong[column] = -wrong[column]
    elif column == "note":
        wrong[column] = np.nan
    else:
        wrong[column] = wrong[column].astype(float)
        wrong.loc[3, column] = values
    with pytest.raises(BadTable, match=named):
        fit(wrong, MACHINE_ROLES)


@pytest.mark.parametrize("kept", [["mode"], ["state"], ["mode", "size"]])
def test_a_table_may_have_no_number_to_learn(kept: list[str]) -> None:
    table = two_kinds().drop(columns=["heat", "wear", "mode"])
    table["mode"], table["size"] = table["unit"].mod(2).map({0: "a", 1: "b"}), table["unit"] * 0.5
    table["state"] = np.where(table["t"] // 10 % 2, "on", "off")
    roles = Roles(
        life="unit", time="t", rul="rul", failure_mode="mode" if "mode" in kept else None,
        state="state" if "state" in kept else None,
    )  # fmt: skip
    table = table[["unit", "t", "rul", *kept]]
    drawn = draw(fit(table, roles), lives=5)
    assert list(drawn) == list(table) and (drawn.groupby("unit")["rul"].last() == 0).all()


def test_a_life_cut_short_is_not_taken_for_one_that_failed() -> None:
    table = simple_lives()
    table["rul"] = (100 * table["rul"] / 39).round(2)
    table = table[(table["unit"] % 2 == 0) | (table["t"] < 25)].reset_index(drop=True)
    model = fit(table)
    ends = draw(model, lives=40).groupby("unit")["rul"].last()
    reached = ends <= table["rul"].min() + (table["rul"].max() - table["rul"].min()) * 0.02
    assert reached.mean() == pytest.approx(0.5, abs=0.1)
    cut = table.groupby("unit")["rul"].last().max()
    assert ends[~reached].median() / cut == pytest.approx(1, abs=0.3)


def test_a_life_barely_begun_is_as_far_from_its_end_as_most_are() -> None:
    table = simple_lives(30)
    table["rul"] = (100 * table["rul"] / 39).round()
    rows = np.where(np.arange(30) < 6, np.array([1, 2])[np.arange(30) % 2], 40)
    model = fit(table[table["t"] < of_each(table, rows)].reset_index(drop=True))
    left = sorted(model.table.covariates[LEFT].values)
    assert left[-7:] == pytest.approx([0, 38, 38, 38, 39, 39, 39], abs=1)


def test_a_rul_that_counts_rows_falls_by_rows_however_long_each_took() -> None:
    table = simple_lives()
    table["t"] = table["t"] ** 2  # each row takes longer than the one before
    drawn = draw(fit(table), lives=10)
    assert (drawn["rul"] == drawn.groupby("unit").cumcount(ascending=False)).all()
    with pytest.raises(BadTable, match="'rul' does not fall evenly"):
        fit(table.assign(rul=np.sqrt(table["rul"])))


def test_capped_and_censored_lives(table: pd.DataFrame) -> None:
    cut = table[(table["machine"] % 2 == 0) | (table["rul"] > 10)].copy()
    cut["rul"] = cut["rul"].clip(upper=25)
    drawn = draw(fit(cut, MACHINE_ROLES), lives=100)
    assert drawn["rul"].max() == 25
    ends = drawn.groupby("machine")["rul"].last()
    assert (ends > 5).mean() == pytest.approx(0.5, abs=0.15)


def test_a_code_of_the_last_row_goes_with_the_failure_mode() -> None:
    table, roles = simple_lives(), ROLES.model_copy(update={"failure_mode": "mode"})
    table["mode"] = of_each(table, np.array(["wear", "crack", "leak"])[np.arange(24) % 3])
    table["code"] = table["mode"].where(table["rul"] == 0)
    drawn = draw(fit(table, roles), lives=60).groupby("unit").tail(1)
    assert (drawn["code"] == drawn["mode"]).all()


def test_what_tells_an_end_is_lacking_in_lives_that_did_not_end() -> None:
    table = simple_lives()
    ended = table["unit"] % 3 > 0
    table["found"] = np.where((table["rul"] == 0) & ended, "smoke", None)
    table["rul"] = table["rul"].where(ended)
    drawn = draw(fit(table), lives=60)
    assert (drawn["found"].notna() == (drawn["rul"] == 0)).all()
    assert drawn["rul"].isna().mean() == pytest.approx(1 / 3, abs=0.05)
