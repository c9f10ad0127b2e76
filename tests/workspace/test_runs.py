"""Run folders: logs that were torn, leases that were taken over, a status that is computed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from gan_lab.errors import BadParameter, TaskCancelled, TaskFailed, UnknownTask
from gan_lab.schema import Epoch, Event, State, TaskSpec
from gan_lab.workspace import run_folder, service_record
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, create_run, newest_run, open_run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path)


def make_run(home: Path, created: str = "2026-01-01T00:00:00.000Z") -> RunFolder:
    spec = TaskSpec(
        task_id=str(uuid.uuid4()), kind="train", machine_id="press_7", config={}, created=created
    )
    return create_run(spec, home)


def event(run: RunFolder, seq: int, stage: str = "training", state: str = "RUNNING") -> Event:
    return Event(
        task_id=run.task_id, seq=seq, machine_id="press_7", stage=stage, status=state,
        current=seq, total=10, progress=seq, message=f"event {seq}",
    )  # fmt: skip


def epoch(number: int) -> Epoch:
    return Epoch(number, 9, 0.5, 0.25, 0.25, None, 0.1, 1000.0)


def test_a_line_torn_by_a_kill_is_skipped_and_then_cut_off(run: RunFolder) -> None:
    run.append_event(event(run, 1))
    run.append_epoch(epoch(1))
    for name in (run_folder.EVENTS, run_folder.LOSSES):
        with (run.path / name).open("ab") as file:
            file.write(b'{"torn": ')
    assert [one.seq for one in run.events()] == [1]
    assert run.last_event() == run.events()[-1]
    run.mend_logs()
    run.append_event(event(run, 2))
    run.append_epoch(epoch(2))
    assert [one.seq for one in run.events()] == [1, 2]
    assert run.losses()["epoch"].tolist() == [1, 2]


def test_a_reader_gets_each_event_once(run: RunFolder) -> None:
    reader = run.event_reader(after=1)
    run.append_event(event(run, 1))
    run.append_event(event(run, 2))
    assert [one.seq for one in reader.read()] == [2]
    run.append_event(event(run, 3))
    assert [one.seq for one in reader.read()] == [3]
    assert reader.read() == []


def test_the_last_event_is_found_behind_a_long_one(run: RunFolder) -> None:
    run.append_event(event(run, 1))
    run.append_event(event(run, 2).model_copy(update={"message": "x" * 20_000}))
    last = run.last_event()
    assert last is not None and last.seq == 2


def test_status_follows_the_folder(run: RunFolder) -> None:
    assert run.status().state is State.PENDING
    assert run.lease.take("worker", 30) == 1
    run.append_event(event(run, 1))
    assert run.status().state is State.RUNNING
    run.ask_to_cancel()
    assert (run.status().message, run.status().state) == ("Cancelling", State.RUNNING)
    run.cancelled()
    assert run.status().state is State.REVOKED
    with pytest.raises(TaskCancelled):
        run.raise_for_end()
    run.reopen()
    run.fail(ValueError("no such column"))
    assert run.status().error == "ValueError: no such column"
    with pytest.raises(TaskFailed, match="no such column") as failed:
        run.raise_for_end()
    assert failed.value.exit_status == 1
    run.reopen()
    run.fail(BadParameter("There is no failure mode 'foo'."))
    with pytest.raises(TaskFailed, match="no failure mode 'foo'") as refused:
        run.raise_for_end()
    assert refused.value.exit_status == 2  # the request was wrong
    run.reopen()
    run.finish({"final_loss": 1.5})
    assert run.raise_for_end() == {"final_loss": 1.5}
    assert run.status().progress == 100


def test_only_one_of_many_gets_the_lease(run: RunFolder) -> None:
    got: list[str] = []

    def try_for_it(owner: str) -> None:
        if run.lease.take(owner, 30) is not None:
            got.append(owner)

    threads = [threading.Thread(target=try_for_it, args=(f"w{i}",)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert run.lease.renew(got[0])
    assert not run.lease.renew("another")
    run.lease.drop("another")
    assert run.lease.held
    run.lease.drop(got[0])
    assert not run.lease.held


def test_the_lease_of_a_dead_process_is_taken_at_once(run: RunFolder) -> None:
    program = (
        "import sys, pathlib; from gan_lab.workspace.run_folder import RunFolder;"
        "print(RunFolder(pathlib.Path(sys.argv[1])).lease.take('dead', 1e6))"
    )
    asked = [sys.executable, "-c", program, str(run.path)]
    assert subprocess.run(asked, capture_output=True, text=True).stdout.strip() == "1"
    assert run.lease.read() is not None and not run.lease.held
    assert run.lease.take("next", 30) == 2
    run.lease.record_attempt("next", 3, 30)
    assert run.lease.take("next", 30) == 3


def test_a_lease_that_is_not_renewed_runs_out(run: RunFolder) -> None:
    assert run.lease.take("slow", 0.0) == 1
    assert run.lease.take("next", 30) == 2
    assert not run.lease.renew("slow")


def test_checkpoints_keep_two_and_skip_what_is_damaged(run: RunFolder) -> None:
    for number in range(1, 10):
        run.append_epoch(epoch(number))
    for number in (3, 6, 9):
        run.save_checkpoint(number, f"state {number}".encode())
    files = sorted((run.path / run_folder.CHECKPOINTS).iterdir())
    assert [path.name[:8] for path in files] == ["00000006", "00000009"]
    assert run.load_checkpoint() == (9, b"state 9")
    files[1].write_bytes(b"state X")
    assert run.load_checkpoint() == (6, b"state 6")
    run.keep_losses(6)
    assert run.losses()["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    run.keep_losses(2)
    assert run.load_checkpoint() is None  # its losses are not all recorded


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


def test_services_are_kept_for_their_owner_only(tmp_path: Path) -> None:
    folder = service_record.services_folder(tmp_path)
    assert folder.stat().st_mode & 0o077 == 0
    assert service_record.read_services(tmp_path) is None
