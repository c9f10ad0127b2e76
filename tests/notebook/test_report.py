from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

import gan_lab as lab
from gan_lab.cluster.models import training_run
from gan_lab.errors import ServiceUnreachable, UnknownMachine
from gan_lab.notebook.report import report
from gan_lab.schema import Roles
from gan_lab.synth.report.evaluate import QualityReport, evaluate
from gan_lab.synth.report.page import render_html
from gan_lab.workspace.files import write_beside
from gan_lab.workspace.run_folder import REPORT_HTML, REPORT_JSON, RunFolder

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
def trained(view_home: Path, new_run: Callable[..., RunFolder]) -> Callable[..., RunFolder]:
    """Return what leaves a training in the workspace, and on it a report of this level."""
    name = f"{MACHINE}.yaml"
    shutil.copy(ROOT / "data" / "machines" / name, view_home / "data" / "machines" / name)

    def made(judged: QualityReport | None = None, level: str = "good") -> RunFolder:
        run = new_run("train")
        run.finish({"training_time_seconds": 12.5})
        if judged is not None:
            about = new_run("report")
            about.record_environment(model_task_id=run.task_id)
            write_beside(about.path / REPORT_JSON, judged.model_dump_json())
            write_beside(about.path / REPORT_HTML, render_html(judged))
            about.finish({"level": level, "verdict": judged.verdict.headline, **judged.figures})
        return run

    return made


@pytest.mark.slow
def test_a_report_that_is_there_is_shown(
    trained: Callable[..., RunFolder], judged: QualityReport
) -> None:
    trained(judged)
    view = report(MACHINE)
    assert judged.verdict.headline in repr(view)
    assert all(escape(finding.text) in view._repr_html_() for finding in judged.verdict.findings)
    assert view.data["fidelity"]["synthetic"] == judged.figures["quality"]
    assert view.path.read_text() == render_html(judged)


@pytest.mark.slow
def test_a_report_of_another_version_is_computed_anew(
    trained: Callable[..., RunFolder], judged: QualityReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(machine_id: str) -> None:
        raise RuntimeError(f"asked for {machine_id}")

    monkeypatch.setattr("gan_lab.cluster.submit.report", computed)
    trained(judged)
    path = report(MACHINE).path.with_name(REPORT_JSON)
    write_beside(path, path.read_text().replace("format", "colour"))
    with pytest.raises(RuntimeError, match=f"asked for {MACHINE}"):
        report(MACHINE)


@pytest.mark.slow
def test_what_is_drawn_from_is_the_newest_model_that_no_report_calls_bad(
    trained: Callable[..., RunFolder], judged: QualityReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    monkeypatch.setenv("GAN_LAB_REDIS_URL", "redis://127.0.0.1:9/2")
    monkeypatch.setenv("GAN_LAB_CONNECT_TIMEOUT_S", "0.2")
    bad = trained(judged, "bad")
    assert training_run(MACHINE).task_id == bad.task_id
    with pytest.warns(UserWarning, match="not to use"), pytest.raises(ServiceUnreachable):
        lab.generate(MACHINE)
    care = trained(judged, "care")
    newer = trained(judged, "bad")
    assert training_run(MACHINE).task_id == care.task_id
    assert training_run(MACHINE, newer.task_id).task_id == newer.task_id
    assert lab.get_machine_status(MACHINE)["model"]["task_id"] == care.task_id
    table = lab.compare(MACHINE)
    assert list(table.index) == [run.task_id[:8] for run in (newer, care, bad)]
    assert list(table["verdict"]) == ["bad", "care", "bad"]
    assert list(table["generate uses"].notna()) == [False, True, False]
    assert list(table["quality"]) == [judged.figures["quality"]] * 3
    unjudged = trained()
    assert training_run(MACHINE).task_id == unjudged.task_id
    assert list(lab.compare(MACHINE)["generate uses"].notna()) == [True, False, False, False]


def test_an_unknown_machine_is_named(view_home: Path) -> None:
    with pytest.raises(UnknownMachine):
        report("motor_nobody_001")
