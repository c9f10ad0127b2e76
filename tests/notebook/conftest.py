"""A workspace without a cluster: run folders, a real Valkey, a real kernel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from jupyter_client.manager import KernelManager

from gan_lab.cluster.services.valkey import ValkeyChild
from gan_lab.schema import TaskSpec
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run
from tests.conftest import ROOT


@pytest.fixture
def view_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace that `GAN_LAB_HOME` names."""
    for folder in ("data/machines", "runs", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.delenv("GAN_LAB_REDIS_URL", raising=False)
    return tmp_path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the catalogue's machines and no services."""
    for name in ("runs", "notebooks"):
        (tmp_path / name).mkdir()
    shutil.copytree(ROOT / "data" / "machines", tmp_path / "data" / "machines")
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def new_run(view_home: Path) -> Callable[..., RunFolder]:
    """Return what makes a run folder with its request."""

    def made(kind: str = "train", after: str | None = None, **config: Any) -> RunFolder:
        return create_run(
            TaskSpec(
                task_id=str(uuid.uuid4()),
                kind=kind,
                machine_id="motor_siemens_001",
                after=after,
                config=config,
            )
        )

    return made


@pytest.fixture
def valkey(view_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """A real Valkey that `GAN_LAB_REDIS_URL` names."""
    server = ValkeyChild(view_home)
    server.start()
    monkeypatch.setenv("GAN_LAB_REDIS_URL", server.url)
    client = redis.Redis.from_url(server.url)
    yield client
    client.close()
    server.stop()


@pytest.fixture
def writer() -> Iterator[Callable[[RunFolder, int, float], subprocess.Popen[bytes]]]:
    """Return what starts a process that writes a training: epochs, seconds per epoch."""
    started: list[subprocess.Popen[bytes]] = []

    def start(run: RunFolder, epochs: int, epoch_s: float) -> subprocess.Popen[bytes]:
        script = Path(__file__).parent / "writer.py"
        command = [sys.executable, str(script), run.task_id, str(epochs), str(epoch_s)]
        started.append(subprocess.Popen(command))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


class Kernel:
    """A kernel as a front end drives it; `messages` are all it has published."""

    def __init__(self, home: Path) -> None:
        self._manager = KernelManager()
        self._manager.start_kernel(cwd=str(home / "notebooks"))
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=180)
        self.messages: list[dict[str, Any]] = []

    def run(self, code: str, front_end: bool = True) -> str:
        """Run a cell and return what it printed; a front end offers a standard input."""
        printed: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            self.messages.append(message)
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = self._client.execute_interactive(
            code, allow_stdin=front_end, output_hook=hook, timeout=180, store_history=True
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed)

    def displayed(self, kind: str = "display_data") -> list[dict[str, Any]]:
        """Return the MIME bundles that were published."""
        return [m["content"]["data"] for m in self.messages if m["msg_type"] == kind]

    def wait_until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next message of this kind that comes while no cell runs."""
        while True:
            message = self._client.get_iopub_msg(timeout=180)
            self.messages.append(message)
            if wanted(message):
                return message

    def stop(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(view_home: Path) -> Iterator[Kernel]:
    """A real kernel in the workspace."""
    kernel = Kernel(view_home)
    yield kernel
    kernel.stop()
