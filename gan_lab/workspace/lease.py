"""Who writes in a run folder: one process at a time, which says again and again that it lives."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from gan_lab.workspace.files import write_beside

LEASE = "lease.json"


class Lease:
    """The lease of a run folder: a small file, held by a token that nobody else has.

    Its holder renews it by touching it, which takes no room on a full disk. Whoever wants it
    watches for the next touch on its own clock. What time the touch says is asked only whether it
    is another one: no two clocks are compared, and no host or process is known by its name.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / LEASE
        self._watched: tuple[str, int] | None = None  # the token and the touch that was seen last
        self._looked_at = self._silent_s = 0.0

    def read(self) -> dict[str, Any] | None:
        """Return the present lease, None where there is none to be read."""
        try:
            lease = dict(json.loads(self.path.read_text()))
            return lease if "token" in lease else None
        except (FileNotFoundError, ValueError):
            return None

    @property
    def held(self) -> bool:
        """Whether somebody seems to hold the lease, at one glance and by the file system's clock.

        For whoever shows it; `take` alone decides who writes.
        """
        lease = self.read()
        if lease is None or _known_dead(lease):
            return False
        with suppress(FileNotFoundError):  # given back meanwhile
            return self._now() - self.path.stat().st_mtime < lease["lease_s"]
        return False

    def _now(self) -> float:
        """Return the time of the file system, which is the same for all who see it."""
        try:
            os.utime(self.path.parent)
            return self.path.parent.stat().st_mtime
        except OSError:  # no right to write here, or mounted read-only
            return time.time()

    def take(self, token: str, lease_s: float) -> int | None:
        """Become the only writer and return the number of this attempt, None while another is.

        A holder that died, or that was not seen to renew for its `lease_s` while this was asked
        again and again, has had its attempt; the next one follows.
        `lease_s`: how long this lease is good without being renewed.
        """
        with self.claim():
            lease = self.read()
            if lease is None:
                attempt = 1
            elif lease["token"] == token:
                attempt = lease["attempt"]
            elif self._silent(lease) or _known_dead(lease):
                attempt = lease["attempt"] + 1
            else:
                return None
            me = {"pid": os.getpid(), "process": _process(os.getpid()), "space": _process_space()}
            self._write({"token": token, "attempt": attempt, "lease_s": lease_s, **me})
            return int(attempt)

    def _silent(self, lease: dict[str, Any]) -> bool:
        """Whether the holder has not renewed while it was watched for the time it had."""
        now, seen = time.monotonic(), (lease["token"], self.path.stat().st_mtime_ns)
        # Who stood still between two looks has not watched meanwhile.
        watched_s = min(now - self._looked_at, lease["lease_s"] / 3)
        self._silent_s = self._silent_s + watched_s if seen == self._watched else 0.0
        self._watched, self._looked_at = seen, now
        return bool(self._silent_s >= lease["lease_s"])

    def _write(self, lease: dict[str, Any]) -> None:
        write_beside(self.path, json.dumps(lease), durable=False)  # dead with its host

    def renew(self, token: str, attempt: int | None = None) -> bool:
        """Say that the holder is still at work, and at which attempt where that is another one.

        False if somebody else has taken over.
        """
        with self.claim():
            lease = self.read()
            if lease is None or lease["token"] != token:
                return False
            if attempt is None:
                os.utime(self.path)
            else:
                self._write({**lease, "attempt": attempt})
            return True

    def drop(self, token: str) -> None:
        """Give the lease back."""
        with self.claim():
            lease = self.read()
            if lease is not None and lease["token"] == token:
                self.path.unlink(missing_ok=True)

    def forget_attempts(self) -> None:
        """Make the next attempt the first; under `claim`. Whoever holds the lease keeps it."""
        if lease := self.read():
            self._write({**lease, "attempt": 0})

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the lock under which it is decided who writes here; for moments only."""
        with FileLock(self.path.with_name(".lease.lock")):
            yield


# ---- a holder that is dead for sure: no need to wait until its lease has run out


def _known_dead(lease: dict[str, Any]) -> bool:
    """Whether the holder was a process that could be seen from here, and is no more."""
    if lease["space"] != _process_space():
        return False
    try:
        os.kill(lease["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's, of whose processes not all may be seen
        return False
    return _process(lease["pid"]) != lease["process"]


@lru_cache
def _process_space() -> str:
    """Name what numbers of processes mean here: this PID namespace, since this start of the kernel.

    Hosts and containers may share a name, and each counts its processes from 1.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        me = Path("/proc/self")
        if me.readlink().name == str(os.getpid()):  # else /proc is of another namespace
            return f"{boot}:{(me / 'ns' / 'pid').stat().st_ino}"
    return uuid.uuid4().hex


def _process(pid: int) -> str | None:
    """Return when a process started, in ticks of the kernel, which tells it from a later one of
    its number; None where it has ended, also as a zombie that nobody reaps."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]
