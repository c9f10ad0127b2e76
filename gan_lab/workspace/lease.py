"""Who writes in a run folder: one process at a time, which says again and again that it lives."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from gan_lab.workspace.files import write_beside

LEASE = "lease.json"


class Lease:
    """The lease of a run folder: a small file of its own, as old as its holder's last sign."""

    def __init__(self, run: Path) -> None:
        self.path = run / LEASE

    def read(self) -> dict[str, Any] | None:
        """Return the present lease with its `age_s`, None where there is none to be read."""
        try:
            lease = json.loads(self.path.read_text())
            return {**lease, "age_s": max(0.0, time.time() - self.path.stat().st_mtime)}
        except (FileNotFoundError, ValueError):
            return None

    @property
    def held(self) -> bool:
        """Whether somebody who lives holds the lease: renewed of late, by no process known dead."""
        lease = self.read()
        return lease is not None and lease["age_s"] < lease["lease_s"] and not _known_dead(lease)

    def take(self, owner: str, lease_s: float) -> int | None:
        """Become the only writer and return the number of this attempt, None while another is.

        A holder that died or has not renewed in time has had its attempt; the next one follows.
        `lease_s`: how long this lease is good without being renewed.
        """
        with self.claim():
            lease = self.read()
            if lease is not None and lease["owner"] != owner and self.held:
                return None
            attempt = 1 if lease is None else int(lease["attempt"]) + (lease["owner"] != owner)
            self._write(owner, attempt, lease_s)
            return attempt

    def record_attempt(self, owner: str, attempt: int, lease_s: float) -> None:
        """Write the number of another attempt into the lease that one holds."""
        with self.claim():
            self._write(owner, attempt, lease_s)

    def _write(self, owner: str, attempt: int, lease_s: float) -> None:
        import psutil

        lease = {"owner": owner, "attempt": attempt, "lease_s": lease_s}
        # When it started tells a process from a later one of its number.
        started = psutil.Process().create_time()
        me = {"host": socket.gethostname(), "pid": os.getpid(), "process_started": started}
        write_beside(self.path, json.dumps({**lease, **me}), durable=False)  # dead with its host

    def renew(self, owner: str) -> bool:
        """Say that the owner is still at work; False if somebody else has taken over."""
        with self.claim():
            held = self.read()
            if held is None or held["owner"] != owner:
                return False
            os.utime(self.path)
            return True

    def drop(self, owner: str) -> None:
        """Give the lease back."""
        with self.claim():
            held = self.read()
            if held is not None and held["owner"] == owner:
                (self.path).unlink(missing_ok=True)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the lock under which it is decided who writes here; for moments only."""
        with FileLock(self.path.with_name(".lease.lock")):
            yield


def _known_dead(lease: dict[str, Any]) -> bool:
    """Whether the holder was a process of this host that is no more."""
    import psutil

    if lease["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(lease["pid"])
        # One whose parent died with it stays behind as a zombie where nobody reaps it.
        ended = process.status() == psutil.STATUS_ZOMBIE
        return ended or abs(process.create_time() - lease["process_started"]) > 1
    except psutil.NoSuchProcess:
        return True
