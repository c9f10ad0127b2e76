"""Being told that something long has ended: by a message that arrives, or by a warning."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from gan_lab.notify import notify
from gan_lab.settings import load_settings


class Listener(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.heard.append(json.loads(self.rfile.read(length)))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_message_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        server.heard = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GAN_LAB_NOTIFY", f"json://127.0.0.1:{server.server_port}/")
        assert notify("Fleet done", "2 of 3 done, 1 failed", load_settings())
        server.shutdown()
        (message,) = server.heard  # type: ignore[attr-defined]
    assert (message["title"], message["message"]) == ("Fleet done", "2 of 3 done, 1 failed")


def test_a_failing_notifier_is_a_warning_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GAN_LAB_NOTIFY", "json://user:geheim@127.0.0.1:1/ nonsense://geheim")
    with caplog.at_level(logging.WARNING):
        assert not notify("Fleet done", "", load_settings())
    assert "did not reach" in caplog.text
