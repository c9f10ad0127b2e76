"""What does not stop is stopped, what runs twice is done once, and no load or lack loses a task."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Future, LocalCluster

import gan_lab as lab
from gan_lab.cluster import queue as handover
from gan_lab.cluster import services, task_names
from gan_lab.cluster.recipe import Body, perform
from gan_lab.cluster.services.supervisor import DASK_CONFIG
from gan_lab.cluster.submit import Run
from gan_lab.cluster.tasks import train_tvae_task
from gan_lab.cluster.work import Work
from gan_lab.schema import Epoch, State, TaskSpec, TrainConfig
from gan_lab.settings import load_settings
from gan_lab.synth.network import model_file as modelfile
from gan_lab.wire.follow import follow
from gan_lab.workspace.runs import create_run
from tests.conftest import make_workspace

from .conftest import (
    MACHINE,
    SMALL,
    TRAININGS,
    Undisturbed,
    check_events,
    check_undisturbed,
    rows_of,
    standing_still,
    until,
    until_epoch,
    worker_of,
)

pytestmark = pytest.mark.slow

WORKER_B = 1_200_000_000


def give(body: Body) -> tuple[Run, Future]:
    """Give the cluster a task that does this; a body goes by value, so it stands in its test."""
    settings, client = load_settings(), services.get_client()
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="seed", machine_id=MACHINE, config={})
    run = Run.of(create_run(spec, settings.home))
    key = task_names.task_key(run)
    return run, client.submit(perform, run.task_id, settings, [], body, key=key, pure=False)


def until_begun(run: Run) -> int:
    """Wait for a task's first word; returns the number of the process that works on it."""
    next(follow(run))
    return worker_of(run)


def test_what_does_not_stop_loses_its_worker_and_nobody_else_does(
    seeded: str, undisturbed: dict[str, Undisturbed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_CANCEL_GRACE_S", "0.5")

    def stubborn(work: Work) -> dict[str, Any]:
        work.say("training", 0, 1, "Begun")
        threading.Event().wait()
        return {}

    other = lab.train(seeded, **TRAININGS["tabular"])
    until_epoch(other, 1)
    run, future = give(stubborn)
    worker = psutil.Process(until_begun(run))
    with ExitStack() as looking:  # nor is it restarted before anybody has looked
        with run.lease.claim():  # it is not to stop with the lock in its hand
            looking.enter_context(standing_still(worker.pid))
        now = run.cancel()
    assert (now.state, now.message) == (State.RUNNING, "Cancelling")
    assert now.metadata["cancelling"]
    run.wait(timeout=60)
    assert run.status().state is State.REVOKED
    assert "its worker was restarted" in run.events()[-1].message
    worker.wait(30)
    # Dask gives it to another worker, as it does with all that a dead one had; it has ended.
    assert future.result(60)["state"] == State.REVOKED
    check_events(run)
    check_undisturbed(other, undisturbed["tabular"])
    assert {event.attempt for event in other.events()} == {1}


def test_what_is_executed_twice_is_done_once(
    seeded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_LEASE_S", "1")
    gate, did = tmp_path / "gate", tmp_path / "did"

    def body(work: Work) -> dict[str, Any]:
        work.say("training", 0, 1, "Begun")
        while work.attempt == 1 and not gate.exists():
            threading.Event().wait(0.01)
        work.check()
        with did.open("a") as file:
            file.write(f"{work.attempt} ")
        return {"attempt": work.attempt}

    client, settings = services.get_client(), load_settings()
    client.wait_for_workers(2)  # one may be starting again after another test
    run, future = give(body)
    first = until_begun(run)
    others = [address for address, pid in client.run(os.getpid).items() if pid != first]
    # The one that has it stands still for longer than its lease is good; the other takes over,
    # and it writes no more once it comes back to what is no longer its own.
    with ExitStack() as ending:
        ending.callback(gate.touch)
        with run.lease.claim():  # it is not to stop with the lock in its hand
            ending.enter_context(standing_still(first))
        again = client.submit(perform, run.task_id, settings, [], body, key="again", workers=others)
        assert again.result(60)["state"] == State.SUCCESS
    assert future.result(60)["state"] == State.SUCCESS
    # A result that is lost with its worker is made again, and so is the task executed.
    holder = client.who_has(future)[future.key]
    pids = client.run(os.getpid)
    for address in holder:
        os.kill(pids[address], signal.SIGKILL)
    until(lambda: set(client.who_has(future)[future.key]) - set(holder), "it was not made again")
    assert future.result(60)["state"] == State.SUCCESS
    assert (did.read_text(), run.result_data()) == ("2 ", {"attempt": 2})
    check_events(run)


def test_a_hundred_tasks_at_once(lab_home: Path) -> None:
    known = len(lab.tasks())
    runs = [lab.seed("motor_abb_m3bp_002", rows=100) for _ in range(100)]
    table = lab.tasks()
    assert len(table) == known + 100
    assert table.loc[table.status == "unknown", ["created", "message"]].to_dict("records") == []
    for run in runs:
        run.result(timeout=200)
        assert [event.stage for event in run.events()].count("completed") == 1
        assert {event.attempt for event in run.events()} == {1}
    assert handover.lost() == []


def test_a_training_that_an_older_version_began_is_begun_anew(
    seeded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(epochs=3, model="tabular", **SMALL)
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="train", machine_id=seeded,
                    config=config.model_dump(mode="json"))  # fmt: skip
    run = create_run(spec)
    run.append_epoch(Epoch(1, 3, -1.0, -2.0, 1.0, None, 0.1, 100.0))
    with monkeypatch.context() as older:
        older.setattr(modelfile, "FORMAT", 1)
        run.checkpoints.save(1, modelfile.pack({}, {}))
    assert train_tvae_task(run.task_id, load_settings())["state"] == State.SUCCESS
    assert run.losses()["epoch"].tolist() == [1, 2, 3]
    assert sum("another version" in event.message for event in run.events()) == 1


@pytest.fixture
def without_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A workspace on somebody's Dask cluster of one small worker, where there is no Redis."""
    make_workspace(tmp_path)
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    with (
        dask.config.set(DASK_CONFIG),
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit=WORKER_B,
                     dashboard_address=None) as cluster,
    ):  # fmt: skip
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        yield
        services.forget_client()


def test_no_redis_costs_a_warning_and_no_memory_costs_the_task(without_redis: None) -> None:
    def greedy(work: Work) -> dict[str, Any]:
        work.say("training", 0, 1, "Begun")
        held = b"\1" * WORKER_B
        threading.Event().wait()
        return {"held": len(held)}

    lab.seed(MACHINE, rows=800).result(timeout=60)
    run = lab.train(MACHINE, **SMALL, model="tabular", epochs=20)
    assert [event.epoch for event in follow(run) if event.epoch][-1] == 20
    assert run.result(timeout=60)["epochs_completed"] == 20
    check_events(run)
    assert run.losses()["epoch"].tolist() == list(range(1, 21))
    assert len(rows_of(run)) == 400
    assert sum("Redis does not answer" in line["message"] for line in run.log()) == 1

    run, future = give(greedy)
    assert future.result(60)["state"] == State.FAILURE
    failure = run.error_data()
    assert failure is not None and failure["reason"] == "out_of_memory"
    assert "a worker may use 1.2 GB" in failure["message"]
    check_events(run)
    assert {event.attempt for event in run.events()} == {1}
