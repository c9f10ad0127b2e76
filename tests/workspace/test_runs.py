"""The runs of a workspace: found, listed, refused, removed."""

from __future__ import annotations

import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gan_lab.errors import DamagedFile, RequestError, UnknownTask
from gan_lab.schema import State, TaskSpec
from gan_lab.store import StorePath
from gan_lab.workspace import run_folder
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import (
    all_runs,
    create_run,
    newest_run,
    open_run,
    remove_run,
    remove_what_is_left,
    when_changed,
    workspace_mark,
)


@pytest.fixture
def run(home: Path) -> RunFolder:
    return make_run(home)


def make_run(home: Path, created: str = "2026-01-01T00:00:00.000Z") -> RunFolder:
    spec = TaskSpec(
        task_id=str(uuid.uuid4()), kind="train", machine_id="press_7", config={}, created=created
    )
    return create_run(spec, home)


def test_all_who_mark_a_workspace_at_once_get_the_same_mark(home: Path) -> None:
    together = threading.Barrier(8)

    def mark(_: int) -> str | None:
        together.wait()
        return workspace_mark(home, make=True)

    assert workspace_mark(home) is None
    with ThreadPoolExecutor(8) as threads:
        (only,) = set(threads.map(mark, range(8)))
    assert only is not None and only == workspace_mark(home)
    assert all_runs(home) == []


def test_a_mark_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    home = tmp_path
    made = workspace_mark(home, make=True)
    lock = home / "runs" / ".workspace.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # cannot be taken, not even by root
    assert made is not None and workspace_mark(home, make=True) == made


def test_runs_are_found_by_the_beginning_of_their_id(home: Path) -> None:
    older = make_run(home, "2026-01-01T00:00:00.000Z")
    newer = make_run(home, "2026-01-02T00:00:00.000Z")
    assert open_run(older.task_id[:10], home).task_id == older.task_id
    assert [one.task_id for one in all_runs(home)] == [newer.task_id, older.task_id]
    assert newest_run("press_7", "train", home) is None
    older.finish({"done": True})
    found = newest_run("press_7", "train", home)
    assert found is not None and found.task_id == older.task_id
    for unknown in (str(uuid.uuid4()), "short", "../../etc/passwd"):
        with pytest.raises(UnknownTask):
            open_run(unknown, home)


def test_a_run_of_another_format_is_refused_with_a_sentence(run: RunFolder, home: Path) -> None:
    spec = json.loads((run.path / run_folder.SPEC).read_text())
    (run.path / run_folder.SPEC).write_bytes(json.dumps({**spec, "format": 0, "other": 1}).encode())
    with pytest.raises(UnknownTask, match="format 0; this version reads format 1"):
        open_run(run.task_id, home)
    assert all_runs(home) == []


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["task.json", "result.json", "error.json", "events.jsonl"])
def test_a_damaged_file_costs_its_run_alone(home: Path, name: str, content: bytes) -> None:
    well, run = make_run(home), make_run(home)
    if name == "result.json":
        (run.path / "DONE").write_bytes(b"")
    segment = ".000000" if name == "events.jsonl" and isinstance(home, StorePath) else ""
    (run.path / f"{name}{segment}").write_bytes(content + b"\n")
    told = {one.task_id: one.status() for one in all_runs(home)}
    assert told[well.task_id].state is State.PENDING
    assert told[run.task_id].state is State.UNKNOWN
    assert told[run.task_id].message.startswith(f"{run.path / name} is damaged: bring it back")
    assert newest_run("press_7", "train", home) is None
    if name == "task.json":
        with pytest.raises(DamagedFile, match=r"task\.json is damaged"):
            open_run(run.task_id, home)


def test_only_a_run_that_has_ended_can_be_removed(run: RunFolder, home: Path) -> None:
    with pytest.raises(RequestError, match="has not ended"):
        remove_run(run)
    run.finish({})
    run.lease.take("worker", 30)
    with pytest.raises(RequestError, match="has not ended"):
        remove_run(run)  # its worker has yet to say the last word
    run.lease.drop("worker")
    remove_run(run)
    assert list((home / "runs").glob("*")) == []


def test_a_removal_that_was_cut_off_is_carried_out(run: RunFolder, home: Path) -> None:
    other = make_run(home)
    aside = run.path.with_name(f".{run.task_id}.removed")
    if isinstance(home, StorePath):  # as it is left there: marked, and no run any more
        aside.write_bytes(b"")
        (run.path / run_folder.SPEC).unlink()
    else:
        run.path.rename(aside)
    if isinstance(home, StorePath):  # marked, and killed before more than that was done
        other.path.with_name(f".{other.task_id}.removed").write_bytes(b"")
    remove_what_is_left(home)
    assert [path.name for path in (home / "runs").glob("*")] == [other.task_id]
    assert [run.task_id for run in all_runs(home)] == [other.task_id]


def test_it_is_known_when_a_run_was_changed(run: RunFolder, home: Path) -> None:
    ((path, at_first),) = when_changed(home / "runs")
    assert path == run.path
    time.sleep(1.1 if isinstance(home, StorePath) else 0.01)  # a store tells whole seconds
    run.finish({})
    ((_, later),) = when_changed(home / "runs")
    assert later > at_first
