"""Services that are started, joined, found dead and replaced; all processes are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import product
from pathlib import Path

import httpx
import psutil
import pytest

from gan_lab.cli import main
from gan_lab.cluster import services
from gan_lab.cluster.services.scheduler import CERTIFICATE
from gan_lab.cluster.upkeep import doctor
from gan_lab.cluster.upkeep.overview import overview
from gan_lab.errors import ServiceUnreachable
from gan_lab.settings import load_settings
from gan_lab.workspace.service_record import read_services, services_folder
from tests.faults.conftest import standing_still, until
from tests.faults.test_killed import kill_redis, redis_answers

JOIN = "from gan_lab.cluster import services; print(services.ensure_services().pid)"


@pytest.fixture
def one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty workspace whose services have one worker."""
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.setenv("GAN_LAB_WORKERS", "1")


@pytest.mark.slow
@pytest.mark.usefixtures("one_worker")
def test_services_are_joined_replaced_and_ended() -> None:
    # Two at the same moment get one.
    two = [subprocess.Popen([sys.executable, "-c", JOIN], stdout=subprocess.PIPE) for _ in range(2)]
    pids = {int(one.communicate(timeout=120)[0]) for one in two}
    assert len(pids) == 1
    first = read_services()
    assert first is not None and pids == {first.pid}
    assert services.ensure_services().pid == first.pid
    secrets = services_folder() / CERTIFICATE
    assert secrets.stat().st_mode & 0o077 == 0
    # The password is not in the list of processes.
    password = first.redis_url.split("@")[0].split(":")[-1]
    children = psutil.Process(first.pid).children(recursive=True)
    assert all(password not in " ".join(child.cmdline()) for child in children)
    # Killed without warning, it takes its children with it, and its record is not believed.
    os.kill(first.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    second = services.ensure_services()
    assert second.pid != first.pid
    assert services.get_client().submit(os.getpid).result(timeout=60) > 0
    status = services.services_status()
    assert status["redis_answers"] and status["scheduler_answers"]
    assert services.stop_services()
    assert not services.stop_services()
    assert second.pid is not None and not psutil.pid_exists(second.pid)
    assert not secrets.exists() and read_services() is None


@pytest.mark.slow
@pytest.mark.usefixtures("one_worker")
def test_a_dashboard_that_is_off_has_no_port_and_workers_step_back_as_far_as_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GAN_LAB_DASHBOARD", "off")
    monkeypatch.setenv("GAN_LAB_WORKER_NICE", "3")
    kept = psutil.Process(services.ensure_services().pid)
    try:
        services.get_client().wait_for_workers(1)
        assert list(services.get_client().run(os.nice, 0).values()) == [max(3, os.nice(0))]
        facts = overview(load_settings())
        assert facts["scheduler_answers"] and facts["dashboard_link"] is None
        listening = {
            line.laddr.port
            for process in (kept, *kept.children(recursive=True))
            for line in process.net_connections("tcp")
            if line.status == psutil.CONN_LISTEN
        }
        assert listening  # Dask's own doors, which want a certificate, and a worker's health
        for port, page in product(listening, ("status", "lab", "info/main/workers.html")):
            with suppress(httpx.TransportError):
                answer = httpx.get(f"http://127.0.0.1:{port}/{page}", timeout=10)
                assert answer.status_code == 404, (port, page)
    finally:
        services.stop_services()


@pytest.mark.slow
@pytest.mark.usefixtures("one_worker")
def test_services_nobody_needs_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_LAB_IDLE_TIMEOUT_S", "1")
    joined = services.ensure_services()
    assert joined.pid is not None
    psutil.Process(joined.pid).wait(timeout=60)
    assert read_services() is None


@pytest.mark.slow
@pytest.mark.usefixtures("one_worker")
def test_services_have_what_they_began_with_and_end_with_their_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["up", "--workers", "1", "--memory", "700MB"])
    record = read_services()
    assert record is not None and "began with" not in capsys.readouterr().err
    services.get_client().wait_for_workers(1)
    (worker,) = services.get_client().scheduler_info()["workers"].values()
    assert worker["memory_limit"] == 700e6
    monkeypatch.setenv("GAN_LAB_DASHBOARD", "off")
    with pytest.raises(SystemExit):
        main(["up", "--workers", "2"])
    late = capsys.readouterr().err
    assert "GAN_LAB_WORKERS is 2, and they began with 1" in late
    assert "GAN_LAB_DASHBOARD is off, and they began with on" in late
    services.forget_client()
    supervisor = psutil.Process(record.pid)
    tmp_path.rename(tmp_path.with_name("moved"))
    supervisor.wait(timeout=60)
    assert not tmp_path.exists()


@pytest.mark.slow
def test_trouble_with_embedded_services_is_told_as_theirs(
    lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def troubles() -> dict[str, str]:
        found = doctor.examine(load_settings())
        return {one.check: f"{one.says} {one.advice}" for one in found if not one.ok}

    with monkeypatch.context() as wrong:
        wrong.setenv("GAN_LAB_REDIS_URL", "redis://127.0.0.1:9")
        services.forget_client()
        assert "GAN_LAB_REDIS_URL" in troubles()["redis"] and "scheduler" not in troubles()
        assert overview(load_settings())["scheduler_answers"]
    record = services.ensure_services()
    assert record.pid is not None and services.find_client() is not None
    monkeypatch.setenv("GAN_LAB_CONNECT_TIMEOUT_S", "1")
    with standing_still(record.pid):  # or it would be back before anybody looks
        kill_redis()
        found = troubles()
        assert f"supervisor (process {record.pid}) starts it again" in found["redis"]
        assert "gan-lab up" in found["scheduler"]
        assert [text for text in found.values() if "GAN_LAB_REDIS_URL" in text] == []
        assert [text for text in found.values() if "DASK_SCHEDULER_ADDRESS" in text] == []
        with pytest.raises(ServiceUnreachable, match="gan-lab down"):
            services.forget_client()
            services.get_client()
    until(redis_answers, "the supervisor did not start Redis again")
    assert troubles().keys().isdisjoint({"redis", "scheduler"})


def test_what_is_configured_and_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.setenv("GAN_LAB_CONNECT_TIMEOUT_S", "0.5")
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    with pytest.raises(ServiceUnreachable, match=r"127\.0\.0\.1:9: .*DASK_SCHEDULER_ADDRESS"):
        services.ensure_services()
    monkeypatch.setenv("GAN_LAB_REDIS_URL", "redis://:secret@127.0.0.1:9/2")
    with pytest.raises(ServiceUnreachable, match="DASK_SCHEDULER_ADDRESS"):
        services.ensure_services()
    assert "GAN_LAB_REDIS_URL" in caplog.text and "secret" not in caplog.text
    assert read_services() is None  # nothing was started
    assert services.services_status()["scheduler_answers"] is False
