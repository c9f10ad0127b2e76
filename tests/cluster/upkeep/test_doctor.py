"""What the doctor says of a host where something is wrong; no services are started."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from gan_lab.cluster.upkeep import doctor
from gan_lab.schema import ServiceRecord
from gan_lab.settings import WORKSPACE_FOLDERS, load_settings
from gan_lab.workspace.service_record import write_services

Usage = namedtuple("Usage", "total used free")
CHECKS = ["workspace", "disk", "scheduler", "redis"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in WORKSPACE_FOLDERS:
        (tmp_path / name).mkdir()
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    for name in ("GAN_LAB_REDIS_URL", "DASK_SCHEDULER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def findings() -> dict[str, doctor.Finding]:
    return {finding.check: finding for finding in doctor.examine(load_settings())}


def test_a_workspace_at_rest_is_well() -> None:
    found = findings()
    assert list(found) == CHECKS
    assert [name for name in ("workspace", "scheduler", "redis") if not found[name].ok] == []
    assert "start when needed" in found["scheduler"].says


def test_a_folder_that_is_missing_is_named(home: Path) -> None:
    (home / "notebooks").rmdir()
    assert str(home / "notebooks") in findings()["workspace"].says


@pytest.mark.parametrize(("free", "well"), [(1.9e9, False), (4e9, False), (5.1e9, True)])
def test_a_disk_needs_two_gigabytes_and_a_twentieth(
    monkeypatch: pytest.MonkeyPatch, free: float, well: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100e9, 0, free))
    assert findings()["disk"].ok is well


def test_a_stale_record_is_told_as_stale(home: Path) -> None:
    record = ServiceRecord(
        pid=2**22 + 1, host="here", redis_url="redis://127.0.0.1:9/2", redis_pid=1,
        scheduler_address="tls://127.0.0.1:9", dashboard_link="", workers=1,
    )  # fmt: skip
    write_services(record, home)
    found = findings()["scheduler"]
    assert f"process {record.pid} is gone" in found.says and "supervisor.log" in found.advice


def test_what_is_configured_and_silent_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GAN_LAB_REDIS_URL", "redis://:secret@127.0.0.1:9/2")
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    found = findings()
    assert "127.0.0.1:9" in found["redis"].says and "GAN_LAB_REDIS_URL" in found["redis"].advice
    assert "DASK_SCHEDULER_ADDRESS" in found["scheduler"].advice
    assert not any("secret" in one.says + one.advice for one in found.values())
