"""One task at work: what its body is given, and how its end is recorded."""

from __future__ import annotations

import errno
import os
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from gan_lab.cluster.provenance import package_versions
from gan_lab.errors import GanLabError, RequestError, TaskCancelled, TaskFailed
from gan_lab.schema import CONFIGS, Config, Stage, TaskSpec, validated
from gan_lab.settings import Settings
from gan_lab.store import StorePath
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder

if TYPE_CHECKING:
    from distributed import Worker

Outcome = dict[str, str]
NOT_STARTED = "Not started:"


class LeaseLost(Exception):
    """Somebody else has taken over: nothing may be written any more."""


class WorkerLeaves(Exception):
    """The worker was told to end: another is to go on with the task."""


class WaitedInVain(TaskFailed):
    """The task this one waited for did not succeed."""


class WorkerLost(TaskFailed):
    """The workers that ran the task died, time and again, before it had come any further."""


class OutOfMemory(TaskFailed):
    """The task needs more memory than its worker may use."""


def clock_s() -> float:
    """Return seconds that go on while the host sleeps, as a lease does; `monotonic` would stop."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Work:
    """What a task's body is given: its request, and the ways to say something and to be stopped."""

    def __init__(self, run: RunFolder, settings: Settings, token: str, attempt: int) -> None:
        self.run = run
        self.settings = settings
        self.token = token
        self.attempt = attempt
        self.announcer = Announcer(run, settings, attempt, worker_address())
        self.renewed_at = clock_s()
        self.peak_b = 0
        self.lost = threading.Event()
        self.leaving = threading.Event()
        self.stop = threading.Event()  # lost, leaving, or cancelled
        self.flagged = threading.Event()  # cancelled, as seen beside the work

    @property
    def spec(self) -> TaskSpec:
        """What was asked for."""
        return self.run.spec

    @property
    def config(self) -> Config:
        """The request's configuration; raises `BadParameter` where it names what is no more."""
        return validated(CONFIGS[self.spec.kind], self.spec.config, self.spec.kind)

    def say(self, stage: Stage, current: int, total: int, message: str, **fields: Any) -> None:
        """Record and publish one event."""
        with self.announcer.lock:  # which may be waited for: held is asked behind it
            self.hold()
            self.announcer.say(stage, current, total, message, **fields)

    def check(self, done: bool = False) -> None:
        """Raise `TaskCancelled`, `WorkerLeaves` or `LeaseLost` if the work is to stop; called where
        it may. `done`: nothing is left to hand on."""
        self.hold()
        if self.cancelling:
            raise TaskCancelled("Cancelled")
        if self.leaving.is_set() and not done:
            raise WorkerLeaves

    @property
    def cancelling(self) -> bool:
        """Whether somebody asked to stop; a store is asked beside the work, now and then."""
        in_store = isinstance(self.run.path, StorePath)
        return self.flagged.is_set() if in_store else self.run.cancelling

    def record_environment(self, **facts: Any) -> None:
        """Record what the result depends on: the seed table, versions, and these facts."""
        from gan_lab.workspace.tables import seed_path, table_sha256

        path = seed_path(self.spec.machine_id)
        learned = path.exists() and self.spec.kind != "seed"
        sha256 = table_sha256(path) if learned else None
        self.run.record_environment(seed_sha256=sha256, versions=package_versions(), **facts)

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
        """Whether the lease is held still; asked anew some time before it may run out."""
        if clock_s() - self.renewed_at > self.settings.lease_s * 2 / 3:
            self.renew()
        return not self.lost.is_set()

    def leave(self) -> None:
        """Stop because the worker ends; whatever becomes of it now, this was no failed attempt."""
        self.leaving.set()
        self.stop.set()
        self.renew(self.attempt - 1)

    def progressed(self) -> None:
        """Count attempts anew: a task that comes further does not die of itself."""
        if self.attempt > 1:
            self.attempt = 1
            self.renew(1)

    def renew(self, attempt: int | None = None) -> None:
        """Say that this is still at work, at another attempt; if somebody else has taken over,
        stop it."""
        now = clock_s()
        if self.run.lease.renew(self.token, attempt):
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


def this_worker() -> Worker | None:
    """Return the worker that executes this; None outside a worker."""
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def leaves(worker: Worker | None) -> bool:
    """Whether a worker is about to end: it was retired, scaled down, or sent a SIGTERM."""
    from distributed.core import Status

    ending = (Status.closing_gracefully, Status.closing, Status.closed)
    return worker is not None and worker.status in ending


def worker_address() -> str | None:
    """Return this worker's address, as the dashboard shows it; None outside a worker."""
    worker = this_worker()
    return str(worker.address) if worker else None
