"""Workers, the scheduler, Redis and whoever asked are killed for real; nothing is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from functools import partial
from urllib.parse import urlsplit

import psutil
import pytest

import gan_lab as lab
from gan_lab.cluster import queue as handover
from gan_lab.cluster import services
from gan_lab.cluster.resume import resume
from gan_lab.schema import ServiceRecord, State
from gan_lab.wire.connection import connect, redis_url, stream_key
from gan_lab.wire.follow import follow
from gan_lab.workspace import run_folder
from gan_lab.workspace.service_record import read_services

from .conftest import (
    SMALL,
    TRAININGS,
    Undisturbed,
    check_events,
    check_undisturbed,
    kill_worker_of,
    standing_still,
    until,
    until_epoch,
    worker_of,
)

pytestmark = pytest.mark.slow

GAN_LAB = [sys.executable, "-c", "from gan_lab.cli import main; main()"]


def services_record() -> ServiceRecord:
    record = read_services()
    assert record is not None
    return record


def test_a_dead_scheduler_is_found_out_and_its_work_resumed(
    seeded: str,
    undisturbed: dict[str, Undisturbed],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two that keep the workers busy, and a chain that waits.
    busy = {kind: lab.train(seeded, **options) for kind, options in TRAININGS.items()}
    for run in busy.values():
        until_epoch(run, 1)
    chain = lab.pipeline(seeded, train={**SMALL, "model": "tabular", "epochs": 3}, report=False,
                         generate={"train": 300, "val": 100, "test": 100})  # fmt: skip
    unwanted = lab.train(seeded, **SMALL, model="tabular", epochs=3, seed=1)
    all_of_them = [*busy.values(), *chain]
    record = services_record()
    children = psutil.Process(record.pid).children(recursive=True)
    os.kill(record.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, "the supervisor's children outlived it"
    assert not any(run.final for run in all_of_them), "ended before it could be lost"

    unwanted.ask_to_cancel()  # nobody is left who could see it
    mine = {run.task_id for run in all_of_them}
    assert mine <= {run.task_id for run in handover.lost()}  # though no scheduler can be asked
    told = subprocess.run([*GAN_LAB, "up"], capture_output=True, text=True, timeout=120)
    assert "tasks are lost" in told.stderr and "gan-lab resume --all" in told.stderr
    monkeypatch.setattr(run_folder, "JUST_MADE_S", 5.0)
    until(
        lambda: {lab.get_task_status(task_id).state for task_id in mine} == {State.UNKNOWN},
        "they are not told as lost",
    )  # once they are too old to be on their way
    lab.seed("motor_abb_m3bp_002", rows=100)  # whoever connects anew hears of them as well
    assert "tasks are lost" in caplog.text
    # Two resume at the same moment; each task is taken up once.
    command = [*GAN_LAB, "resume", "--all", "--detach", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        here = [run.task_id for run in resume()]
        there = [status["task_id"] for status in json.loads(other.communicate(timeout=120)[0])]
    assert sorted(task for task in here + there if task in mine) == sorted(mine)
    assert resume() == []
    assert unwanted.status().state is State.REVOKED
    for kind, run in busy.items():
        check_undisturbed(run, undisturbed[kind])
    for run in chain:
        run.result(timeout=180)
        check_events(run)


def test_killed_workers_cost_nothing_but_time(
    seeded: str, undisturbed: dict[str, Undisturbed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_RETRIES", "1")
    moments = sorted(random.Random(7).sample(range(3, 40), 2))
    print("killed at epochs", moments)
    # Twice is once more than it is tried again. One that came further meanwhile has all its tries
    # again; another gives up, and one command takes it up.
    runs = {}
    for kind in ("sequential", "tabular"):
        if kind == "tabular":
            monkeypatch.setenv("GAN_LAB_CHECKPOINT_EVERY_EPOCHS", "1000")
            monkeypatch.setenv("GAN_LAB_CHECKPOINT_EVERY_S", "1000")
        run, seen = lab.train(seeded, **TRAININGS[kind]), 0
        runs[kind] = run
        for moment in moments:
            until_epoch(run, moment, seen)
            seen = kill_worker_of(run)
    tabular = runs["tabular"]
    tabular.wait(timeout=250)
    failure = tabular.error_data()
    assert failure is not None and failure["reason"] == "worker_lost"
    assert f"gan-lab resume {tabular.task_id}" in failure["message"]
    assert [run.task_id for run in resume(tabular.task_id)] == [tabular.task_id]
    for kind, run in runs.items():
        check_undisturbed(run, undisturbed[kind])
        assert any(event.status is State.RETRY for event in run.events())


def test_the_one_who_asked_and_redis_die_and_watchers_miss_nothing(
    seeded: str, undisturbed: dict[str, Undisturbed]
) -> None:
    program = (
        "import os, signal, gan_lab as lab;"
        f"run = lab.train({seeded!r}, **{TRAININGS['tabular']!r});"
        "print(run.task_id, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert asked.returncode == -signal.SIGKILL
    run = lab.task(asked.stdout.strip())
    seen = []
    for event in follow(run):
        seen.append(event.seq)
        if event.epoch == 5:
            kill_redis()  # the training goes on meanwhile
        if event.epoch == 40:
            with standing_still(worker_of(run)):
                came_back_elsewhere()
    assert seen == [event.seq for event in run.events()]
    check_undisturbed(run, undisturbed["tabular"])
    # Whoever listens in another language finds the whole story on the new server.
    kept = connect(str(redis_url())).xrange(stream_key(run.task_id))
    assert [json.loads(fields["event"])["seq"] for _, fields in kept] == seen


def kill_redis() -> None:
    os.kill(services_record().redis_pid, signal.SIGKILL)


def came_back_elsewhere() -> None:
    """Wait until Redis is back, kill it again and take its port, so that it gets another."""
    until(redis_answers, "the server did not come back")
    before = urlsplit(services_record().redis_url).port
    with standing_still(services_record().pid), socket.socket() as taken:
        kill_redis()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        until(partial(binds, taken, before), "the port did not get free")
        taken.listen()
        os.kill(services_record().pid, signal.SIGCONT)
        until(redis_answers, "the server did not come back on another port")
    assert urlsplit(services_record().redis_url).port != before


def redis_answers() -> bool:
    return bool(services.services_status()["redis_answers"])


def binds(probe: socket.socket, port: int | None) -> bool:
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
