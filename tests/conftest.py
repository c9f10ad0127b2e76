"""Fixtures that every part's tests share."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from gan_lab.store import StorePath

ROOT = Path(__file__).parent.parent
# Whose files share a costly fixture: JupyterLab and Chromium, undisturbed trainings, a server.
TOGETHER = ("tests/browser/", "tests/faults/", "tests/server/")
# Threads of two processes of tests wait for each other's cores, spinning: a fit of a second took
# fifty. Workers have one thread each for the same reason.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# And a worker that steps back behind tests gets a tenth of what they leave each other.
os.environ.setdefault("GAN_LAB_WORKER_NICE", "0")


class ByFile(LoadScopeScheduling):
    """Gives each process a file at a time, or all files of a folder that share a fixture."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Return the scheduler of tests in several processes."""
    return ByFile(config, log)


def store_at(port: int) -> dict[str, str]:
    """The environment that names a store on loopback to all who ask."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    where = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    return where | dict.fromkeys(names, "tests")


@pytest.fixture(scope="session")
def object_store() -> Iterator[None]:
    """A server of S3's protocol on loopback, which the environment names to all who ask."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store_at(server.get_host_and_port()[1]).items():
            patch.setenv(name, value)
        yield
    server.stop()


@pytest.fixture
def bucket(object_store: None) -> StorePath:
    """An empty bucket of its own."""
    import boto3

    name = f"lab-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return StorePath.of(f"s3://{name}")


@pytest.fixture(params=["disk", "store"])
def home(request: pytest.FixtureRequest) -> Any:
    """An empty workspace: a folder, then one in an object store."""
    if request.param == "disk":
        return request.getfixturevalue("tmp_path")
    return request.getfixturevalue("bucket") / "lab"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real tables that are not part of the project; skips where it is absent."""
    folder = Path(os.environ.get("GAN_LAB_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "train_FD001.parquet").exists():
        pytest.skip(f"no real data in {folder}: set GAN_LAB_TEST_DATA to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def lab_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace of its own with real services, which `GAN_LAB_HOME` names to all who ask."""
    from gan_lab.cluster import services

    home = tmp_path_factory.mktemp("lab")
    make_workspace(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_LAB_HOME", str(home))
        for name in ("GAN_LAB_REDIS_URL", "DASK_SCHEDULER_ADDRESS", "GAN_LAB_FLEET_ID"):
            patch.delenv(name, raising=False)
        services.ensure_services()
        yield home
        services.stop_services()


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def make_workspace(home: Path) -> None:
    """Lay out a workspace: the project's machines and notebooks, no tables and no runs."""
    for folder in ("data/machines", "notebooks"):
        shutil.copytree(ROOT / folder, home / folder)
    (home / "runs").mkdir()
