"""One task at work: what its body is given, and how its end is recorded."""

from __future__ import annotations

import errno
import os
import threading
import time
import traceback
from typing import Any

from gan_lab.errors import GanLabError, RequestError, TaskCancelled, TaskFailed
from gan_lab.schema import CONFIGS, Config, Stage, TaskSpec
from gan_lab.settings import Settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder

Outcome = dict[str, str]


class LeaseLost(Exception):
    """Somebody else has taken over: nothing may be written any more."""


class WaitedInVain(TaskFailed):
    """The task this one waited for did not succeed."""


class WorkerLost(TaskFailed):
    """The workers that ran the task died, time and again."""


class OutOfMemory(TaskFailed):
    """The task needs more memory than its worker may use."""


def clock_s() -> float:
    """Return seconds that go on while the host sleeps, as a lease does; `monotonic` would stop."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Work:
    """What a task's body is given: its request, and the ways to say something and to be stopped."""

    def __init__(self, run: RunFolder, settings: Settings, owner: str, attempt: int) -> None:
        self.run = run
        self.settings = settings
        self.owner = owner
        self.attempt = attempt
        self.announcer = Announcer(run, settings, attempt, worker_address())
        self.renewed_at = clock_s()
        self.peak_b = 0
        self.lost = threading.Event()
        self.stop = threading.Event()  # lost, or cancelled

    @property
    def spec(self) -> TaskSpec:
        """What was asked for."""
        return self.run.spec

    @property
    def config(self) -> Config:
        """The request's configuration, checked."""
        return CONFIGS[self.spec.kind].model_validate(self.spec.config)

    def say(self, stage: Stage, current: int, total: int, message: str, **fields: Any) -> None:
        """Record and publish one event."""
        self.hold()
        self.announcer.say(stage, current, total, message, **fields)

    def check(self) -> None:
        """Raise `TaskCancelled` or `LeaseLost` if the work is to stop; called where it may."""
        self.hold()
        if self.run.cancelling:
            raise TaskCancelled("Cancelled")

    def look_at_memory(self) -> int:
        """Return the resident memory of this process (bytes), and remember the most of it."""
        import psutil

        used = int(psutil.Process().memory_info().rss)
        self.peak_b = max(self.peak_b, used)
        return used

    def hold(self) -> None:
        """Raise `LeaseLost` if somebody else has taken over; called before anything is written."""
        if not self.ours():
            raise LeaseLost(self.run.task_id)

    def ours(self) -> bool:
        """Whether the lease is held still."""
        if clock_s() - self.renewed_at > self.settings.lease_s:
            self.renew()
        return not self.lost.is_set()

    def renew(self) -> None:
        """Say that this is still at work; if somebody else has taken over, stop it."""
        now = clock_s()
        if self.run.lease.renew(self.owner):
            self.renewed_at = now
        else:
            self.lost.set()
            self.stop.set()


# ---- how it ended


def reached(run: RunFolder) -> dict[str, Any]:
    """Return how far a task has come by its last event, as fields of the next one."""
    last = run.last_event()
    if last is None:
        return {"current": 0, "total": 1}
    return last.model_dump(include={"current", "total", "epoch", "loss"})


def outcome(run: RunFolder) -> Outcome:
    """Return what the next link of a chain gets: how this one ended."""
    status = run.status()
    message = status.error or status.message
    facts = {"task_id": run.task_id, "kind": run.spec.kind, "state": status.state}
    return {**facts, "message": message}


def sentence(error: BaseException) -> str:
    """Say what went wrong in one sentence; of a file, which and why."""
    if isinstance(error, GanLabError):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        path = f" {error.filename}" if error.filename else ""
        return f"Cannot use{path}: {os.strerror(error.errno)} ({errno.errorcode[error.errno]})."
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def record_failure(work: Work, error: Exception) -> None:
    """Record that a task failed and say it; with a traceback where nobody foresaw it."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError) or "allocate memory" in str(error):  # NumPy's, PyTorch's
        error = OutOfMemory(f"Out of memory: {sentence(error)}")
    known = error if isinstance(error, GanLabError) else TaskFailed(sentence(error))
    foreseen = isinstance(error, RequestError | WaitedInVain | WorkerLost)
    work.run.fail(known, "" if foreseen else text)
    work.say("failed", message=sentence(error)[:1000], **reached(work.run))


def record_cancelled(run: RunFolder, announcer: Announcer, why: str = "Cancelled") -> None:
    """Record that a task was stopped and say it; what it had half written is removed."""
    run.cancelled()
    announcer.say("cancelled", message=why, **reached(run))


def worker_address() -> str | None:
    """Return this worker's address, as the dashboard shows it; None outside a worker."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return None
