"""The workspace's cluster as JupyterLab's Dask panel asks for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gan_lab.server.panel import WorkspaceCluster
from tests.faults.conftest import scheduler_address, standing_still

pytestmark = pytest.mark.slow


def test_a_busy_scheduler_keeps_its_pages_and_one_that_is_gone_loses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "tcp://127.0.0.1:0"]
    command += ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(where)]
    scheduler = subprocess.Popen(command)
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", scheduler_address(where, scheduler.pid))

    async def ask() -> tuple[str, str, str]:
        cluster = await WorkspaceCluster(start=False)
        answered = cluster.dashboard_link
        with standing_still(scheduler.pid):
            busy = (await cluster).dashboard_link
        monkeypatch.delenv("DASK_SCHEDULER_ADDRESS")
        return answered, busy, (await cluster).dashboard_link

    answered, busy, gone = asyncio.run(ask())
    scheduler.kill()
    scheduler.wait()
    assert answered.startswith("http://127.0.0.1:") and answered.endswith("/status")
    assert busy == answered and gone == ""
