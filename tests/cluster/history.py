"""Tasks in every state, written by what a worker writes them with, and a dashboard of them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster, Scheduler

from gan_lab.cluster import work
from gan_lab.cluster.monitor import page as monitor
from gan_lab.cluster.task_names import task_key
from gan_lab.errors import TaskFailed
from gan_lab.schema import Epoch, Kind, TaskSpec
from gan_lab.settings import Settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run

STATES = ("success", "failure", "revoked", "running", "pending", "lost")
KINDS: tuple[Kind, ...] = ("train", "seed", "generate", "report", "prognose")
MACHINES = ("motor_siemens_001", "pump_grundfos_cr3_004", "press")
FLEETS = ("20261123-220000-a1b2", None)
EPOCHS = 40
SENTENCE = "Column <b>rpm</b> holds text & cannot be learned."  # what it says is never markup


def make_history(home: Path, tasks: int = 100, states: tuple[str, ...] = STATES) -> list[RunFolder]:
    """Make so many runs, every state in turn, each an hour older than the one before."""
    settings = Settings(home=home, redis_url=os.environ.get("GAN_LAB_REDIS_URL"))
    return [_make(number, states[number % len(states)], settings) for number in range(tasks)]


def pending(runs: list[RunFolder]) -> list[RunFolder]:
    """Those of a history in all states that wait for a worker."""
    return runs[STATES.index("pending") :: len(STATES)]


@contextmanager
def serve_dashboard(home: Path, pending: list[RunFolder], plain: bool = False) -> Iterator[str]:
    """Start a scheduler with our page and without workers, where these runs wait.

    Gives the address of its server. `plain`: without our page, to compare.
    """
    options: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=0, **options) as cluster, Client(cluster) as client:
        with pytest.MonkeyPatch.context() as patch:  # no longer, for others name theirs meanwhile
            patch.setenv("GAN_LAB_HOME", str(home))
            if not plain:
                client.run_on_scheduler(_install)
        waiting = [client.submit(len, "", key=task_key(run)) for run in pending]
        yield cluster.dashboard_link.removesuffix("/status")
        del waiting


def _install(dask_scheduler: Scheduler) -> None:
    monitor.dask_setup(dask_scheduler)


def _make(number: int, state: str, settings: Settings) -> RunFolder:
    kind = KINDS[number // len(STATES) % len(KINDS)]
    spec = TaskSpec(
        task_id=str(uuid.UUID(int=(number + 1) << 96)),
        kind=kind,
        machine_id=MACHINES[number % 7 % len(MACHINES)],
        config={},
        created=(datetime.now(UTC) - timedelta(hours=number + 1)).isoformat(),
        fleet_id=FLEETS[number // 10 % 2],
    )
    run = create_run(spec, settings.home)
    if state not in ("pending", "lost"):
        _work(run, state, settings)
    return run


def _work(run: RunFolder, state: str, settings: Settings) -> None:
    owner = "history"
    attempt = run.lease.take(owner, 3600)
    says = Announcer(run, settings, attempt or 1, worker="tls://127.0.0.1:40001")
    reached = EPOCHS if state == "success" else EPOCHS // 2
    says.say("initializing", 0, EPOCHS, "Reading the seed table")
    if run.spec.kind == "train":
        for number in (1, 2, 4, 8, 12, reached):
            run.append_epoch(Epoch(number, EPOCHS, 3 / number, 2.0, 1.0, 4 / number, 0.1, 12_000))
        for number in (1, reached):
            facts = {"epoch": number, "loss": 3 / number, "rows_per_second": 12_000.0}
            says.say("training", number, EPOCHS, f"Epoch {number}/{EPOCHS}", **facts)
    else:
        says.say("sampling", reached, EPOCHS, "Drawing 5,000 rows")
    if state == "success":
        run.finish({"machine_id": run.spec.machine_id})
        facts = {"epoch": reached, "loss": 3 / reached} if run.spec.kind == "train" else {}
        says.say("completed", EPOCHS, EPOCHS, "Done", **facts)
    elif state == "failure":
        run.fail(TaskFailed(SENTENCE), 'Traceback (most recent call last):\n  File "x.py"\nOops\n')
        says.say("failed", message=SENTENCE, **work.reached(run))
    elif state == "revoked":
        work.record_cancelled(run, says)
    says.close()
    if state != "running":
        run.lease.drop(owner)
