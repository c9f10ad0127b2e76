"""What the README shows of REST and WebSocket: its curl lines and its client, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import Actor, JupyterProcess

README = (Path(__file__).parent.parent.parent / "README.md").read_text()


def block(language: str) -> str:
    section = re.search(
        r"^## REST and WebSocket\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE
    )
    assert section is not None, "README.md has no section '## REST and WebSocket'"
    found = re.search(rf"```{language}\n(.*?)```", section[1], re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def environment(jupyter: JupyterProcess) -> dict[str, str]:
    return {**os.environ, "JUPYTER": jupyter.url, "TOKEN": jupyter.token}


def test_the_curl_lines_work(environment: dict[str, str], api: httpx.Client) -> None:
    told = subprocess.run(
        ["bash", "-euc", block("bash")], env=environment, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
    assert '"task_id"' in told.stdout
    assert api.get("/api/gan/tasks?limit=1").json()[0]["metadata"]["kind"] == "seed"


def test_the_client_follows_a_task_to_its_end(environment: dict[str, str], actor: Actor) -> None:
    actor.tell("say", "3")
    actor.tell("end")
    told = subprocess.run(
        [sys.executable, "-c", block("python"), actor.run.task_id],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    words = [line.split()[0] for line in told.stdout.splitlines()]
    assert words == ["connected", *["progress"] * 4, "closing"]
    assert told.stdout.splitlines()[-1].endswith("Task success")
