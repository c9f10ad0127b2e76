"""Who writes in a run folder: one process at a time, which says again and again that it lives."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from gan_lab.store import Conflict, StorePath
from gan_lab.workspace.files import write_beside

LEASE = "lease.json"
CLAIM, CLAIM_S = ".claim", 30.0  # of a store: how long who holds it may be silent


Seen = int | str | None  # another one after each renewal: the time of a touch, a store's tag
Record = dict[str, Any]


class Lease:
    """The lease of a run folder: a small file, held by a token that nobody else has.

    Its holder renews it by touching it, which takes no room on a full disk. Whoever wants it
    watches for the next touch on its own clock. What time the touch says is asked only whether it
    is another one: no two clocks are compared, and no host or process is known by its name.
    """

    def __init__(self, run: Path, name: str = LEASE) -> None:
        self.path = run / name
        self._watched: tuple[str, Seen] | None = None  # the token and the touch that was seen last
        self._looked_at = self._silent_s = 0.0

    def read(self) -> Record | None:
        """Return the present lease, None where there is none to be read."""
        return self._load()[0]

    @property
    def held(self) -> bool:
        """Whether somebody seems to hold the lease, at one glance and by the file system's clock.

        For whoever shows it; `take` alone decides who writes.
        """
        lease = self.read()
        if lease is None or _known_dead(lease):
            return False
        with suppress(FileNotFoundError):  # given back meanwhile
            return self._age_s() < float(lease["lease_s"])
        return False

    def take(self, token: str, lease_s: float) -> int | None:
        """Become the only writer and return the number of this attempt, None while another is.

        A holder that died, or that was not seen to renew for its `lease_s` while this was asked
        again and again, has had its attempt; the next one follows.
        `lease_s`: how long this lease is good without being renewed.
        """
        with self._alone():
            lease, seen = self._load()
            if lease is None:
                attempt = 1
            elif lease["token"] == token:
                attempt = lease["attempt"]
            elif self._silent(lease, seen) or _known_dead(lease):
                attempt = lease["attempt"] + 1
            else:
                return None
            me = {"pid": os.getpid(), "process": _process(os.getpid()), "space": _process_space()}
            taken = {"token": token, "attempt": attempt, "lease_s": lease_s, **me}
            return int(attempt) if self._save(taken, seen) else None

    def _silent(self, lease: Record, touch: Seen) -> bool:
        """Whether the holder has not renewed while it was watched for the time it had."""
        now, seen = time.monotonic(), (lease["token"], touch)
        # Who stood still between two looks has not watched meanwhile.
        watched_s = min(now - self._looked_at, lease["lease_s"] / 3)
        self._silent_s = self._silent_s + watched_s if seen == self._watched else 0.0
        self._watched, self._looked_at = seen, now
        return bool(self._silent_s >= lease["lease_s"])

    def renew(self, token: str, attempt: int | None = None) -> bool:
        """Say that the holder is still at work, and at which attempt where that is another one.

        False if somebody else has taken over.
        """
        if attempt is None:
            return self._change(token, self._touch)
        return self._change(
            token, lambda lease, seen: self._save(lease | {"attempt": attempt}, seen)
        )

    def drop(self, token: str) -> None:
        """Give the lease back."""
        self._change(token, self._remove)

    def forget_attempts(self) -> None:
        """Make the next attempt the first; under `claim`. Whoever holds the lease keeps it."""
        lease, seen = self._load()
        while lease and not self._save(lease | {"attempt": 0}, seen):
            lease, seen = self._load()

    def _change(self, token: str, how: Callable[[Record, Seen], bool]) -> bool:
        """Change the lease if this token holds it; returns whether it does."""
        with self._alone():
            lease, seen = self._load()
            while lease is not None and lease["token"] == token:
                if how(lease, seen):
                    return True
                lease, seen = self._load()
            return False

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the lock under which it is decided who writes here; for moments only."""
        with FileLock(self.path.with_name(".lease.lock")):
            yield

    # ---- what differs in a store: there nothing is locked, but what another has changed since it
    # was `seen` is not written, and the answer is False

    def _alone(self) -> AbstractContextManager[None]:
        return self.claim()

    def _load(self) -> tuple[Record | None, Seen]:
        try:
            lease = dict(json.loads(self.path.read_text()))
            return (lease, self.path.stat().st_mtime_ns) if "token" in lease else (None, None)
        except (FileNotFoundError, ValueError):
            return None, None

    def _save(self, lease: Record, _seen: Seen) -> bool:
        write_beside(self.path, json.dumps(lease), durable=False)  # dead with its host
        return True

    def _touch(self, _lease: Record, _seen: Seen) -> bool:
        os.utime(self.path)
        return True

    def _remove(self, _lease: Record, _seen: Seen) -> bool:
        self.path.unlink(missing_ok=True)
        return True

    def _age_s(self) -> float:
        """Return for how long it was not touched, by the file system's clock, which is the same
        for all who see it."""
        try:
            os.utime(self.path.parent)
            now = self.path.parent.stat().st_mtime
        except OSError:  # no right to write here, or mounted read-only
            now = time.time()
        return now - self.path.stat().st_mtime


class StoreLease(Lease):
    """The same in an object store: each write is refused where another came before it."""

    path: StorePath  # type: ignore[assignment]

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the lock under which it is decided what becomes of a run; for moments only."""
        lock, token = StoreLease(cast(Path, self.path.parent), CLAIM), uuid.uuid4().hex
        while lock.take(token, CLAIM_S) is None:
            time.sleep(CLAIM_S / 300)
        try:
            yield
        finally:
            if (lock.read() or {}).get("token") == token:
                lock.path.unlink()

    def _alone(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _load(self) -> tuple[Record | None, Seen]:
        if (found := self.path.get()) is None:
            return None, None
        with suppress(ValueError, TypeError):
            lease = dict(json.loads(found.data))
            return lease if "token" in lease else None, found.tag
        return None, found.tag

    def _save(self, lease: Record, seen: Seen) -> bool:
        data = json.dumps(lease).encode()
        try:
            self.path.put(data, cast("str | None", seen))
        except Conflict:  # perhaps with a first try of our own, whose answer was lost
            found = self.path.get()
            return found is not None and found.data == data
        return True

    def _touch(self, lease: Record, seen: Seen) -> bool:
        return self._save(lease | {"renewed": lease.get("renewed", 0) + 1}, seen)

    def _remove(self, _lease: Record, seen: Seen) -> bool:
        return self._save({}, seen)  # what is removed cannot be guarded

    def _age_s(self) -> float:
        return self.path.age_s()


def lease_of(run: Path) -> Lease:
    """Return the lease of a run folder, on a disk or in a store."""
    return StoreLease(run) if isinstance(run, StorePath) else Lease(run)


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
