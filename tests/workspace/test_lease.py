"""Leases: one writer in a run folder, whatever hosts, processes and clocks are called and say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from gan_lab.workspace.lease import Lease, lease_of

LEASE_S = 0.6
LIVING_S = 3.0  # of who is not to be deposed, also where the host is busy
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
# Takes the lease as the token it is given and says the attempt; renews it until its input ends.
HOLDER = f"""
import sys, select
from gan_lab.settings import workspace_path
from gan_lab.workspace.lease import lease_of
lease, token = lease_of(workspace_path(sys.argv[1])), sys.argv[2]
print(lease.take(token, float(sys.argv[3])), flush=True)
while not select.select([sys.stdin], [], [], {LEASE_S} / 6)[0]:
    print(lease.renew(token), flush=True)
"""


@pytest.fixture
def lease(home: Path) -> Lease:
    return lease_of(home)


@contextmanager
def holder(
    lease: Lease, token: str, *around: str, lease_s: float = LEASE_S
) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease, started by the words `around`; ended when the block ends."""
    command = [*around, sys.executable, "-c", HOLDER, str(lease.path.parent), token, str(lease_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def watch(lease: Lease, token: str, seconds: float) -> int | None:
    """Ask for the lease again and again, for so long at most."""
    until = time.monotonic() + seconds
    while (attempt := lease.take(token, LEASE_S)) is None and time.monotonic() < until:
        threading.Event().wait(LEASE_S / 20)
    return attempt


@pytest.mark.slow
def test_only_one_of_many_gets_the_lease(lease: Lease) -> None:
    got: list[str] = []

    def ask(token: str) -> None:
        if lease.take(token, 30) is not None:
            got.append(token)

    threads = [threading.Thread(target=ask, args=(f"worker {n}",)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert lease.renew(got[0])
    assert not lease.renew("another")
    lease.drop("another")
    assert lease.held
    lease.drop(got[0])
    assert not lease.held


def test_the_lease_of_a_dead_process_is_taken_at_once(lease: Lease) -> None:
    with holder(lease, "dead", lease_s=1e6) as process:
        assert says(process) == "1"
        assert lease.held and lease.take("next", 30) is None
        process.kill()
        process.wait()
        assert lease.read() is not None and not lease.held
        assert lease.take("next", 30) == 2
    assert lease.renew("next", attempt=3)
    assert lease.take("next", 30) == 3


def test_a_lease_that_is_not_renewed_runs_out(lease: Lease) -> None:
    assert lease.take("slow", 0.0) == 1
    assert lease.take("next", 30) == 2
    assert not lease.renew("slow")


@pytest.mark.slow
def test_who_is_in_another_namespace_with_the_same_number_is_not_taken_for_dead(
    lease: Lease,
) -> None:
    """Containers of one host name: the holder's number is here another process's, or nobody's."""
    space = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.getuid() != 0:
        space.append("--map-root-user")
    with holder(lease, "in a container", *space, lease_s=LIVING_S) as process:
        assert says(process) == "1"
        held = lease.read()
        assert held is not None and held["pid"] == 1
        assert lease.held
        assert watch(lease, "next", 1.5 * LIVING_S) is None
        assert says(process) == "True"
        process.kill()
        assert watch(lease, "next", 10 * LIVING_S) == 2


def test_a_number_that_nobody_has_says_nothing_of_another_host(lease: Lease) -> None:
    assert lease.take("far away", LEASE_S) == 1
    there = {"pid": 2**22 + 1, "process": "1", "space": "another kernel"}
    lease.path.write_bytes(json.dumps((lease.read() or {}) | there).encode())
    assert lease.held and lease.take("next", 30) is None
    assert watch(lease, "next", 10 * LEASE_S) == 2


@pytest.mark.slow
@pytest.mark.parametrize("ahead_s", [60, -60])
def test_clocks_that_differ_depose_nobody(lease: Lease, tmp_path: Path, ahead_s: float) -> None:
    taker = (
        "import sys, time, threading; real, wrong = time.time, float(sys.argv[2])\n"
        "time.time = lambda: real() + wrong\n"
        "from gan_lab.settings import workspace_path\n"
        "from gan_lab.workspace.lease import lease_of\n"
        "lease = lease_of(workspace_path(sys.argv[1]))\n"
        f"for _ in range(40): threading.Event().wait({LIVING_S} / 25); "
        f"print(lease.held, lease.take('ahead', {LEASE_S}))"
    )
    with holder(lease, "living", lease_s=LIVING_S) as process:
        assert says(process) == "1"
        command = [sys.executable, "-c", taker, str(lease.path.parent), str(ahead_s)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert set(said.splitlines()) == {"True None"}
        # And a file system whose clock is wrong by an hour renews as well as any other.
        if lease.path.parent == tmp_path:
            os.utime(lease.path, (0, 0))
        assert watch(lease, "next", 1.5 * LIVING_S) is None


def test_who_stood_still_has_lost_the_lease_and_whoever_watched_has_it(lease: Lease) -> None:
    with holder(lease, "stopped") as process:
        assert says(process) == "1"
        with lease.claim():  # it is not to stop with the lock in its hand
            process.send_signal(signal.SIGSTOP)
        assert watch(lease, "next", 10 * LEASE_S) == 2
        process.send_signal(signal.SIGCONT)
        assert [says(process) for _ in range(20)][-1] == "False"
        assert lease.renew("next")


def test_a_lease_is_seen_on_a_mount_without_the_right_to_write(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    assert lease.take("living", 30) == 1
    look = "import sys, pathlib; from gan_lab.workspace.lease import Lease; "
    look += "print(Lease(pathlib.Path(sys.argv[1])).held)"
    around = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
    command = [*around, "sh", "-c", READ_ONLY, lease.path.parent, sys.executable, "-c", look]
    said = subprocess.run([*command, lease.path.parent], capture_output=True, text=True, check=True)
    assert said.stdout == "True\n"


def test_who_stood_still_has_not_watched(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lease.take("living", 30) == 1
    assert lease.take("next", 30) is None
    later = time.monotonic() + 1000
    monkeypatch.setattr("gan_lab.workspace.lease.time.monotonic", lambda: later)
    assert lease.take("next", 30) is None


def test_whoever_decides_what_becomes_of_a_run_does_so_alone(lease: Lease, home: Path) -> None:
    inside = []

    def decide() -> None:
        with lease_of(home).claim():
            inside.append(1)
            threading.Event().wait(0.01)  # for others to come in, if they may
            assert len(inside) == 1
            inside.pop()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(decide) for _ in range(8)]:
            done.result()
    assert lease.take("first", 30) == 1
    with lease.claim():
        lease.forget_attempts()
    assert lease.take("first", 30) == 0 and lease.renew("first")
