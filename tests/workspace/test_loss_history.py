from __future__ import annotations

import math
import uuid
from pathlib import Path

import pytest

from gan_lab.schema import Epoch, TaskSpec
from gan_lab.workspace.line_log import LineLog
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run


@pytest.fixture
def run(home: Path) -> RunFolder:
    return make_run(home)


def make_run(home: Path) -> RunFolder:
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="train", machine_id="press", config={})
    return create_run(spec, home)


def learn(run: RunFolder, first: int, last: int) -> None:
    for number in range(first, last + 1):
        validation = 2.0 if number % 2 else None
        run.append_epoch(Epoch(number, 9, 10.0 / number, 1.0, 1.0, validation, 0.5, 100.0))


def test_each_look_reads_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    read: list[int] = []
    original = LineLog.read

    def counted(log: LineLog, offset: int = 0) -> tuple[list[bytes], int]:
        lines, end = original(log, offset)
        read.append(len(lines))
        return lines, end

    monkeypatch.setattr(LineLog, "read", counted)
    history = LossHistory(run)
    history.update()
    assert len(history) == 0  # nothing is there yet
    learn(run, 1, 3)
    history.update()
    learn(run, 4, 5)
    history.update()
    history.update()
    assert read == [3, 2, 0]
    assert history.columns["epoch"] == [1, 2, 3, 4, 5]
    assert history.columns["loss"] == pytest.approx([10, 5, 10 / 3, 2.5, 2])
    assert [math.isnan(value) for value in history.columns["validation"]] == [False, True] * 2 + [
        False
    ]


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    history = LossHistory(run)
    learn(run, 1, 1)
    with (run.path / "losses.csv").open("a") as file:
        file.write("2,5.0,1.0,")
        file.flush()
        history.update()
        assert len(history) == 1
        file.write("1.0,,0.5,100\n")
    history.update()
    assert history.columns["loss"] == [10.0, 5.0]


def test_a_training_that_goes_back_is_read_anew(run: RunFolder) -> None:
    history = LossHistory(run)
    learn(run, 1, 4)
    history.update()
    run.keep_losses(2)
    learn(run, 3, 8)  # longer than it was
    history.update()
    assert history.columns["epoch"] == list(range(1, 9))
