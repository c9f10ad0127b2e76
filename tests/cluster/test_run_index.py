"""The table of runs that page and metrics are made from, over run folders alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gan_lab.cluster.monitor import run_index
from gan_lab.cluster.monitor.page import select
from gan_lab.cluster.monitor.run_index import RunIndex
from gan_lab.cluster.task_names import task_key
from gan_lab.settings import load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.runs import create_run
from tests.cluster.history import make_history


@pytest.fixture(autouse=True)
def no_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace without services."""
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_LAB_REDIS_URL", raising=False)


def nobody(key: str) -> None:
    """A scheduler that knows no task."""


def test_the_history_is_complete_after_a_restart_and_no_total_falls(tmp_path: Path) -> None:
    runs = make_history(tmp_path, 6)
    index = RunIndex(load_settings(), nobody)
    index.refresh()
    before = index.table
    assert {row["task_id"] for row in before.rows} == {run.task_id for run in runs}
    again = RunIndex(load_settings(), nobody)
    again.refresh()
    assert again.table.rows == before.rows

    runs[0].path.rename(tmp_path / "elsewhere")
    index.refresh()
    assert len(index.table.rows) == 5
    assert index.table.totals == before.totals and before.totals["train", "epochs"] > 0


def test_no_total_falls_when_a_training_goes_back_or_is_taken_up_again(tmp_path: Path) -> None:
    at_work, failed = make_history(tmp_path, 2, ("running", "failure"))
    index = RunIndex(load_settings(), nobody)
    index.refresh()
    before = index.table.totals
    assert before["train", "epochs"] == 20 + 20
    Announcer(at_work, load_settings(), 2).say("training", 12, 40, "Epoch 12/40", epoch=12)
    failed.reopen()
    Announcer(failed, load_settings(), 2).say("training", 4, 40, "Epoch 4/40", epoch=4)
    again = RunIndex(load_settings(), nobody)
    for one in (index, again):
        one.refresh()
    assert all(index.table.totals[name] >= count for name, count in before.items())
    assert again.table.totals["train", "epochs"] < before["train", "epochs"]  # by a new beginning


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
    index.refresh()
    assert index.table.states == {"pending": 1}  # taken up, and has said nothing yet
    worker.kill()
    worker.communicate()
    index.refresh()
    assert index.table.states == {"lost": 1}
    # Looked at seldom, a run is seen to go on as soon as a scheduler has it.
    index = RunIndex(load_settings(), lambda key: "executing" if key == task_key(run) else None)
    index.refresh()
    assert index.table.states == {"pending": 1}


def test_a_run_that_has_ended_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_history(tmp_path, 6)
    index, read = RunIndex(load_settings(), nobody), []
    original = run_index.read_row
    monkeypatch.setattr(
        run_index, "read_row", lambda run, held: read.append(run) or original(run, held)
    )
    index.refresh()
    index.refresh()
    assert len([run for run in read if run.final]) == 3


def test_running_comes_first_and_newest_first(tmp_path: Path) -> None:
    runs = make_history(tmp_path, 12)
    index = RunIndex(load_settings(), nobody)
    index.refresh()
    states = [row["state"] for row in index.table.rows]
    assert states == ["running"] * 2 + ["lost"] * 4 + [
        state for state in ("failure", "revoked", "success") for _ in range(2)
    ]
    assert [row["task_id"] for row in index.table.rows[:2]] == [runs[3].task_id, runs[9].task_id]
    assert index.table.kinds["train", "running"] == index.table.kinds["seed", "running"] == 1
    assert not index.table.redis_up


def test_a_run_at_work_tells_its_pace_and_what_is_left(tmp_path: Path) -> None:
    (run,) = make_history(tmp_path, 1, ("running",))
    last = run.last_event()
    assert last is not None
    later = datetime.fromisoformat(last.timestamp) + timedelta(seconds=100)
    facts = {"seq": last.seq + 1, "current": 30, "epoch": 30, "timestamp": later.isoformat()}
    run.append_event(last.model_copy(update=facts))
    index = RunIndex(load_settings(), nobody)
    index.refresh()
    (row,) = index.table.rows
    assert row["steps_per_second"] == pytest.approx(29 / 100, rel=0.05)  # from the first epoch on
    assert row["left_s"] == pytest.approx(10 * 100 / 29, rel=0.05)
    assert (row["epoch"], row["loss"], row["held"]) == (30, 3 / 20, True)


def test_what_is_not_ours_is_not_shown_and_what_is_damaged_is(tmp_path: Path) -> None:
    run, damaged = make_history(tmp_path, 2, ("success",))
    other, half_made = (tmp_path / "runs" / f"{run.task_id[:-1]}{end}" for end in "ab")
    other.mkdir()
    (other / "task.json").write_text('{"format": 99}')
    half_made.mkdir()
    (damaged.path / "result.json").write_text("{")
    index = RunIndex(load_settings(), nobody)
    index.refresh()
    assert [(row["task_id"], row["state"]) for row in index.table.rows] == [
        (damaged.task_id, "lost"), (run.task_id, "success"),
    ]  # fmt: skip
    assert index.table.complete
    told = select(index.table)["rows"][0]["message"]
    assert told.startswith(f"{damaged.path / 'result.json'} is damaged: ")


def test_who_looks_gets_the_last_table_at_once_and_soon_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_index, "REFRESH_EVERY_S", 0.02)
    (first,) = make_history(tmp_path, 1, ("success",))
    index = RunIndex(load_settings(), nobody)
    assert not index.look().complete  # at once, before a thread has read the folders
    threading.Thread(target=index.keep_fresh, daemon=True).start()
    until(lambda: index.look().complete)
    assert [row["task_id"] for row in index.look().rows] == [first.task_id]
    spec = first.spec.model_copy(update={"task_id": "11111111-2222-3333-4444-555555555555"})
    second = create_run(spec, tmp_path)
    until(lambda: len(index.look().rows) == 2)
    assert {row["task_id"] for row in index.look().rows} == {first.task_id, second.task_id}


def until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it did not come")
