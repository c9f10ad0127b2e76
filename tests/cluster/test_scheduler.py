"""A scheduler is asked who it is, and a supervisor whether it lives; nothing is started."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gan_lab.cluster.services import embedded, scheduler
from gan_lab.cluster.services.scheduler import make_security
from gan_lab.schema import ServiceRecord
from gan_lab.settings import Settings, load_settings
from gan_lab.workspace.service_record import write_services


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.setenv("GAN_LAB_CONNECT_TIMEOUT_S", "0.3")
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    return load_settings()


@pytest.fixture
def listener() -> Iterator[str]:
    """An address where something listens that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield f"tcp://127.0.0.1:{taken.getsockname()[1]}"


def test_what_is_no_scheduler_is_told_from_what_is_not_there(
    settings: Settings, listener: str
) -> None:
    assert scheduler.listens(listener, settings)
    configured = settings.model_copy(update={"scheduler_address": listener})
    identity, trouble = scheduler.ask_scheduler(listener, configured)
    assert identity == {} and trouble is not None
    assert f"Something listens at {listener}" in trouble[0]
    assert "DASK_SCHEDULER_ADDRESS" in trouble[1]
    nobody = "tcp://127.0.0.1:9"
    assert not scheduler.listens(nobody, settings)
    _, trouble = scheduler.ask_scheduler(nobody, settings)
    assert trouble is not None and "nothing answers" in trouble[0] and "gan-lab up" in trouble[1]


def test_a_dashboard_is_linked_where_there_is_one() -> None:
    address = "tls://127.0.0.1:8786"
    assert scheduler.dashboard_link(address, {}) is None
    link = scheduler.dashboard_link(address, {"services": {"dashboard": 8787}})
    assert link == "http://127.0.0.1:8787/status"


def test_a_certificate_is_for_its_owner_and_for_all_roles(tmp_path: Path) -> None:
    path = tmp_path / "dask.pem"
    made = make_security(path)
    assert path.stat().st_mode & 0o077 == 0
    options = [made.get_connection_args(role) for role in ("client", "scheduler", "worker")]
    assert all(one["ssl_context"] and one["require_encryption"] for one in options)


def test_a_process_that_has_the_number_of_a_supervisor_is_none(
    settings: Settings, listener: str
) -> None:
    record = ServiceRecord(
        pid=os.getpid(), host="here", redis_url="redis://127.0.0.1:9/2", redis_pid=1,
        scheduler_address=listener, dashboard_link="", workers=1,
    )  # fmt: skip
    assert embedded.find_supervisor(settings) is None
    write_services(record)
    assert embedded.find_supervisor(settings) is None
    assert embedded.end_supervisor(record, settings) is False  # and we are still here
    assert embedded.log_path(settings.home).name == "supervisor.log"
