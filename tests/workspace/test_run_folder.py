"""Run folders: logs that were torn, checkpoints that were damaged, a status that is computed."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from gan_lab.errors import BadParameter, TaskCancelled, TaskFailed
from gan_lab.schema import Epoch, Event, State, TaskSpec
from gan_lab.workspace import run_folder
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run


@pytest.fixture
def run(home: Path) -> RunFolder:
    return make_run(home)


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


def test_a_line_torn_by_a_kill_is_skipped_and_then_cut_off(tmp_path: Path) -> None:
    run = make_run(tmp_path)
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


def test_checkpoints_keep_two_and_skip_what_is_damaged(run: RunFolder) -> None:
    for number in range(1, 10):
        run.append_epoch(epoch(number))
    for number in (3, 6, 9):
        run.checkpoints.save(number, f"state {number}".encode())
    files = sorted((run.path / run_folder.CHECKPOINTS).glob("*"))
    assert [path.name[:8] for path in files] == ["00000006", "00000009"]
    assert run.load_checkpoint() == (9, b"state 9")
    files[1].write_bytes(b"state X")
    assert run.load_checkpoint() == (6, b"state 6")
    run.keep_losses(6)
    assert run.losses()["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    run.keep_losses(2)
    assert run.load_checkpoint() is None  # its losses are not all recorded
