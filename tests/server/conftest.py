"""A real Jupyter server with our extension, in a process of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from gan_lab.cluster.services.valkey import ValkeyChild
from gan_lab.schema import TaskSpec
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run
from tests.conftest import make_workspace
from tests.faults.conftest import scheduler_address

START_S = 180  # most that a busy host needs
OTHERS = [  # extensions that are not asked for anything here and take seconds to load
    *("dask_labextension", "jupyter_lsp", "jupyter_server_proxy", "jupyter_server_terminals"),
    *("jupyterlab", "notebook_shim"),
]
ACTOR = Path(__file__).with_name("actor.py")


@dataclass
class JupyterProcess:
    """A Jupyter server as a child process; `variables` go into its environment.

    `extension`: whether ours is on, as `jupyter server extension disable --user` would write it.
    """

    home: Path
    arguments: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    base_url: str = "/lab/"
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    port: int = 0
    extension: bool = True

    def start(self) -> JupyterProcess:
        options = {
            "ServerApp.port": 0,  # a free one, which its record names
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.base_url": self.base_url,
            "ServerApp.root_dir": self.home,
            "ServerApp.open_browser": False,
            "ServerApp.allow_root": True,
            "IdentityProvider.token": self.token,
        }
        environment = {**os.environ, "GAN_LAB_HOME": str(self.home), **self.variables}
        config = self.home / ".jupyter"
        config.mkdir(exist_ok=True)
        off = OTHERS if self.extension else [*OTHERS, "gan_lab.server"]
        wanted = {"ServerApp": {"jpserver_extensions": dict.fromkeys(off, False)}}
        (config / "jupyter_server_config.json").write_text(json.dumps(wanted))
        environment["JUPYTER_CONFIG_DIR"] = environment["JUPYTER_RUNTIME_DIR"] = str(config)
        self._log = (self.home / "jupyter.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server"]
            + [f"--{name}={value}" for name, value in options.items()]
            + self.arguments,
            env=environment,
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            cwd=self.home,
        )
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.base_url.rstrip('/')}"

    @property
    def log_text(self) -> str:
        return (self.home / "jupyter.log").read_text()

    def wait(self) -> JupyterProcess:
        """Wait until it listens: it records then where."""
        record = self.home / ".jupyter" / f"jpserver-{self.pid}.json"
        for _ in range(START_S * 20):
            if record.exists() and (text := record.read_text()):
                self.port = json.loads(text)["port"]
                return self
            assert self._process.poll() is None, self.log_text
            time.sleep(0.05)  # nothing to wait on
        raise AssertionError(self.log_text)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()

    def client(self, token: bool = True) -> httpx.Client:
        headers = {"Authorization": f"token {self.token}"} if token else {}
        # Nothing is encrypted here, and certificates take 50 ms to load.
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=False)

    def websocket(self, task_id: str, query: str = "") -> str:
        return f"ws://127.0.0.1:{self.port}{self.base_url}ws/gan/training/{task_id}{query}"


@dataclass
class Actor:
    """A worker process that does nothing but say events of one task, as it is told."""

    run: RunFolder
    process: subprocess.Popen[str]

    def tell(self, *words: str) -> None:
        """Send one command and wait until it is done."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@dataclass
class Queue:
    """Real services in which tasks wait for ever: a Valkey server, a scheduler without workers."""

    variables: dict[str, str]
    scheduler: subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def quiet_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("server") / "home"
    home.mkdir()
    make_workspace(home)
    return home


@pytest.fixture(scope="session")
def queue(quiet_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    folder = tmp_path_factory.mktemp("queue")
    file = folder / "scheduler.json"
    scheduler = subprocess.Popen(
        [
            *(sys.executable, "-m", "distributed.cli.dask_scheduler", "--host=127.0.0.1"),
            *("--port=0", "--no-dashboard", "--no-show", f"--scheduler-file={file}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    valkey = ValkeyChild(folder)
    valkey.start()
    try:
        address = scheduler_address(file, scheduler.pid)
        variables = {"GAN_LAB_REDIS_URL": valkey.url, "DASK_SCHEDULER_ADDRESS": address}
        yield Queue(variables, scheduler)
    finally:
        scheduler.terminate()
        scheduler.wait(20)
        valkey.stop()


@pytest.fixture(scope="session")
def jupyter(quiet_home: Path, queue: Queue) -> Iterator[JupyterProcess]:
    server = JupyterProcess(quiet_home, variables=queue.variables).start()
    try:
        yield server.wait()
    finally:
        server.stop()


@pytest.fixture
def api(jupyter: JupyterProcess) -> Iterator[httpx.Client]:
    with jupyter.client() as client:
        yield client


@pytest.fixture
def actor(quiet_home: Path, queue: Queue) -> Iterator[Actor]:
    """A task and the process that acts its part."""
    spec = TaskSpec(
        task_id=str(uuid.uuid4()),
        kind="train",
        machine_id="motor_siemens_001",
        config={"epochs": 1000},
    )
    run = create_run(spec, quiet_home)
    process = subprocess.Popen(
        [sys.executable, str(ACTOR), run.task_id],
        env={**os.environ, "GAN_LAB_HOME": str(quiet_home), **queue.variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    acting = Actor(run, process)
    try:
        yield acting
    finally:
        acting.close()
