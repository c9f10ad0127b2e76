"""The report as a whole: what it says of real rows, in JSON and on its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadTable
from gan_lab.schema import Roles
from gan_lab.synth.report.compared_tables import MAX_ROWS, compare
from gan_lab.synth.report.evaluate import QualityReport, evaluate
from gan_lab.synth.report.page import render_html
from tests.synth.report.samples import WEARING, three


@pytest.fixture(scope="module")
def whole() -> QualityReport:
    said: list[str] = []
    found = evaluate(*three(1), WEARING, on_step=lambda _, what: said.append(what))
    assert said == ["fidelity", "utility", "lives", "privacy", "physics", "detection"]
    return found


def test_a_real_sample_is_judged_in_every_part(whole: QualityReport) -> None:
    assert whole.verdict.level != "bad", whole.verdict.headline
    assert [(task.target, task.width) for task in whole.utility] == [("rul", None), ("rul", 20)]
    for task in whole.utility:
        assert set(task.scores) == {"real", "synthetic", "both"}
        assert all(0 < (each["se"] or 0) < 0.2 for each in task.scores.values())
    assert set(whole.privacy.memory) == {"rows", "windows", "lives"}
    assert whole.curves and whole.detection is not None and whole.window_detection is not None


def test_json_and_page_say_the_same(whole: QualityReport) -> None:
    again = QualityReport.model_validate_json(whole.model_dump_json())
    assert render_html(again) == render_html(whole)
    page = render_html(whole)
    assert "<script" not in page and "http" not in page
    assert f"{whole.figures['quality']:.3f}" in page
    assert all(
        word in page for word in ("Utility", "Privacy", "Utility of lives", "Detection of windows")
    )


@pytest.mark.slow
def test_a_plain_table_is_judged_by_rows(shared_data: Path) -> None:
    table = pd.read_csv(shared_data / "ai4i2020.csv").drop(columns=["UDI", "Product ID"])
    order = np.random.default_rng(0).permutation(len(table))
    halves = [table.iloc[order[a:b]] for a, b in ((0, 4000), (4000, 8000), (8000, 10_000))]
    found = evaluate(*halves, Roles())
    assert found.window_detection is None and len(found.utility) == 1
    assert found.utility[0].target == "Machine failure"
    assert set(found.utility[0].left_out) == {"TWF", "HDF", "PWF", "OSF"}
    assert found.verdict.level != "bad", found.verdict.headline


def test_what_cannot_be_compared_is_said() -> None:
    drawn, train, holdout = three()
    with pytest.raises(BadTable, match="held-out table has no rows"):
        evaluate(drawn, train, holdout.iloc[:0], WEARING)
    one = train[train["life"] == train["life"].iloc[0]]
    with pytest.raises(BadTable, match="only one life .*none could be held out.*more lives"):
        evaluate(drawn, one, holdout.iloc[:0], WEARING)
    with pytest.raises(BadTable, match="lacks the columns state"):
        evaluate(drawn.drop(columns="state"), train, holdout, WEARING)


def test_a_large_table_is_judged_by_whole_lives_and_says_so() -> None:
    life = np.repeat(np.arange(300), 100)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"life": life, "a": rng.normal(size=len(life)), "b": life % 3})
    sides = compare(table, table[:5000], table[5000:9000], Roles(life="life"), None, 0)
    assert len(sides.synthetic) == MAX_ROWS
    assert set(sides.synthetic["life"].value_counts()) == {100}
    assert sides.notes == ["20,000 of 30,000 synthetic rows (whole lives drawn at random)"]


def test_of_long_lives_stretches_are_judged() -> None:
    life = np.repeat(np.arange(30), 3000)
    age = np.tile(np.arange(3000), 30)
    table = pd.DataFrame({"life": life, "age": age, "a": np.sin(age), "rul": 2999 - age})
    roles = Roles(life="life", time="age", rul="rul")
    sides = compare(table[:60_000], table, table[60_000:], roles, None, 0)
    for some, lives in ((sides.synthetic, 20), (sides.train, 20), (sides.holdout, 10)):
        assert set(some["life"].value_counts()) == {1000} and some["life"].nunique() == lives
        assert set(some.groupby("life")["rul"].diff().dropna()) == {-1}
    assert sides.train.groupby("life")["rul"].last().between(0, 2000).all()
    assert sides.train.groupby("life")["rul"].last().nunique() > 10
    assert sides.notes[0] == "20,000 of 60,000 synthetic rows (stretches of 1,000 drawn at random)"


def test_a_page_leaves_out_what_could_not_be_computed() -> None:
    tables = [table[["life", "heat", "pressure"]] for table in three(lives=(1, 2, 1))]
    found = evaluate(*tables, Roles(life="life"))
    page = render_html(found)
    assert found.detection is None and found.figures["memory"] is not None
    assert "<h3>Detection" not in page and "<h3>Memory</h3>" in page
    assert "Of the 3 lives there are, the model learned from 2 (" in page
    assert "; 1 it has never seen (" in page and "Of the 3 lives, the model learned from 2" in page
    assert "predict remaining useful life" not in page
