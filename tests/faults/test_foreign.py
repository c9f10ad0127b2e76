"""Clusters of somebody else: taken as they are, refused with a sentence where they do not fit."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml
from distributed import Client, LocalCluster, Security

import gan_lab as lab
from gan_lab.cluster import queue, services
from gan_lab.cluster.resume import resume
from gan_lab.cluster.services.supervisor import config_of_cluster
from gan_lab.cluster.upkeep.doctor import examine
from gan_lab.errors import BadParameter, ServiceUnreachable, TaskFailed
from gan_lab.settings import load_settings
from tests.conftest import ROOT, make_workspace

from .conftest import MACHINE, SMALL, Start, until

pytestmark = pytest.mark.slow

# A Python that has everything but this package.
WITHOUT = (
    "import sys; sys.modules['gan_lab'] = None; sys.argv = sys.argv[3:]; "
    "from dask.__main__ import main; main()"
)
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def test_a_cluster_of_the_notebook_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_workspace(tmp_path)
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://nowhere:1")  # and given back
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None,
                     security=Security.temporary(), protocol="tls://") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        for made in (cluster, client):
            lab.use(made)
            assert services.services_status()["scheduler_address"] == cluster.scheduler_address
            assert lab.seed(MACHINE, rows=100).result(timeout=60)["samples_generated"] == 100
        with pytest.raises(BadParameter, match="neither a Dask cluster"):
            lab.use("tcp://scheduler:8786")
        lab.use(None)
        assert client.status == "running" and load_settings().scheduler_address is None
        lab.use(cluster)
        ours = services.get_client()
        lab.use(client)
        assert ours.status == "closed" and services.get_client() is client
        with Client(cluster, set_as_default=False) as closed:
            pass
        with pytest.raises(BadParameter, match="not connected to a scheduler"):
            lab.use(closed)
        assert services.get_client() is client  # as before
        lab.use(None)
    with pytest.raises(BadParameter, match="cannot be connected to"):
        lab.use(cluster)
    assert load_settings().scheduler_address is None


def test_the_recipe_for_slurm_trains(
    lab_home: Path, seeded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page has it, but that shells run its jobs, for here is no Slurm."""
    jobs = {
        "sbatch": 'cp "$1" "$0.job"; setsid sh "$0.job" >"$0.log" 2>&1 & '
        'echo "Submitted batch job $!"',
        "scancel": 'for job in "$@"; do kill -TERM -- "-$job"; done',
    }
    for name, line in jobs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    page = (ROOT / "docs" / "howto" / "cluster.md").read_text()
    (recipe,) = re.findall(r"```python\n([^`]*SLURMCluster\([^`]*)```", page)
    recipe, train, _ = recipe.partition("lab.train")
    assert train
    here: dict[str, Any] = {}
    exec(recipe.replace("/shared/lab", str(lab_home)).replace("scale(20)", "scale(1)"), here)
    with here["cluster"]:
        run = lab.train(seeded, **SMALL, model="tabular", epochs=3)
        assert run.result(timeout=250)["epochs_completed"] == 3
        (worker,) = services.get_client().scheduler_info()["workers"].values()
        assert worker["resources"] == {"TRAIN": 1}
        lab.use(None)
    assert load_settings().scheduler_address is None


@pytest.fixture
def ssh_port() -> Iterator[int]:
    """The port of an SSH server on this host that lets everybody in and runs what they ask."""
    import asyncssh

    async def run(process: asyncssh.SSHServerProcess[str]) -> None:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        shell = await asyncio.create_subprocess_shell(
            process.command or "", start_new_session=True, **pipes
        )
        await process.redirect(stdin=shell.stdin, stdout=shell.stdout, stderr=shell.stderr)
        ending = asyncio.ensure_future(shell.wait())
        await asyncio.wait(
            [ending, asyncio.ensure_future(process.wait_closed())], return_when="FIRST_COMPLETED"
        )
        if not ending.done():  # whoever asked has gone
            os.killpg(shell.pid, signal.SIGTERM)
        process.exit(await ending)

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    async def serve() -> asyncssh.SSHAcceptor:
        key = asyncssh.generate_private_key("ssh-ed25519")
        return await asyncssh.create_server(
            Open, "127.0.0.1", 0, server_host_keys=[key], process_factory=run
        )

    loop = asyncio.new_event_loop()  # which outlives this: some of its pipes are still closing
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(30)
    yield server.get_port()
    loop.call_soon_threadsafe(server.close)


def test_the_recipe_for_ssh_trains(
    lab_home: Path, seeded: str, tmp_path: Path, ssh_port: int
) -> None:
    """As the page has it, but that all hosts are this one."""
    page = (ROOT / "docs" / "howto" / "cluster.md").read_text()
    (recipe,) = re.findall(r"```python\n([^`]*SSHCluster\([^`]*)```", page)
    recipe, train, _ = recipe.partition("lab.train")
    assert train
    recipe = re.sub(r'"host\d"', '"127.0.0.1"', recipe).replace(
        "worker_options=", f"connect_options={{'port': {ssh_port}, 'known_hosts': None}},\n"
        "    worker_options="
    )  # fmt: skip
    recipe = re.sub(r'"[^"]*/bin/python"', repr(sys.executable), recipe)
    config = config_of_cluster(tmp_path / "dask.pem")
    here: dict[str, Any] = {}
    with dask.config.set(dask.config.merge(dask.config.config, config)):
        exec(recipe.replace('"n_workers": 4', '"n_workers": 1'), here)
        with here["cluster"]:
            run = lab.train(seeded, **SMALL, model="tabular", epochs=3)
            assert run.result(timeout=250)["epochs_completed"] == 3
            workers = services.get_client().scheduler_info()["workers"]
            assert all(worker["resources"] == {"TRAIN": 1} for worker in workers.values())
            assert all(address.startswith("tls://") for address in workers)
            lab.use(None)


def test_what_workers_need_may_come_from_dasks_own_configuration(
    stock: Start, tmp_path: Path
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from gan_lab.cli import main; main()", "dask-config"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert yaml.safe_load(said.stdout)["distributed"]["worker"]["resources"] == {"TRAIN": 1}
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "lab.yaml").write_text(said.stdout)
    other_path = tmp_path / "mounted here"
    other_path.symlink_to(tmp_path)
    lab_seed = lab.seed(MACHINE, rows=800)
    stock(DASK_CONFIG=str(tmp_path / "config"), GAN_LAB_HOME=str(other_path))
    lab_seed.result(timeout=60)
    client = services.get_client()
    (worker,) = client.scheduler_info()["workers"].values()
    assert worker["resources"] == {"TRAIN": 1}
    stock(DASK_DISTRIBUTED__WORKER__RESOURCES__TRAIN="1")
    client.wait_for_workers(2)
    until(lambda: len(queue.workers_of(client)) == 2, "the second worker is not known")
    run = lab.train(MACHINE, **SMALL, model="tabular", epochs=3)
    assert run.result(timeout=100)["epochs_completed"] == 3
    assert all(finding.ok for finding in examine(load_settings()) if finding.check == "worker")


@pytest.mark.parametrize(
    ("around", "home", "sentence"),
    [
        ([], "{other}", "does not see this workspace at {other}"),
        ([sys.executable, "-c", WITHOUT], "{home}", "cannot load gan_lab"),
        (["unshare", "--mount", "sh", "-c", READ_ONLY, "{home}"], "{home}", "may not write to"),
    ],
)
def test_a_worker_that_cannot_work_here_is_refused_at_once(
    stock: Start, tmp_path: Path, around: list[str], home: str, sentence: str
) -> None:
    places = {"other": str(tmp_path / "other"), "home": str(tmp_path)}
    make_workspace(tmp_path / "other")
    words = [word.format(**places) for word in around]
    stock("--no-nanny", around=words, GAN_LAB_HOME=home.format(**places))
    services.get_client().wait_for_workers(1)
    with pytest.raises(ServiceUnreachable, match=re.escape(sentence.format(**places))):
        lab.seed(MACHINE, rows=100)
    assert lab.tasks().empty
    (found,) = [finding for finding in examine(load_settings()) if finding.check == "worker"]
    assert sentence.format(**places) in found.says


def test_what_waits_says_which_worker_it_needs_and_what_fails_outside_of_it_says_why(
    stock: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = lab.seed(MACHINE, rows=100)
    said = "no worker is connected: start one: `dask worker tcp://"
    waiting = threading.Thread(target=run.wait, daemon=True)
    waiting.start()
    until(lambda: said in caplog.text, "nobody says which worker to start")
    other = tmp_path / "other"
    make_workspace(other)
    stock(GAN_LAB_HOME=str(other))
    with pytest.raises(TaskFailed, match=f"does not see this workspace at {other}"):
        run.result(timeout=60)
    with pytest.raises(ServiceUnreachable, match="does not see this workspace"):
        resume(run.task_id)
