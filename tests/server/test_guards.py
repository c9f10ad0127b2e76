"""Whoever runs the server decides: its authorizer is asked, and we can be switched off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gan_lab.server.routes import ROUTES
from tests.conftest import make_workspace
from tests.server.conftest import JupyterProcess

pytestmark = pytest.mark.slow  # each starts a server of its own

AUTHORIZER = """
from jupyter_server.auth.authorizer import Authorizer

class NotTheLab(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return resource != "gan_lab"
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JupyterProcess]:
    """A server that is not started yet, whose folder Python looks into."""
    make_workspace(tmp_path)
    server = JupyterProcess(tmp_path, variables={"PYTHONPATH": str(tmp_path)})
    yield server
    server.stop()


def test_what_the_authorizer_denies_is_denied_on_every_route(server: JupyterProcess) -> None:
    (server.home / "house_rules.py").write_text(AUTHORIZER)
    server.arguments.append("--ServerApp.authorizer_class=house_rules.NotTheLab")
    server.start().wait()
    with server.client() as client:
        assert client.get("/api/status").status_code == 200
        for route in ROUTES:
            url = route.path.format(machine_id="press_7", task_id="x")
            answer = client.request(route.method, url)
            assert answer.status_code == 403, (route.method, url)
            assert answer.json()["reason"] == "forbidden"
    with pytest.raises(InvalidStatus) as refused:
        headers = {"Authorization": f"token {server.token}"}
        connect(server.websocket("x"), additional_headers=headers)
    assert refused.value.response.status_code == 403


def test_the_extension_can_be_switched_off(server: JupyterProcess) -> None:
    server.extension = False
    server.start().wait()
    with server.client() as client:
        assert client.get("/api/status").status_code == 200
        assert client.get("/api/gan/tasks").status_code == 404
