"""What may go of a workspace's past, and why the rest stays."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gan_lab.cluster.upkeep.cleaning import carry_out, plan
from gan_lab.schema import Kind, TaskSpec
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, create_run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    return tmp_path


def done(
    home: Path, kind: Kind, days_ago: float, machine_id: str = "press", level: str = "good"
) -> RunFolder:
    created = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()
    task_id = str(uuid.uuid4())
    spec = TaskSpec(task_id=task_id, kind=kind, machine_id=machine_id, config={}, created=created)
    run = create_run(spec, home)
    run.finish({"level": level})
    return run


def test_old_runs_go_but_not_the_newest_model_nor_its_report(home: Path) -> None:
    trainings = [done(home, "train", days) for days in (9, 6, 3)]
    reports = [done(home, "report", days) for days in (8, 5)]
    for training, report in zip(trainings, reports, strict=False):
        report.record_environment(model_task_id=training.task_id)
    young = done(home, "seed", 0.5)
    sweep = plan(home, older_than_days=1)
    gone = {run.task_id for run in sweep.gone}
    assert gone == {run.task_id for run in (*trainings[:2], reports[0])}
    assert sweep.kept[trainings[2].task_id] == "the newest model of press"
    assert sweep.kept[reports[1].task_id] == "the newest report of press"
    assert carry_out(sweep, home) == []
    assert {run.task_id for run in all_runs(home)} == {
        run.task_id for run in (trainings[2], reports[1], young)
    }


def test_a_verdict_stays_with_the_model_it_is_on(home: Path) -> None:
    model = done(home, "train", 9)
    verdict = done(home, "report", 8)
    verdict.record_environment(model_task_id=model.task_id)
    done(home, "report", 7)  # newer, and on no model
    assert plan(home, older_than_days=0).gone == []


def test_the_model_that_is_drawn_from_stays_and_so_do_the_verdicts_that_made_it_so(
    home: Path,
) -> None:
    for days, level in ((9, "good"), (7, "bad")):
        model = done(home, "train", days)
        verdict = done(home, "report", days - 1, level=level)
        verdict.record_environment(model_task_id=model.task_id)
    assert plan(home, older_than_days=0).gone == []


def test_what_has_not_ended_keeps_what_it_needs(home: Path) -> None:
    older, newer = done(home, "seed", 3), done(home, "seed", 2)
    spec = TaskSpec(
        task_id=str(uuid.uuid4()), kind="train", machine_id="press", config={}, after=older.task_id
    )
    waits = create_run(spec, home)
    sweep = plan(home, older_than_days=0)
    assert [run.task_id for run in sweep.gone] == [newer.task_id]
    assert sweep.kept[waits.task_id] == "not ended"
    assert sweep.kept[older.task_id] == f"train {waits.task_id[:8]} needs it"


def test_what_was_taken_up_meanwhile_stays_with_a_sentence(home: Path) -> None:
    run = done(home, "seed", 3)
    sweep = plan(home, older_than_days=0)
    run.lease.take("worker", 30)
    assert [run.task_id in sentence for sentence in carry_out(sweep, home)] == [True]
    assert [one.task_id for one in all_runs(home)] == [run.task_id]
