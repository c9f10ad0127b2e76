"""What the tests of faults share: seed tables, trainings nobody disturbed, and what is asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

import gan_lab as lab
from gan_lab.cluster import services
from gan_lab.cluster.models import load_model
from gan_lab.cluster.submit import Run
from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.wire import follow as following
from gan_lab.wire.follow import follow
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.tables import write_seed
from tests.conftest import make_workspace

MACHINE = "motor_siemens_001"
SMALL = {"decoder": "network", "batch_size": 200, "compress_dims": [16], "decompress_dims": [16]}
# Long enough that a fault meets them at work, however late a busy host lets it come.
TRAININGS: dict[str, dict[str, Any]] = {
    "tabular": {**SMALL, "model": "tabular", "epochs": 120, "max_steps": 0},
    "sequential": {**SMALL, "model": "sequential", "epochs": 50, "early_stopping": False},
}

DASK = [sys.executable, "-m", "dask"]
WORKER = ["worker", "--nthreads", "1", "--no-dashboard"]
Start = Callable[..., int]


@dataclass(frozen=True)
class Undisturbed:
    """What a training that nobody disturbed left: all others must leave the same."""

    rows: pd.DataFrame
    losses: pd.DataFrame


@pytest.fixture(scope="session")
def seeded(lab_home: Path) -> str:
    """A machine with a small seed table."""
    write_seed(MACHINE, simulate(load_profile(MACHINE), SeedConfig(rows=800)))
    return MACHINE


@pytest.fixture(scope="session")
def undisturbed(seeded: str) -> dict[str, Undisturbed]:
    """Both kinds of model, trained side by side without a fault."""
    runs = {kind: lab.train(seeded, **options) for kind, options in TRAININGS.items()}
    for run in runs.values():
        run.result(timeout=280)
    return {kind: Undisturbed(rows_of(run), run.losses()) for kind, run in runs.items()}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say, save and look more often, pause for less time than usual: little is lost in tests."""
    monkeypatch.setenv("GAN_LAB_EVENT_EVERY_EPOCHS", "1")
    monkeypatch.setenv("GAN_LAB_CHECKPOINT_EVERY_EPOCHS", "5")
    monkeypatch.setenv("GAN_LAB_RETRY_PAUSE_S", "0.05")
    monkeypatch.setattr(following, "CHECK_FOLDER_S", 0.05)


@pytest.fixture
def stock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """A workspace on a stock `dask scheduler`; starts a stock `dask worker`, returns its number.

    Options are those of `dask worker`; `around`: words before the command, `environment` its own.
    """
    make_workspace(tmp_path)
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_LAB_REDIS_URL", raising=False)
    found = tmp_path / "scheduler.json"
    with ExitStack() as ending:

        def start(*words: str, around: Sequence[str] = (), **environment: str) -> int:
            process = subprocess.Popen(
                [*around, *DASK, *words],
                stderr=(tmp_path / "dask.log").open("a"),
                env=os.environ | environment,
            )
            ending.callback(process.wait)
            ending.callback(process.terminate)
            return process.pid

        pid = start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(found))
        address = scheduler_address(found, pid)
        ending.callback(services.forget_client)
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
        yield lambda *options, **how: start(*WORKER, *options, address, **how)


def rows_of(run: Run) -> pd.DataFrame:
    """Draw some rows from the model that a training left."""
    model = load_model(run)
    return pd.concat(model.sample(rows=400, seed=3))


def until_epoch(run: Run, epoch: int, after: int = 0) -> int:
    """Wait until a training has said this epoch behind event `after`; returns that event's seq."""
    for event in follow(run, after=after):
        if event.epoch is not None and event.epoch >= epoch and event.stage == "training":
            return event.seq
    raise AssertionError(f"ended before epoch {epoch}: {run.status().message}")


def until(holds: Callable[[], Any], what: str, patience_s: float = 60) -> None:
    """Wait for what nothing tells of: the state of a disk, of a process, of a log."""
    for _ in range(int(patience_s / 0.05)):
        if holds():
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"waited {patience_s} s in vain: {what}")


def scheduler_address(file: Path, pid: int) -> str:
    """Wait for the address that a scheduler tells in its file, which Dask makes before it writes
    into it."""

    def written() -> bool:
        assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE, "the scheduler has ended"
        return file.exists() and file.read_text().endswith("}")

    until(written, "the scheduler did not start")
    return str(json.loads(file.read_text())["address"])


def worker_of(run: Run) -> int:
    """The number of the worker process that holds a task's lease."""
    lease = run.lease.read()
    assert lease is not None, run.status()
    return int(lease["pid"])


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """Suspend a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill_worker_of(run: Run) -> int:
    """Kill the worker process that works on a task; returns the number of its last event."""
    process = psutil.Process(worker_of(run))
    process.kill()
    process.wait(30)
    last = run.last_event()
    assert last is not None
    return last.seq


def check_events(run: Run) -> None:
    """Ask what is asked after every fault: numbered without gap, one last word, nothing left."""
    events = run.events()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].final
    assert sum(event.stage == "completed" for event in events) <= 1
    until(lambda: not run.lease.held, "the lease was not given back")  # the last thing a task does


def check_undisturbed(run: Run, undisturbed: Undisturbed) -> None:
    """Ask whether a training left what it would have left without any fault, bit for bit."""
    run.result(timeout=280)
    check_events(run)
    learned = ["epoch", "loss", "reconstruction", "kl"]
    exact = {"check_exact": True}
    pd.testing.assert_frame_equal(run.losses()[learned], undisturbed.losses[learned], **exact)
    pd.testing.assert_frame_equal(rows_of(run), undisturbed.rows, **exact)
