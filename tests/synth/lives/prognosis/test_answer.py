"""How long units last: near the truth, as sure as it may be, and open about what it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadParameter, BadTable
from gan_lab.synth.lives.sequential import SequentialTVAE
from tests.synth.lives.prognosis.conftest import CONFIG, ROLES, cut, lives
from tests.synth.lives.tables import fit

NEW = lives(40, seed=7, first=101)


def test_new_units_are_answered_near_the_truth_and_intervals_hold_it(model: SequentialTVAE) -> None:
    running, truth = cut(NEW)
    answer = model.prognose(running)
    assert answer.units.tolist() == truth.index.tolist()
    naive = (65 - running.groupby("unit")["hour"].last()).clip(lower=0)
    error, without = (answer.median - truth).abs().mean(), (naive - truth).abs().mean()
    assert error < 0.5 * without
    held = answer.interval(0.9)
    assert 0.8 <= ((held["lower"] <= truth) & (truth <= held["upper"])).mean() <= 1
    assert (answer.interval(0.5)["upper"] < held["upper"]).all()
    with pytest.raises(BadParameter, match=r"interval\(90\): name a share between 0 and 1"):
        answer.interval(90)
    assert answer.health.argmin() == truth.to_numpy().argmin() or answer.health.min() < 0.1
    late = answer.fails_within(10)
    assert late.equals(answer.fails_within(np.int64(10)))  # a number is a number
    assert late[truth <= 4].min() > late[truth >= 25].max()


def test_figures_of_lives_left_out_say_what_new_units_show(model: SequentialTVAE) -> None:
    answer = model.prognose(cut(NEW)[0])
    assert answer.figures["lives"] == 16
    assert answer.figures["late"]["mae"] < answer.figures["early"]["mae"]
    assert 0.75 <= answer.figures["coverage_90"] <= 1
    assert "16 lives left out" in answer.worth


def test_a_loaded_model_answers_as_the_fitted_one(model: SequentialTVAE, tmp_path: Path) -> None:
    running, _ = cut(NEW[NEW["unit"] < 105])
    model.save(tmp_path / "model")
    again = SequentialTVAE.load(tmp_path / "model").prognose(running)
    pd.testing.assert_frame_equal(again.to_frame(), model.prognose(running).to_frame())


def test_history_is_what_would_have_been_answered_at_each_age(model: SequentialTVAE) -> None:
    running, _ = cut(NEW[NEW["unit"] < 103])
    answer = model.prognose(running)
    history = answer.history(101)
    ages = history.ages[[3, -1]]
    for age in ages:
        then = model.prognose(running[(running["unit"] == 101) & (running["hour"] <= age + 1)])
        now = answer.at(101, age)
        np.testing.assert_allclose(now.quantiles, then.quantiles, rtol=1e-3)
    assert len(history) > 20
    with pytest.raises(BadParameter, match="no unit 7"):
        answer.history(7)


def test_new_rows_move_the_answer_as_if_all_had_come_at_once(model: SequentialTVAE) -> None:
    running, _ = cut(NEW[NEW["unit"] < 105])
    late = (running["unit"] == 104) | ((running["unit"] < 103) & (running["hour"] > 15))
    before = model.prognose(running[~late])
    after, whole = before.update(running[late]), model.prognose(running)
    pd.testing.assert_frame_equal(after.to_frame(), whole.to_frame())
    assert before.units.tolist() == [101, 102, 103]
    assert before.quantile(0.5)[101] != after.quantile(0.5)[101]
    again = after.update(running.tail(9))  # they are there already
    pd.testing.assert_frame_equal(again.to_frame(), whole.to_frame())
    with pytest.raises(BadTable, match="no column 'hour'"):
        after.update(running.drop(columns="hour"))
    unnamed = running[running["unit"] == 101].drop(columns="unit")
    one = model.prognose(unnamed.head(20)).update(unnamed.iloc[20:])
    np.testing.assert_allclose(one.quantiles[0], whole.quantiles[0])


def test_a_unit_that_outlives_all_others_is_named_and_widens(model: SequentialTVAE) -> None:
    young = NEW[NEW["unit"] == 101].drop(columns="rul").head(30)
    old = pd.concat([young] * 5, ignore_index=True).assign(hour=np.arange(1, 151))
    answer = model.prognose(old)
    assert "older than any training life" in answer.remarks[0]
    width = answer.interval(0.9)
    assert (width["upper"] - width["lower"]).iloc[0] > 5


def test_readings_far_outside_all_training_lives_are_named_and_not_used(
    model: SequentialTVAE,
) -> None:
    running, truth = cut(NEW[NEW["unit"] < 110], seed=3)
    strange = model.prognose(running.assign(heat=running["heat"] + 40))
    assert all("heat is far outside all training lives" in remark for remark in strange.remarks)
    without = model.prognose(running.drop(columns="heat"))
    np.testing.assert_allclose(strange.quantiles, without.quantiles)
    held = strange.interval(0.9)
    assert ((held["lower"] <= truth) & (truth <= held["upper"])).mean() > 0.6
    slightly = model.prognose(running.assign(heat=running["heat"] + 13))
    assert any("heat is outside all training lives" in remark for remark in slightly.remarks)


def test_gaps_absent_columns_and_one_row_are_answered(model: SequentialTVAE) -> None:
    running, _ = cut(NEW[NEW["unit"] < 104])
    gaps = running.copy()
    gaps.loc[gaps.index[::3], "vibration"] = np.nan
    assert np.isfinite(model.prognose(gaps).quantiles).all()
    absent = model.prognose(running.drop(columns="vibration"))
    assert "no column vibration" in absent.remarks[0]
    one = model.prognose(running.tail(1))
    assert len(one) == 1 and np.isfinite(one.quantiles).all()
    assert one.ages[0] == pytest.approx(running["hour"].iloc[-1] - 1)


def test_what_cannot_be_read_is_refused_with_the_column(model: SequentialTVAE) -> None:
    running, _ = cut(NEW[NEW["unit"] < 103])
    with pytest.raises(BadTable, match="hour"):
        model.prognose(running.drop(columns="hour"))
    with pytest.raises(BadTable, match="None of the sensors"):
        model.prognose(running[["unit", "hour"]])
    with pytest.raises(BadParameter, match=r"fails_within\('48h'\): give a number of hour"):
        model.prognose(running).fails_within("48h")  # type: ignore[arg-type]
    with pytest.raises(BadTable, match="'heat' should hold numbers"):
        model.prognose(running.assign(heat="warm"))


def test_futures_go_on_from_the_last_row_to_an_end_of_their_own(model: SequentialTVAE) -> None:
    running, _ = cut(NEW[NEW["unit"] < 104], seed=2)
    answer = model.prognose(running)
    futures = answer.futures(60, units=[101, 102], seed=4)
    assert set(running.columns) - {"unit"} <= set(futures.columns)
    for unit, drawn in futures.groupby("unit"):
        own = running[running["unit"] == unit]
        assert drawn["hour"].min() == own["hour"].max() + 1
        lengths = drawn.groupby("future").size()
        assert len(lengths) == 60
        assert (drawn.groupby("future")["rul"].last() == 0).all()
        spread = answer.quantile([0.1, 0.9]).loc[unit]
        assert ((lengths >= spread[0.1] - 2) & (lengths <= spread[0.9] + 2)).mean() > 0.7
        first = drawn.groupby("future").first()
        assert abs(first["heat"].mean() - own["heat"].tail(5).mean()) < 2
        assert first["room"].std() > 0.3
    again = answer.futures(60, units=[101, 102], seed=4)
    pd.testing.assert_frame_equal(futures, again)


def test_a_fit_that_is_stopped_learns_no_prognosis_and_one_that_is_cancelled_ends() -> None:
    class Cancelled(Exception):
        pass

    def cancel() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        SequentialTVAE.fit(lives(6, seed=2), ROLES, CONFIG, check=cancel)
    stopped = SequentialTVAE.fit(
        lives(6, seed=2), ROLES, CONFIG, on_epoch=lambda _: True, check=cancel
    )
    answer = stopped.prognose(cut(NEW[NEW["unit"] < 103])[0])
    assert "No life could be left out" in answer.worth


def test_one_life_does_not_say_how_lives_differ() -> None:
    model = fit(lives(1, seed=2), ROLES, CONFIG)
    running, remains = cut(NEW)
    answer = model.prognose(running)
    held = answer.interval(0.9)
    assert ((remains >= held["lower"]) & (remains <= held["upper"])).mean() > 0.8
    assert "ages alone" in answer.worth


def test_a_unit_whose_last_row_tells_its_end_is_said_to_have_failed_or_to_be_near() -> None:
    def flagged(table: pd.DataFrame) -> pd.DataFrame:
        alarm = np.where(table["rul"] < 5, "red", "green")
        return table.assign(failed=(table["rul"] == 0).astype(int), alarm=alarm)

    model = fit(flagged(lives(8, seed=3)), ROLES, CONFIG)
    table = flagged(lives(3, seed=4))
    running = table[table["rul"] >= table["unit"].map({1: 0, 2: 3, 3: 10})].drop(columns="rul")
    failed, near, well = model.prognose(running).remarks
    assert "failed is 1, as training lives are only at their end: it has failed" in failed
    assert "alarm is red, as training lives are only within 4.5 hour of their end" in near
    assert "failed" not in near and well == ""


@pytest.mark.parametrize("apart_days", [0, 3])
def test_units_of_another_month_are_answered_as_those_of_the_training(
    apart_days: int, tmp_path: Path
) -> None:
    def dated(table: pd.DataFrame, days: int) -> pd.DataFrame:
        start = pd.Timestamp("2025-01-06") + pd.to_timedelta(
            apart_days * table["unit"] + days, unit="D"
        )
        return table.assign(hour=start + pd.to_timedelta(table["hour"], unit="h"))

    model = fit(dated(lives(8, seed=3), 0), ROLES, CONFIG)
    model.save(tmp_path / "model")
    model = SequentialTVAE.load(tmp_path / "model")
    running, _ = cut(lives(3, seed=4))
    then, later = (model.prognose(dated(running, days)) for days in (0, 56))
    np.testing.assert_allclose(later.quantiles, then.quantiles, rtol=1e-4)
    assert later.remarks == then.remarks


def test_rows_of_several_units_without_their_column_are_refused(model: SequentialTVAE) -> None:
    running, _ = cut(NEW)
    with pytest.raises(BadTable, match="no column 'unit', .* the times of these rows go back"):
        model.prognose(running.rename(columns={"unit": "pump"}))
    alone = running[running["unit"] == 101]
    without = model.prognose(alone.drop(columns="unit"))
    np.testing.assert_allclose(without.quantiles, model.prognose(alone).quantiles)


def test_two_units_under_one_name_are_remarked_on(model: SequentialTVAE) -> None:
    running, _ = cut(NEW)
    assert not any("one time" in remark for remark in model.prognose(running).remarks)
    running["unit"] = running["unit"].replace({102: 101})
    answer = model.prognose(running)
    remarks = dict(zip(answer.units, answer.remarks, strict=True))
    assert "are these one unit" in remarks[101]
    assert sum("are these one unit" in remark for remark in remarks.values()) == 1
