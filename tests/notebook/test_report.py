from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import UnknownMachine
from gan_lab.notebook.report import leaderboard, report
from gan_lab.runs import REPORT_HTML, REPORT_JSON, create_run, write_beside
from gan_lab.schema import Roles, TaskSpec
from gan_lab.synth.quality import QualityReport, evaluate
from gan_lab.synth.report_page import render_html

MACHINE = "motor_siemens_001"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def judged() -> QualityReport:
    """A report on a small plain table: two columns that belong together."""
    rng = np.random.default_rng(0)
    load = rng.uniform(0, 1, 900)
    table = pd.DataFrame({"load": load, "current": load * 12 + rng.normal(0, 0.3, 900)})
    return evaluate(table[:300], table[300:600], table[600:], Roles())


@pytest.fixture
def reported(view_home: Path, judged: QualityReport) -> str:
    """A workspace in which a report is done; returns its task id."""
    name = f"{MACHINE}.yaml"
    shutil.copy(ROOT / "data" / "machines" / name, view_home / "data" / "machines" / name)
    task_id = "11111111-1111-4111-8111-111111111111"
    run = create_run(TaskSpec(task_id=task_id, kind="report", machine_id=MACHINE, config={}))
    write_beside(run.path / REPORT_JSON, judged.model_dump_json())
    write_beside(run.path / REPORT_HTML, render_html(judged))
    run.finish({"quality": judged.quality})
    return task_id


def test_a_report_that_is_there_is_shown(reported: str, judged: QualityReport) -> None:
    view = report(MACHINE)
    assert view.task_id == reported
    assert judged.verdict.headline in repr(view)
    assert judged.verdict.headline in view._repr_html_()
    assert view.data["fidelity"]["synthetic"]["overall"] == judged.quality
    assert view.path.read_text() == render_html(judged)


def test_the_leaderboard_has_a_line_per_report(reported: str, judged: QualityReport) -> None:
    table = leaderboard(MACHINE)
    assert list(table["report"]) == [reported]
    assert table.loc[0, "quality"] == judged.quality
    assert table.loc[0, "verdict"] == judged.verdict.level


def test_an_unknown_machine_is_named(view_home: Path) -> None:
    with pytest.raises(UnknownMachine):
        report("motor_nobody_001")
    with pytest.raises(UnknownMachine):
        leaderboard("motor_nobody_001")
