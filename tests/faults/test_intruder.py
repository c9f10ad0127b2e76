"""A second user of the host, who looks for a way in."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gan_lab.cluster import services, submit
from gan_lab.workspace.service_record import read_services
from tests.faults.conftest import SMALL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]
OPEN = ("notebooks/", "data/machines/")  # what everybody may read, as the owner laid it out

# With nothing but the standard library: the intruder has no package of ours.
INTRUDER = """
import encodings.idna, json, os, socket, ssl, sys
home, redis, scheduler, pids, run, secret = json.load(sys.stdin)
os.setgroups([])  # not before Python has started: it may be root's own
os.setgid(65534)
os.setuid(65534)

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None

def speak(line, where, tls):
    try:
        if isinstance(where, str):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(where)
        else:
            peer = socket.create_connection(where, timeout=10)
        if tls:
            peer = ssl._create_unverified_context().wrap_socket(peer)
        peer.sendall(line)
        return peer.recv(1000).decode(errors="replace")
    except OSError:
        return ""

def may(action, *arguments):
    try:
        action(*arguments)
        return True
    except PermissionError:
        return False

paths = [os.path.join(folder, name) for folder, _, names in os.walk(home) for name in names]
processes = [f"/proc/{pid}/{name}" for pid in os.listdir("/proc") if pid.isdigit()
             for name in ("cmdline", "environ")]
print(json.dumps({
    "files": [os.path.relpath(path, home) for path in paths if read(path) is not None],
    "redis": speak(b"INFO\\r\\n", redis, tls=False),
    "scheduler": speak(b"hello", scheduler, tls=True),
    "killed": [pid for pid in pids if may(os.kill, pid, 15)],
    "cancelled": may(open, os.path.join(run, "cancel"), "w"),
    "secrets": [path for path in processes if secret.encode() in (read(path) or b"")],
}))
"""


@pytest.fixture
def way_in(lab_home: Path) -> Iterator[Path]:
    """The workspace under folders that everybody may pass: pytest's own are root's alone."""
    closed = [p for p in (lab_home, *lab_home.parents) if not p.stat().st_mode & stat.S_IXOTH]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in closed}
    for path, mode in modes.items():
        path.chmod(mode | 0o055)
    yield lab_home
    for path, mode in modes.items():
        path.chmod(mode)


def look(home: Path, run: Path) -> dict[str, Any]:
    """Return what somebody who is nobody here could do."""
    record = read_services(home)
    assert record is not None
    redis = urlsplit(record.redis_url)
    assert redis.password
    redis_at = [redis.hostname, redis.port] if redis.hostname else redis.path
    dask = urlsplit(record.scheduler_address)
    workers = services.get_client().run(os.getpid).values()
    pids = [record.pid, record.redis_pid, *workers]
    given = [str(home), redis_at, [dask.hostname, dask.port], pids, str(run), redis.password]
    done = subprocess.run(
        [sys.executable, "-I", "-c", INTRUDER], input=json.dumps(given),
        env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def test_a_second_user_of_the_host_gets_nothing(way_in: Path, seeded: str) -> None:
    run = submit.train(seeded, **SMALL, epochs=5, model="tabular")
    run.result(timeout=280)
    submit.generate(seeded, report=False, rows=50).result(timeout=280)
    found = look(way_in, run.path)
    private = [name for name in found.pop("files") if not name.startswith(OPEN)]
    assert all(name.startswith("runs/.workspace") for name in private), private
    assert found.pop("redis") in ("", "-NOAUTH Authentication required.\r\n")
    assert found == {"scheduler": "", "killed": [], "cancelled": False, "secrets": []}
