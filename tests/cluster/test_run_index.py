"""The rows that the page is made from, over run folders alone."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gan_lab.cluster.monitor import run_index
from gan_lab.cluster.monitor.page import select
from gan_lab.cluster.monitor.run_index import RunIndex
from gan_lab.cluster.task_names import task_key
from gan_lab.settings import load_settings
from tests.cluster.history import make_history


@pytest.fixture(autouse=True)
def no_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace without services."""
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_LAB_REDIS_URL", raising=False)
    monkeypatch.setattr(run_index, "LOOK_EVERY_S", 0)


def nobody(key: str) -> None:
    """A scheduler that knows no task."""


def states(index: RunIndex) -> list[str]:
    return [row["state"] for row in index.rows()]


def test_every_run_is_a_row_and_one_that_was_removed_is_none(tmp_path: Path) -> None:
    runs = make_history(tmp_path, 6)
    index = RunIndex(load_settings(), nobody)
    assert {row["task_id"] for row in index.rows()} == {run.task_id for run in runs}
    runs[0].path.rename(tmp_path / "elsewhere")
    assert {row["task_id"] for row in index.rows()} == {run.task_id for run in runs[1:]}


def test_a_task_whose_worker_died_is_not_told_as_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = make_history(tmp_path, 1, ("lost",))
    index = RunIndex(load_settings(), nobody)
    code = (
        "import sys; from pathlib import Path; from gan_lab.workspace.run_folder import RunFolder; "
        "RunFolder(Path(sys.argv[1])).lease.take('it', 3600); print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None and worker.stdout.readline() == "held\n"
    assert states(index) == ["pending"]  # taken up, and has said nothing yet
    worker.kill()
    worker.communicate()
    assert states(index) == ["lost"]
    # Looked at seldom, a run is seen to go on as soon as a scheduler has it.
    index = RunIndex(load_settings(), lambda key: "executing" if key == task_key(run) else None)
    assert states(index) == ["pending"]


def test_a_run_that_has_ended_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_history(tmp_path, 6)
    index, read = RunIndex(load_settings(), nobody), []
    original = run_index.read_row
    monkeypatch.setattr(run_index, "read_row", lambda run: read.append(run) or original(run))
    index.rows()
    index.rows()
    assert len([run for run in read if run.final]) == 3


def test_running_comes_first_and_newest_first(tmp_path: Path) -> None:
    runs = make_history(tmp_path, 12)
    index = RunIndex(load_settings(), nobody)
    assert states(index) == ["running"] * 2 + ["lost"] * 4 + [
        state for state in ("failure", "revoked", "success") for _ in range(2)
    ]
    assert [row["task_id"] for row in index.rows()[:2]] == [runs[3].task_id, runs[9].task_id]


def test_a_run_at_work_tells_its_pace_and_what_is_left(tmp_path: Path) -> None:
    (run,) = make_history(tmp_path, 1, ("running",))
    last = run.last_event()
    assert last is not None
    later = datetime.fromisoformat(last.timestamp) + timedelta(seconds=100)
    facts = {"seq": last.seq + 1, "current": 30, "epoch": 30, "timestamp": later.isoformat()}
    run.append_event(last.model_copy(update=facts))
    index = RunIndex(load_settings(), nobody)
    (row,) = index.rows()
    assert row["left_s"] == pytest.approx(10 * 100 / 29, rel=0.05)  # from the first epoch on
    assert (row["epoch"], row["loss"]) == (30, 3 / 20)


def test_what_is_not_ours_is_not_shown_and_what_is_damaged_is(tmp_path: Path) -> None:
    run, damaged = make_history(tmp_path, 2, ("success",))
    other, half_made = (tmp_path / "runs" / f"{run.task_id[:-1]}{end}" for end in "ab")
    other.mkdir()
    (other / "task.json").write_text('{"format": 99}')
    half_made.mkdir()
    (damaged.path / "result.json").write_text("{")
    index = RunIndex(load_settings(), nobody)
    assert [(row["task_id"], row["state"]) for row in index.rows()] == [
        (damaged.task_id, "lost"), (run.task_id, "success"),
    ]  # fmt: skip
    told = select(index.rows())["rows"][0]["message"]
    assert told.startswith(f"{damaged.path / 'result.json'} is damaged: ")


@pytest.mark.parametrize("line", ['{"stage": "training"}', "7"])
def test_a_run_whose_log_is_odd_is_unknown_and_hides_no_other(tmp_path: Path, line: str) -> None:
    odd, other = make_history(tmp_path, 2, ("running",))
    with (odd.path / "log.jsonl").open("a") as log:
        log.write(line + "\n")
    rows = {row["task_id"]: row for row in RunIndex(load_settings(), nobody).rows()}
    assert (rows[odd.task_id]["state"], rows[other.task_id]["state"]) == ("lost", "running")
    assert rows[odd.task_id]["message"].startswith(f"{odd.path} cannot be understood")
    assert rows[odd.task_id].keys() == rows[other.task_id].keys()


def test_many_who_look_read_the_folders_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_index, "LOOK_EVERY_S", 1e6)
    (first,) = make_history(tmp_path, 1, ("success",))
    index = RunIndex(load_settings(), nobody)
    assert [row["task_id"] for row in index.rows()] == [first.task_id]
    first.path.rename(tmp_path / "elsewhere")
    assert index.rows()
