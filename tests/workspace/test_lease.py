"""Leases: one holder at a time, taken over from the dead and the silent."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gan_lab.workspace.lease import Lease


@pytest.fixture
def lease(tmp_path: Path) -> Lease:
    return Lease(tmp_path)


def test_only_one_of_many_gets_the_lease(lease: Lease) -> None:
    got: list[str] = []

    def try_for_it(owner: str) -> None:
        if lease.take(owner, 30) is not None:
            got.append(owner)

    threads = [threading.Thread(target=try_for_it, args=(f"w{i}",)) for i in range(20)]
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
    program = (
        "import sys, pathlib; from gan_lab.workspace.lease import Lease;"
        "print(Lease(pathlib.Path(sys.argv[1])).take('dead', 1e6))"
    )
    asked = [sys.executable, "-c", program, str(lease.path.parent)]
    assert subprocess.run(asked, capture_output=True, text=True).stdout.strip() == "1"
    assert lease.read() is not None and not lease.held
    assert lease.take("next", 30) == 2
    lease.record_attempt("next", 3, 30)
    assert lease.take("next", 30) == 3


def test_a_lease_that_is_not_renewed_runs_out(lease: Lease) -> None:
    assert lease.take("slow", 0.0) == 1
    assert lease.take("next", 30) == 2
    assert not lease.renew("slow")
