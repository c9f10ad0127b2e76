"""What the site shows of REST and WebSocket: its curl lines and its client, run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import httpx
import pytest

from tests.conftest import ROOT
from tests.server.conftest import Actor, JupyterProcess

PAGE = ROOT / "docs" / "howto" / "http.md"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def environment(jupyter: JupyterProcess) -> dict[str, str]:
    return {**os.environ, "JUPYTER": jupyter.url, "TOKEN": jupyter.token}


def test_the_curl_lines_work(
    environment: dict[str, str], api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", environment)
    for line in block("bash").splitlines():  # a machine may have no curl
        curl, options, header, header_line, *data, url = shlex.split(os.path.expandvars(line))
        assert (curl, options, header) == ("curl", "-sf", "-H")
        name, _, value = header_line.partition(": ")
        method = "POST" if data else "GET"
        body = data[1] if data else None
        answer = httpx.request(method, url, headers={name: value}, content=body, timeout=60)
        assert answer.is_success, answer.text
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
