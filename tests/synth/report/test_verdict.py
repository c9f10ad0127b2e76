"""Planted faults are found and named; a second real sample is not accused; sentences are whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.schema import Roles
from gan_lab.synth.report import utility
from gan_lab.synth.report.compared_tables import compare
from gan_lab.synth.report.detection import told_apart
from gan_lab.synth.report.finding import amount, listed, percent
from gan_lab.synth.report.privacy import Memory, Privacy, remembered
from gan_lab.synth.report.utility import Task
from gan_lab.synth.report.verdict import judge
from tests.synth.report.samples import TURBOFAN, WEARING, Parts, accused, parts, three, verdict


@pytest.fixture(scope="module")
def turbofan(shared_data: Path) -> pd.DataFrame:
    """Every fourth row of the hundred engines, and a third of what is measured on them."""
    sensors = [f"sensor_{number}" for number in (2, 4, 7, 9, 11, 12, 17)]
    table = pd.read_parquet(shared_data / "train_FD001.parquet").iloc[::4].reset_index(drop=True)
    return table[["unit", "cycle", *sensors]].assign(rul=table["rul"].clip(upper=125))


def strongest(table: pd.DataFrame, roles: Roles) -> str:
    """The sensor that goes most with remaining useful life."""
    numbers = table.select_dtypes("number").drop(columns=[roles.life, roles.rul, roles.time])
    return str(numbers.corrwith(table[roles.rul], method="spearman").abs().idxmax())


def shuffled(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    name = strongest(t[1], roles)
    mixed = np.random.default_rng(0).permutation(t[0][name].to_numpy())
    return t[0].assign(**{name: mixed}), "relation", name


def copied(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    rows = t[1].sample(len(t[0]) // 10, random_state=0)
    rows = rows.assign(**{roles.life: t[0][roles.life].iloc[0]})
    return pd.concat([t[0], rows], ignore_index=True), "copies", ""


def copied_in_disguise(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    noisy = {n: t[1][n] + t[1][n].std() / 1000 for n in t[1].select_dtypes("float")}
    return copied((t[0], t[1].assign(**noisy), t[2]), roles)[0], "near_copies", ""


def cut_off(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    name = strongest(t[1], roles)
    limit = t[1][name].quantile(0.95)
    return t[0].assign(**{name: t[0][name].clip(upper=limit)}), "upper_tail", name


def reversed_rul(t: Parts, roles: Roles) -> tuple[pd.DataFrame, str, str]:
    most = t[0].groupby(roles.life)[roles.rul].transform("max")
    return t[0].assign(**{roles.rul: most - t[0][roles.rul]}), "wear", strongest(t[1], roles)


Fault = Callable[[Parts, Roles], tuple[pd.DataFrame, str, str]]
FAULTS = [shuffled, copied, copied_in_disguise, cut_off, reversed_rul]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(fault: Fault) -> None:
    tables = three()
    damaged, kind, column = fault(tables, WEARING)
    found = accused(verdict((damaged, *tables[1:])))
    assert kind in found and kind not in accused(verdict(tables))
    assert not column or column in found[kind]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_planted_in_real_lives_is_found(fault: Fault, turbofan: pd.DataFrame) -> None:
    tables = parts(turbofan, "unit", seed=0)
    damaged, kind, column = fault(tables, TURBOFAN)
    found = accused(verdict((damaged, *tables[1:]), TURBOFAN))
    assert kind in found
    assert not column or column in found[kind]


@pytest.mark.slow
def test_twenty_second_real_samples_raise_no_alarm(turbofan: pd.DataFrame) -> None:
    for seed in range(20):
        found = verdict(parts(turbofan, "unit", seed), TURBOFAN)
        assert found.level != "bad", (seed, found.headline)


def test_what_is_good_is_said() -> None:
    found = verdict(three())
    good = {each.kind: each.text for each in found.findings if each.level == "good"}
    assert found.level == "good" and found.headline == "No fault found: you can use these rows."
    assert good["wear"].startswith("3 of 3 columns that show wear")
    assert "0 % of the rows are copies" in good["privacy"] and "of the lives (" in good["privacy"]


@pytest.mark.parametrize(
    ("seen", "held", "few"),
    [(1, 1, "2 lives"), (6, 2, "8 lives"), (4, 4, "8 lives"), (12, 3, ""), (5, 5, "")],
)
def test_on_few_lives_nothing_is_called_good(seen: int, held: int, few: str) -> None:
    found = verdict(three(lives=(10, seen, held)))
    assert (found.findings[0].kind == "few_lives") == bool(few)
    if few:
        said = f"Of the {few}, the model learned from {seen} and the report holds out {held}:"
        assert said in found.headline
        assert found.level != "good" and not [f for f in found.findings if f.level == "good"]
        assert not any("No sign of memory" in f.text for f in found.findings)


def test_the_headline_says_that_a_model_of_few_lives_memorises() -> None:
    _, train, holdout = three(lives=(1, 1, 1))
    sensors = ["heat", "vibration", "pressure", "hum"]
    close = train.assign(**(train[sensors] + train[sensors].std() / 1000))
    close["rul"] = close["rul"].max() - close["rul"]  # which is worse, and comes first
    found = verdict((close, train, holdout))
    assert next(f for f in found.findings if f.level == "bad").kind != "near_copies"
    assert "the model memorises" in found.headline.lower()


def test_rows_that_make_no_lives_are_judged_as_rows() -> None:
    drawn, *real = three()
    loose = drawn.drop(columns=["life", "age"]).sample(frac=1, random_state=0)
    assert set(accused(verdict((loose, *real)))) == {"no_lives"}


def test_rows_drawn_under_conditions_may_be_unlike_real_ones_but_not_copies() -> None:
    drawn, train, holdout = three()
    hot = drawn.assign(heat=drawn["heat"].clip(lower=drawn["heat"].quantile(0.9)))
    far = hot.assign(heat=hot["heat"] * 50)
    for rows, conditions, level in (
        (hot, "", "bad"), (hot, "states idle 0.4", "good"),
        (train, "states idle 0.4", "bad"), (far, "states idle 0.4", "bad"),
    ):  # fmt: skip
        found = verdict((rows, train, holdout), conditions=conditions)
        assert found.level == level
        assert ("Conditions of these rows: states idle 0.4." in found.headline) == bool(conditions)


QUIET = Privacy(copies=0, copies_real=0, near_copies=0.01, memory={})


def memory(share: float, low: float, high: float) -> dict[str, Memory]:
    return {"lives": Memory(share=share, low=low, high=high)}


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"memory": memory(0.52, 0.42, 0.61)}, "good", "52 % of the lives (42 % to 61 %)"),
        ({"copies": 0.0004, "copies_real": 0.0005}, "good", "0.04 % of the rows are copies"),
        ({"copies": 0.00033}, "note", "0.033 % of the rows are training rows to seven digits"),
        ({"memory": memory(0.71, 0.46, 0.9)}, "note", "cannot be told with so few lives: 71 %"),
        ({"memory": memory(0.71, 0.55, 0.9)}, "care", "The model memorises: 71 % of the lives"),
        ({"memory": memory(0.71, 0.63, 0.8)}, "bad", "(63 % to 80 %) are nearer to training"),
    ],
)
def test_memory_is_held_against_rows_where_it_is_sure(
    change: dict[str, object], level: str, words: str
) -> None:
    sides = compare(*three(), WEARING, None, 0)
    found = judge(list(remembered(QUIET.model_copy(update=change), sides.few)), sides)
    (said,) = [each for each in found.findings if each.kind in ("privacy", "memory")]
    assert said.level == level and words in said.text


def test_figures_of_use_come_with_their_unit_and_with_advice() -> None:
    scores = {"real": {"r2": 0.57, "mae": 9.0}, "synthetic": {"r2": -14.25, "mae": 5017.4}}
    task = Task(target="rul", number=True, left_out=[], base=None, scores=scores)
    scores = {"real": {"r2": 0.9}, "synthetic": {"r2": 0.7}, "both": {"r2": 0.93}}
    windows = task.model_copy(update={"width": 30, "scores": scores})
    told = [*told_apart(0.95, "rows"), *told_apart(0.97, "windows")]
    found = [*utility.lessons(task, "hours"), *utility.lessons(windows), *told]
    said = {each.kind: (each.level, each.text) for each in found}
    assert said["utility"] == (
        "bad",
        "A model of rul trained on these rows reaches R2 -14.25 (mean error 5,017 hours) on "
        "held-out real rows, trained on real rows 0.57 (mean error 9 hours). Below 0 it is worse "
        "than always answering the mean. Do not train this model on these rows.",
    )
    assert said["windows"][0] == "care" and "prefer real rows" in said["windows"][1]
    assert said["augmentation"] == (
        "note",
        "Trained on real and synthetic rows together, a model of rul from windows of 30 rows "
        "reaches R2 0.930, on real rows alone 0.900, a change of +0.030: what that is worth cannot "
        "be told by so few held-out lives.",
    )
    assert said["row_detection"][0] == said["window_detection"][0] == "care"
    assert "Detection AUC 0.95 (0.5 is blind)" in said["row_detection"][1]


@pytest.mark.parametrize(
    ("both", "error", "says"),
    [
        (0.74, 0.03, "± 0.030: whether adding them helps cannot be told"),
        (0.74, 0.01, "± 0.010: add them."),
        (0.6, 0.01, "± 0.010: do not"),
        (0.74, None, "+0.040: what that is worth cannot be told"),
    ],
)
def test_what_adding_rows_does_counts_beyond_chance(
    both: float, error: float | None, says: str
) -> None:
    scores = {"real": {"ap": 0.7, "se": 0.04}, "synthetic": {"ap": 0.6, "se": 0.05}}
    scores["both"] = {"ap": both, "se": 0.04}
    task = Task(target="failure", number=False, left_out=[], base=0.05,
                scores=scores, change_se=error)  # fmt: skip
    said = {each.kind: each.text for each in utility.lessons(task)}
    assert (
        "average precision 0.60 ± 0.05 on" in said["utility"] and "0.70 ± 0.04." in said["utility"]
    )
    assert says in said["augmentation"]
    assert ("for sharing" in said["augmentation"]) == (both < 0.7)


def test_names_shares_and_figures_are_put_into_words() -> None:
    assert listed([]) == "" and listed("a") == "a" and listed("abcdef") == "a, b, c and 3 more"
    assert [percent(x) for x in (None, 0, 0.00033, 0.0123, 0.5)] == [
        "0 %", "0 %", "0.033 %", "1.2 %", "50 %"
    ]  # fmt: skip
    figures = (43_627.4, 5017.4, 150.26, 9.0, 0.0123456, 1e7)
    assert [amount(x) for x in figures] == [
        "43,630", "5,017", "150.3", "9", "0.01235", "10,000,000"
    ]  # fmt: skip
