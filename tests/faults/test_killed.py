"""Workers, the scheduler, Redis and the client are killed for real; nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

import gan_lab as lab
from gan_lab.cluster import handover, services
from gan_lab.events import follow
from gan_lab.runs import read_services
from gan_lab.schema import State

from .conftest import EPOCHS, TRAINING, check_record, kill_worker_of, rows_of, until_epoch

pytestmark = pytest.mark.slow


def test_a_killed_worker_costs_nothing_but_time(seeded: str, undisturbed: pd.DataFrame) -> None:
    moments = sorted(random.Random(7).sample(range(3, EPOCHS - 10), 2))
    print("killed at epochs", moments)
    run = lab.train(seeded, **TRAINING)
    after = 0
    for moment in moments:
        until_epoch(run, moment, after)
        after = run.events()[-1].seq
        kill_worker_of(run)
    assert run.result(timeout=250)["epochs_completed"] == EPOCHS
    check_record(run)
    assert max(event.attempt for event in run.events()) == 3
    assert any(event.status is State.RETRY for event in run.events())
    pd.testing.assert_frame_equal(rows_of(run), undisturbed)


def test_a_worker_that_dies_every_time_fails_the_task(
    seeded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_RETRIES", "0")
    run = lab.train(seeded, **TRAINING)
    until_epoch(run, 3)
    kill_worker_of(run)
    run.wait(timeout=200)
    failure = run.error_data()
    assert failure is not None and failure["reason"] == "worker_lost"
    assert "resume" in failure["message"]
    # and one command goes on from the last checkpoint
    monkeypatch.setenv("GAN_LAB_RETRIES", "2")
    assert [one.task_id for one in handover.resume(run.task_id)] == [run.task_id]
    assert run.result(timeout=250)["epochs_completed"] == EPOCHS
    check_record(run)


def test_a_dead_scheduler_is_found_out_and_its_work_resumed(
    lab_home: Path, seeded: str, undisturbed: pd.DataFrame
) -> None:
    first = lab.train(seeded, **TRAINING)
    # Ten times as long, so that it cannot have ended before the kill, as `first` may have.
    longer = {**TRAINING, "epochs": 10 * EPOCHS}
    chain = lab.pipeline(seeded, train=longer, generate={"train": 300, "val": 100, "test": 100},
                         report=False)  # fmt: skip
    until_epoch(first, 8)
    record = read_services()
    assert record is not None
    children = psutil.Process(record.pid).children(recursive=True)
    os.kill(record.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, "the supervisor's children outlived it"

    services.ensure_services()
    mine = {run.task_id for run in [first, *chain] if not run.final}
    assert mine >= {run.task_id for run in chain}
    assert {run.task_id for run in handover.lost()} >= mine
    assert lab.get_task_status(chain[0].task_id).state is State.UNKNOWN
    assert {run.task_id for run in handover.resume()} >= mine
    assert handover.resume() == []  # a second resumer finds nothing left to take
    for run in [first, *chain]:
        run.result(timeout=180)
    check_record(first)
    pd.testing.assert_frame_equal(rows_of(first), undisturbed)
    assert sum(1 for event in first.events() if event.stage == "completed") == 1


def test_redis_dies_and_watchers_miss_nothing(seeded: str) -> None:
    run = lab.train(seeded, **TRAINING)
    record = read_services()
    assert record is not None
    seen = []
    for event in follow(run):
        seen.append(event.seq)
        if event.epoch == 5:
            os.kill(record.redis_pid, signal.SIGKILL)
    assert run.result(timeout=200)["epochs_completed"] == EPOCHS
    assert seen == [event.seq for event in run.events()]
    check_record(run)


def test_the_one_who_asked_may_die(lab_home: Path, seeded: str) -> None:
    program = (
        "import os, signal, gan_lab as lab;"
        f"run = lab.train({seeded!r}, **{TRAINING!r});"
        "print(run.task_id, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert asked.returncode == -signal.SIGKILL
    run = lab.task(asked.stdout.strip())
    epochs = [event.epoch for event in follow(run) if event.stage == "training"]
    assert epochs == list(range(1, EPOCHS + 1))
    check_record(run)
