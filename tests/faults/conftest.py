"""What the tests of faults share: a machine with a seed table, and a training nobody disturbed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

import gan_lab as lab
from gan_lab.cluster.submit import Run
from gan_lab.cluster.tasks import load_model
from gan_lab.events import follow
from gan_lab.machines import load_profile
from gan_lab.schema import SeedConfig
from gan_lab.synth.seed import simulate
from gan_lab.synth.tables import write_seed

MACHINE = "motor_siemens_001"
EPOCHS = 60
TRAINING = {
    "model": "tabular",
    "epochs": EPOCHS,
    "batch_size": 200,
    "max_steps": 0,
    "compress_dims": [16],
    "decompress_dims": [16],
}


@pytest.fixture(scope="session")
def seeded(lab_home: Path) -> str:
    """A machine with a small seed table."""
    write_seed(MACHINE, simulate(load_profile(MACHINE), SeedConfig(rows=800)))
    return MACHINE


@pytest.fixture(scope="session")
def undisturbed(seeded: str) -> pd.DataFrame:
    """The rows of the training that all others must equal."""
    run = lab.train(seeded, **TRAINING)
    run.result(timeout=280)
    return rows_of(run)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say and save more often than usual, so that little time is lost in tests."""
    monkeypatch.setenv("GAN_LAB_EVENT_EVERY_EPOCHS", "1")
    monkeypatch.setenv("GAN_LAB_CHECKPOINT_EVERY_EPOCHS", "5")


def rows_of(run: Run) -> pd.DataFrame:
    """Draw some rows from the model that a training left."""
    model, _ = load_model(run)
    return pd.concat(model.sample(rows=400, seed=3))


def until_epoch(run: Run, epoch: int, after: int = 0) -> None:
    """Wait until a training has said this epoch."""
    for event in follow(run, after=after):
        if event.epoch is not None and event.epoch >= epoch:
            return
    raise AssertionError(f"ended before epoch {epoch}: {run.status().message}")


def kill_worker_of(run: Run) -> int:
    """Kill the worker process that holds a task's lease, without warning; returns its number."""
    lease = run.lease()
    assert lease is not None
    os.kill(lease["pid"], signal.SIGKILL)
    return int(lease["pid"])


def check_record(run: Run, epochs: int = EPOCHS) -> None:
    """Ask what is asked after every fault: events and losses without gap or repeat."""
    events = run.events()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].final
    assert run.losses()["epoch"].tolist() == list(range(1, epochs + 1))
