"""The runs of a workspace: found, listed, refused, removed."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gan_lab.errors import DamagedFile, RequestError, UnknownTask
from gan_lab.schema import State, TaskSpec
from gan_lab.workspace import run_folder
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import (
    all_runs,
    create_run,
    newest_run,
    open_run,
    remove_run,
    workspace_mark,
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path)


def make_run(home: Path, created: str = "2026-01-01T00:00:00.000Z") -> RunFolder:
    spec = TaskSpec(
        task_id=str(uuid.uuid4()), kind="train", machine_id="press_7", config={}, created=created
    )
    return create_run(spec, home)


def test_all_who_mark_a_workspace_at_once_get_the_same_mark(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def mark(_: int) -> str | None:
        together.wait()
        return workspace_mark(tmp_path, make=True)

    assert workspace_mark(tmp_path) is None
    with ThreadPoolExecutor(8) as threads:
        (only,) = set(threads.map(mark, range(8)))
    assert only is not None and only == workspace_mark(tmp_path)
    assert all_runs(tmp_path) == []


def test_a_mark_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    made = workspace_mark(tmp_path, make=True)
    lock = tmp_path / "runs" / ".workspace.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # cannot be taken, not even by root
    assert made is not None and workspace_mark(tmp_path, make=True) == made


def test_runs_are_found_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    older = make_run(tmp_path, "2026-01-01T00:00:00.000Z")
    newer = make_run(tmp_path, "2026-01-02T00:00:00.000Z")
    assert open_run(older.task_id[:10], tmp_path).task_id == older.task_id
    assert [one.task_id for one in all_runs(tmp_path)] == [newer.task_id, older.task_id]
    assert newest_run("press_7", "train", tmp_path) is None
    older.finish({"done": True})
    found = newest_run("press_7", "train", tmp_path)
    assert found is not None and found.task_id == older.task_id
    for unknown in (str(uuid.uuid4()), "short", "../../etc/passwd"):
        with pytest.raises(UnknownTask):
            open_run(unknown, tmp_path)


def test_a_run_of_another_format_is_refused_with_a_sentence(run: RunFolder, tmp_path: Path) -> None:
    spec = json.loads((run.path / run_folder.SPEC).read_text())
    (run.path / run_folder.SPEC).write_text(json.dumps({**spec, "format": 0, "other": 1}))
    with pytest.raises(UnknownTask, match="format 0; this version reads format 1"):
        open_run(run.task_id, tmp_path)
    assert all_runs(tmp_path) == []


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["task.json", "result.json", "error.json", "events.jsonl"])
def test_a_damaged_file_costs_its_run_alone(tmp_path: Path, name: str, content: bytes) -> None:
    well, run = make_run(tmp_path), make_run(tmp_path)
    if name == "result.json":
        (run.path / "DONE").touch()
    (run.path / name).write_bytes(content + b"\n")
    told = {one.task_id: one.status() for one in all_runs(tmp_path)}
    assert told[well.task_id].state is State.PENDING
    assert told[run.task_id].state is State.UNKNOWN
    assert told[run.task_id].message.startswith(f"{run.path / name} is damaged: bring it back")
    assert newest_run("press_7", "train", tmp_path) is None
    if name == "task.json":
        with pytest.raises(DamagedFile, match=r"task\.json is damaged"):
            open_run(run.task_id, tmp_path)


def test_only_a_run_that_has_ended_can_be_removed(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has not ended"):
        remove_run(run)
    run.finish({})
    run.lease.take("worker", 30)
    with pytest.raises(RequestError, match="has not ended"):
        remove_run(run)  # its worker has yet to say the last word
    run.lease.drop("worker")
    remove_run(run)
    assert list((tmp_path / "runs").iterdir()) == []
