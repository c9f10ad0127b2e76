"""The trees of plain tables: what they draw is like what they saw, no copy of it, and as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from gan_lab.errors import BadParameter, TaskCancelled
from gan_lab.schema import GenerateConfig, Roles, TrainConfig
from gan_lab.synth.tabular import tree_model
from gan_lab.synth.tabular.model import TabularTVAE

ALONE = TrainConfig()
ROWS = 3_000


def make_table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A machine's rows: sums, sensors that are off as one, a cap, a grid, a failure of 2 %."""
    rng = np.random.default_rng(seed)
    load = rng.gamma(3, 10, rows)
    heat = 20 + 0.8 * load + rng.normal(0, 1, rows)
    off = rng.random(rows) < 0.15
    hot = heat + 5 * rng.normal(size=rows)
    return pd.DataFrame(
        {
            "plant": "north",
            "load": load,
            "heat": heat.round(1),
            "left": np.where(off, np.nan, load + rng.normal(0, 0.1, rows)),
            "right": np.where(off, np.nan, load - rng.normal(0, 0.1, rows)),
            "sum": load + heat,
            "step": (rng.integers(0, 60, rows) * 5),
            "rul": rng.integers(0, 400, rows).clip(max=125),
            "site": rng.choice(["a", "b", "c"], rows, p=[0.7, 0.2, 0.1]),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), "D"),
            "failure": (hot > np.quantile(hot, 0.98)).astype(int),
        }
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_table()


@pytest.fixture(scope="module")
def model(table: pd.DataFrame) -> TabularTVAE:
    return TabularTVAE.fit(table, Roles(), ALONE)


def draw(model: TabularTVAE, rows: int = ROWS, seed: int = 0, **conditions: object) -> pd.DataFrame:
    asked = GenerateConfig(conditions=conditions or None)  # type: ignore[arg-type]
    return pd.concat(model.sample(rows=rows, seed=seed, conditions=asked))


def test_what_is_drawn_is_like_what_was_seen(table: pd.DataFrame, model: TabularTVAE) -> None:
    drawn = draw(model, 6_000)
    assert drawn.dtypes.to_dict() == table.dtypes.to_dict()
    numbers = ["load", "heat", "left", "right", "sum", "rul"]
    assert (drawn[numbers].min() >= table[numbers].min()).all()
    assert (drawn[numbers].max() <= table[numbers].max()).all()
    strength = drawn[numbers].corr() - table[numbers].corr()
    assert strength.abs().to_numpy().max() < 0.1
    assert strength.loc["load", ["heat", "sum"]].abs().max() < 0.01
    assert (drawn["sum"] - drawn["load"] - drawn["heat"]).abs().median() < 0.4
    assert (drawn["rul"] == 125).mean() == pytest.approx((table["rul"] == 125).mean(), abs=0.03)
    assert (drawn["heat"] == drawn["heat"].round(1)).all()
    assert (drawn["step"] % 5 == 0).all() and (drawn["day"] == drawn["day"].dt.normalize()).all()
    assert set(drawn["plant"]) == {"north"} and set(drawn["site"]) == {"a", "b", "c"}


def test_what_is_off_together_is_off_together(table: pd.DataFrame, model: TabularTVAE) -> None:
    gone = draw(model)[["left", "right"]].isna()
    assert (gone["left"] == gone["right"]).all()
    assert gone["left"].mean() == pytest.approx(table["left"].isna().mean(), abs=0.02)


def test_a_class_is_as_rare_as_it_was_and_goes_with_the_same_rows(
    table: pd.DataFrame, model: TabularTVAE
) -> None:
    drawn = draw(model, 20_000)
    assert drawn["failure"].mean() == pytest.approx(table["failure"].mean(), rel=0.25)
    means = [each.groupby("failure")["heat"].mean() for each in (table, drawn)]
    assert means[0][1] - means[0][0] == pytest.approx(means[1][1] - means[1][0], rel=0.15)


def test_a_continuous_value_is_not_copied_digit_for_digit(
    table: pd.DataFrame, model: TabularTVAE
) -> None:
    drawn = draw(model, 20_000)
    for name in ("load", "sum", "left"):
        assert drawn[name].isin(table[name].dropna()).mean() < 0.02


def test_rounded_numbers_stay_rounded_and_rows_of_them_are_seldom_copies() -> None:
    rng = np.random.default_rng(0)
    heat = (rng.normal(300, 2, ROWS)).round(1)
    table = pd.DataFrame({"heat": heat, "out": (heat + 10 + rng.normal(0, 0.3, ROWS)).round(1),
                          "speed": (1500 + 100 * rng.normal(size=ROWS)).round(-1),
                          "load": rng.gamma(4, 10, ROWS).round().clip(max=60)})  # fmt: skip
    drawn = draw(TabularTVAE.fit(table, Roles(), ALONE), 9_000)
    assert (drawn["speed"] % 10 == 0).mean() > 0.98
    assert (drawn["heat"] == drawn["heat"].round(1)).all()
    assert (drawn["load"] == 60).mean() == pytest.approx((table["load"] == 60).mean(), abs=0.02)
    rows = [pd.MultiIndex.from_frame(each) for each in (table, drawn)]
    assert rows[1].isin(rows[0]).mean() < 0.04  # 0.06 where leaves give back what they hold


def test_a_file_holds_no_row_and_draws_the_same_rows(model: TabularTVAE, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = TabularTVAE.load(tmp_path / "model")
    for asked in ({}, {"failure": 1}, {"site": {"c": 0.5}}):
        drawn = [draw(each, 500, **asked) for each in (model, loaded)]
        pd.testing.assert_frame_equal(*drawn, check_exact=True)
    assert not draw(model, seed=1).equals(draw(model, seed=2))
    kept = load_file(tmp_path / "model")
    trees = [name.removesuffix("feature") for name in kept if name.endswith("feature")]
    leaves = [
        kept[tree + "values"][a:b]
        for tree in trees
        for a, b in zip(kept[tree + "start"], kept[tree + "stop"], strict=True)
        if b > a
    ]
    assert min(map(len, leaves)) >= 5
    assert all((np.diff(leaf) >= 0).all() for leaf in leaves)  # in an order that no row has


def test_it_says_each_column_and_stops_between_two(table: pd.DataFrame) -> None:
    said: list[tuple[int, int, str]] = []
    TabularTVAE.fit(table, Roles(), ALONE, on_column=lambda *each: said.append(each))
    trees = 2 * (len(table.columns) + 1)  # of two classes; one more: the gap of two columns
    assert [done for done, _, _ in said] == list(range(1, trees + 1))
    assert {of for _, of, _ in said} == {trees}
    assert [name for _, _, name in said][-1] == "failure"

    def stop(done: int, *_: object) -> None:
        if done == 3:
            raise TaskCancelled("enough")

    with pytest.raises(TaskCancelled):
        TabularTVAE.fit(table, Roles(), ALONE, on_column=stop)


def test_a_number_that_none_of_the_rows_to_learn_from_knows_is_drawn_as_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tree_model, "MAX_ROWS", 100)
    table = pd.DataFrame({"heat": np.linspace(20, 90, 2_000), "wear": np.nan})
    table.loc[7, "wear"] = 1.0
    drawn = draw(TabularTVAE.fit(table, Roles(), ALONE), rows=50)
    assert drawn["wear"].isna().all() and drawn["heat"].between(20, 90).all()


def test_a_condition_that_most_classes_never_meet_draws_rows_of_those_that_do() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"mode": rng.choice(list("abcdefgh"), 4_000), "heat": rng.normal(size=4_000)}
    )
    table["heat"] += 10.0 * (table["mode"] == "c")
    model = TabularTVAE.fit(table, Roles(failure_mode="mode"), ALONE)
    assert len(draw(model, rows=700, mode="c")) == 700
    hot = draw(model, rows=700, heat=(8.0, 12.0))
    assert len(hot) == 700 and set(hot["mode"]) == {"c"} and hot["heat"].between(8, 12).all()


def test_conditions_are_met_exactly(model: TabularTVAE) -> None:
    drawn = draw(model, 1_000, failure=1)
    assert (drawn["failure"] == 1).all()
    assert drawn["heat"].mean() > 60  # where failures are
    drawn = draw(model, 1_000, site={"c": 0.25, "b": 0.75})
    assert drawn["site"].value_counts().to_dict() == {"b": 750, "c": 250}
    assert drawn["site"].iloc[:100].nunique() == 2  # in no order
    drawn = draw(model, 1_000, left=(20, 40.5), failure=0)
    assert drawn["left"].between(20, 40.5).all() and (drawn["failure"] == 0).all()
    assert drawn["right"].notna().all() and (drawn["right"] - drawn["left"]).abs().max() < 3
    drawn = draw(model, 300, site={"c": 0.5}, day=("2024-02-01", "2024-02-29"), rul=125)
    assert drawn["day"].dt.strftime("%Y-%m").unique() == ["2024-02"]
    assert (drawn["site"] == "c").sum() == 150 and (drawn["rul"] == 125).all()


def test_shares_are_exact_over_all_chunks(
    model: TabularTVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_lab.synth.tabular.model.CHUNK_ROWS", 70)
    drawn = draw(model, 999, failure={"1": 1 / 3})
    assert len(drawn) == 999 and drawn["failure"].sum() == 333
    assert (drawn.index == np.arange(999)).all()


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"speed": 1}, "'speed' is no column"),
        ({"site": "d"}, "of the 3,000 rows learned from 0 showed it. They showed a "),
        ({"failure": 2}, r"failure=2 .* 0 showed it. They showed 0 \(2,940 rows\), 1 \(60 rows\)"),
        ({"heat": (500, 600)}, "heat=500.* to 600.* 0 showed it. They showed .* to "),
        ({"heat": "much"}, "'much' is no value that 'heat' can have"),
        ({"site": ("a", "b")}, "no range"),
        ({"heat": {"21": 0.5}}, "shares of a number add up to 1|0 showed it"),
    ],
)
def test_what_no_row_showed_is_refused(
    model: TabularTVAE, conditions: dict[str, object], says: str
) -> None:
    with pytest.raises(BadParameter, match=says):
        draw(model, **conditions)


def test_what_rows_never_showed_together_is_refused() -> None:
    a = np.repeat([0, 1], 500)
    model = TabularTVAE.fit(
        pd.DataFrame({"a": a, "b": a * 3, "x": np.arange(1000.0)}), Roles(), ALONE
    )
    with pytest.raises(BadParameter, match="a=0, b=3 .*together.*1,000 rows learned from 0"):
        draw(model, a=0, b=3)


def test_a_target_is_named_or_found(table: pd.DataFrame) -> None:
    def last(roles: Roles, **options: object) -> str:
        config = ALONE.model_copy(update=options)
        model = TabularTVAE.fit(table, roles, config)
        assert model.trees is not None
        return model.trees.ranks.variables[-1].name

    assert last(Roles()) == "failure"
    assert last(Roles(rul="rul")) == "rul"
    assert last(Roles(rul="rul"), target="site") == "site"
    with pytest.raises(BadParameter, match="target='speed' is no column"):
        last(Roles(), target="speed")


def test_trees_alone_are_no_file_of_sdv(model: TabularTVAE, tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="This model is trees"):
        model.export_sdv(tmp_path / "sdv.pkl")


def test_what_is_missing_in_all_rows_of_a_class_stays_so() -> None:
    rng = np.random.default_rng(0)
    fault = np.where(rng.random(1000) < 0.1, "yes", None)
    gone = np.where(fault == "yes", np.nan, rng.normal(size=1000))
    model = TabularTVAE.fit(pd.DataFrame({"x": gone, "fault": fault}), Roles(), ALONE)
    drawn = draw(model)
    assert (drawn["x"].isna() == (drawn["fault"] == "yes")).all()
    assert drawn["fault"].notna().mean() == pytest.approx(0.1, abs=0.04)
