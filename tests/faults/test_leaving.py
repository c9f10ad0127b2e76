"""Workers that are told to end hand on what they do: another goes on from that very epoch."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

import gan_lab as lab
from gan_lab.cluster import services
from gan_lab.cluster.resume import resume
from gan_lab.cluster.submit import Run
from gan_lab.schema import State

from .conftest import MACHINE, TRAININGS, Start, check_events, until_epoch, worker_of

pytestmark = pytest.mark.slow

TRAINING = TRAININGS["tabular"] | {"epochs": 300}


def train(machine_id: str) -> Run:
    run = lab.train(machine_id, **TRAINING)
    until_epoch(run, 7)
    return run


def check_handed_on(run: Run, times: int) -> None:
    """Ask whether every epoch was learned once, whoever did, and nobody was blamed."""
    assert run.result(timeout=200)["epochs_completed"] == 300
    check_events(run)
    events = run.events()
    learned = [event.epoch for event in events if event.message.startswith("Epoch ")]
    assert learned == list(range(1, 301))
    assert sum("told to end" in event.message for event in events) == times
    assert {event.attempt for event in events} == {1}
    assert State.RETRY not in {event.status for event in events}


def until_at_work_again(run: Run) -> None:
    """Wait for an epoch behind the last word of the worker before."""
    handed_on = [event for event in run.events() if "told to end" in event.message][-1]
    until_epoch(run, 1, handed_on.seq)


def nanny_of(run: Run) -> psutil.Process:
    """The `dask worker` that the holder of a lease belongs to."""
    return next(
        process
        for process in psutil.Process(worker_of(run)).parents()
        if "nthreads" in " ".join(process.cmdline())
    )


def test_a_worker_that_is_told_to_end_hands_its_training_on(stock: Start) -> None:
    stock(), stock()
    lab.seed(MACHINE, rows=800).result(timeout=60)
    client = services.get_client()
    client.wait_for_workers(2)
    # By whoever operates it, as a queue and a spot instance do: its nanny gets a SIGTERM.
    run = train(MACHINE)
    nanny = nanny_of(run)
    nanny.terminate()
    nanny.wait(30)
    until_at_work_again(run)
    # By a signal to the worker itself, which its nanny starts anew: three times, as after three
    # deaths a task is given up.
    for _ in range(3):
        worker = psutil.Process(worker_of(run))
        worker.terminate()
        worker.wait(30)
        until_at_work_again(run)
    # By Dask, which scales down.
    stock()
    client.wait_for_workers(2)
    address = next(a for a, pid in client.run(os.getpid).items() if pid == worker_of(run))
    client.retire_workers([address])
    check_handed_on(run, times=5)


def test_services_that_are_stopped_leave_every_training_at_its_last_epoch(seeded: str) -> None:
    runs = [lab.train(seeded, **TRAINING, seed=seed) for seed in (1, 2)]
    for run in runs:
        until_epoch(run, 7)
    services.stop_services()
    assert {run.status().state for run in runs} == {State.RETRY}
    assert not any(run.lease.held for run in runs)
    taken = resume()
    assert {run.task_id for run in runs} <= {run.task_id for run in taken}
    for run in runs:
        check_handed_on(run, times=1)


def test_a_worker_without_a_nanny_hands_on_as_well(stock: Start) -> None:
    first = stock("--no-nanny")
    lab.seed(MACHINE, rows=800).result(timeout=60)
    run = train(MACHINE)
    os.kill(first, signal.SIGTERM)
    stock()
    check_handed_on(run, times=1)
