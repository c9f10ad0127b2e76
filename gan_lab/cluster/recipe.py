"""The one recipe by which every task is executed on a worker, whatever it does.

Look whether it is done, take the lease, work, record the outcome, say the last word. A task never
raises to Dask: its outcome goes to the next link of its chain, and the run folder is the record.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from gan_lab.errors import GanLabError, RequestError, TaskCancelled, TaskFailed
from gan_lab.notify import tell_task_ended
from gan_lab.schema import CONFIGS, Config, Stage, State, TaskSpec
from gan_lab.settings import Settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import open_run

log = logging.getLogger(__name__)

Outcome = dict[str, str]
Body = Callable[["Work"], dict[str, Any]]

LOOK_S = 0.1  # how often a task's keeper looks at memory
FLAG_S = 1.0  # and at the cancel flag
NOT_STARTED = "Not started:"
DIED = "its worker died"
LONGER = 4  # each pause before another attempt is so many times the last one
LONGEST_PAUSE_S = 60.0
MEMORY_SHARE = 0.9  # of a worker's limit; Dask holds new tasks back at 0.8 of it
ENDED_BY_US = 75  # exit status of a worker that ends itself
LAST_STAGE: dict[State, Stage] = {
    State.SUCCESS: "completed",
    State.FAILURE: "failed",
    State.REVOKED: "cancelled",
}

TRANSIENT = {
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EMFILE, errno.ENFILE,
    errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ETIMEDOUT,
}  # fmt: skip


class LeaseLost(Exception):
    """Somebody else has taken over: nothing may be written any more."""


class WaitedInVain(TaskFailed):
    """The task this one waited for did not succeed."""

    reason = "waited_in_vain"


class WorkerLost(TaskFailed):
    """The workers that ran the task died, time and again."""

    reason = "worker_lost"


class OutOfMemory(TaskFailed):
    """The task needs more memory than its worker may use."""

    reason = "out_of_memory"


def _awake_or_not() -> float:
    """Return seconds that go on while the host sleeps, as a lease does; `monotonic` would stop."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Work:
    """What a task's body is given: its request, and the ways to say something and to be stopped."""

    def __init__(self, run: RunFolder, settings: Settings, owner: str, attempt: int) -> None:
        self.run = run
        self.settings = settings
        self.owner = owner
        self.attempt = attempt
        self.announcer = Announcer(run, settings, attempt, _worker_address())
        self.renewed_at = _awake_or_not()
        self.peak_b = 0
        self.cancelled = threading.Event()
        self.lost = threading.Event()
        self.stop = threading.Event()  # either of the two

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
        if self.cancelled.is_set() or self.run.cancelling:
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
        """Whether the lease is held still.

        Whoever stood still for longer than a lease is good may have been given up by the others.
        """
        if _awake_or_not() - self.renewed_at > self.settings.lease_s:
            self.renew()
        return not self.lost.is_set()

    def renew(self) -> None:
        """Say that this is still at work; if somebody else has taken over, stop it."""
        now = _awake_or_not()
        if self.run.lease.renew(self.owner):
            self.renewed_at = now
        else:
            self.lost.set()
            self.stop.set()


def perform(task_id: str, settings: Settings, waits_for: Sequence[Outcome], body: Body) -> Outcome:
    """Execute one task in this worker and return its outcome; never raises."""
    os.environ["GAN_LAB_HOME"] = str(settings.home)
    try:
        run = open_run(task_id, settings.home)
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        attempt = _take_over(run, settings, owner)
        if attempt is not None:
            start = time.monotonic()
            _hold_and_work(Work(run, settings, owner, attempt), waits_for, body)
            tell_task_ended(run.status(), time.monotonic() - start, settings)
        else:
            _say_the_end(run, settings, owner)
        return outcome(run)
    except Exception as error:
        log.exception("Task %s could not even be recorded", task_id)
        return {"task_id": task_id, "kind": "task", "state": State.UNKNOWN, "message": str(error)}
    finally:
        # What is free, but kept, would count against the next task.
        with suppress(AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)


def _reached(run: RunFolder) -> tuple[int, int]:
    """Return how far a task has come, and of how much, by its last event."""
    last = run.last_event()
    return (last.current, last.total) if last else (0, 1)


def outcome(run: RunFolder) -> Outcome:
    """Return what the next link of a chain is told."""
    status = run.status()
    message = status.error or status.message
    facts = {"task_id": run.task_id, "kind": run.spec.kind, "state": status.state}
    return {**facts, "message": message}


def _take_over(run: RunFolder, settings: Settings, owner: str) -> int | None:
    """Take the lease, waiting for a holder that may be dead; None if the task is done meanwhile.

    On a disk that is full nothing of the task could be recorded, not even that it failed: then it
    waits for room, and the queue behind it too.
    """
    patience, full_s = threading.Event(), settings.retry_pause_s
    while not run.final:
        try:
            attempt = run.lease.take(owner, settings.lease_s)
            if attempt is not None and not run.final:
                return attempt
            run.lease.drop(owner)
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
            log.warning("Task %s waits: %s", run.task_id, sentence(error))
            patience.wait(full_s)
            full_s = min(LONGER * full_s, LONGEST_PAUSE_S)
        else:
            patience.wait(min(1.0, settings.lease_s / 10))
    return None


def _say_the_end(run: RunFolder, settings: Settings, owner: str) -> None:
    """Say the end that a worker had recorded, if it was killed before it could say so itself."""
    last = run.last_event()
    if (last and last.final) or run.lease.take(owner, settings.lease_s) is None:
        return
    try:
        run.mend_logs()
        status = run.status()
        announcer = Announcer(run, settings, last.attempt if last else 1, _worker_address())
        stage = LAST_STAGE[status.state]
        current, total = _reached(run)
        announcer.say(stage, total if stage == "completed" else current, total, status.message)
        announcer.close()
    finally:
        run.lease.drop(owner)


def _hold_and_work(work: Work, waits_for: Sequence[Outcome], body: Body) -> None:
    """Work under the lease, which a thread renews, and record how it ended."""
    keeper = Keeper(work)
    log_of_run = RunLog(work)
    try:
        work.run.mend_logs()  # before anybody writes a line behind a torn one
        keeper.start()
        logging.getLogger().addHandler(log_of_run)
        _work(work, waits_for, body)
    except TaskCancelled as why:
        with work.announcer.lock:
            record_cancelled(work.run, work.announcer, str(why))
    except Exception as error:
        if not work.ours():
            log.warning("Task %s was taken over by somebody else.", work.run.task_id)
        elif work.run.final:
            log.warning("The end of task %s could not be said: %s", work.run.task_id, error)
        else:
            with work.announcer.lock:
                _record_failure(work, error)
    finally:
        logging.getLogger().removeHandler(log_of_run)
        keeper.finish()
        work.announcer.close()
        if not work.lost.is_set():
            work.run.release_reserve()
            work.run.lease.drop(work.owner)


def _work(work: Work, waits_for: Sequence[Outcome], body: Body) -> None:
    _check_chain(waits_for)
    _check_attempts(work)
    result = _try(work, body)
    work.check()
    work.look_at_memory()
    work.run.release_reserve()  # a disk that is full by now still takes the result
    work.run.record_environment(peak_memory_mb=round(work.peak_b / 1e6))
    with work.announcer.lock:  # nobody says another last word between the two
        work.hold()
        work.run.finish(result)
        last = work.run.last_event()
        total = last.total if last else 1
        facts = {"epoch": last.epoch, "loss": last.loss} if last else {}
        work.say("completed", total, total, "Done", **facts)


def _check_chain(waits_for: Sequence[Outcome]) -> None:
    """Raise where the link before did not succeed: its cancellation or its failure is ours too.

    Where that one was not started either, its sentence names the link that failed: once is enough.
    """
    for before in waits_for:
        label = f"{before['kind']} ({before['task_id']})"
        if before["state"] == State.REVOKED:
            raise TaskCancelled(f"{NOT_STARTED} it waited for {label}, which was cancelled.")
        if before["state"] != State.SUCCESS:
            if before["message"].startswith(NOT_STARTED):
                raise WaitedInVain(before["message"])
            message = f"{NOT_STARTED} it waited for {label}, which failed: {before['message']}"
            raise WaitedInVain(message)


def _check_attempts(work: Work) -> None:
    """Raise where there have been enough of them."""
    if work.attempt > work.settings.retries + 1:
        work.announcer.attempt = work.attempt - 1  # there is none for this one
        raise WorkerLost(
            f"The worker that ran it died {work.attempt - 1} times. Memory is the usual "
            f"reason. `gan-lab resume {work.run.task_id}` goes on from the last checkpoint."
        )


def _begin_again(work: Work, why: str) -> None:
    """Pause, longer each time, and record and say that this is another attempt.

    Of a death first, so that it is known if this worker dies in the pause; of what a full disk has
    stopped afterwards, when there may be room to record it.
    """
    if why == DIED:
        _say_attempt(work, why)
    pause_s = work.settings.retry_pause_s * LONGER ** (work.attempt - 2)
    work.stop.wait(min(pause_s, LONGEST_PAUSE_S))
    work.check()
    if why != DIED:
        _say_attempt(work, why)


def _say_attempt(work: Work, why: str) -> None:
    work.run.mend_logs()
    work.run.lease.record_attempt(work.owner, work.attempt, work.settings.lease_s)
    work.announcer.attempt = work.attempt
    current, total = _reached(work.run)
    text = f"Attempt {work.attempt} of {work.settings.retries + 1}: {why}"
    work.say("initializing", current, total, text, status=State.RETRY)


def _try(work: Work, body: Body) -> dict[str, Any]:
    """Run the body; what may pass is tried again after a growing pause, anything else raised."""
    why = DIED if work.attempt > 1 else None
    while True:
        try:
            if why is not None:
                _begin_again(work, why)
            work.run.reserve()
            return body(work)
        except OSError as error:
            passes = error.errno in TRANSIENT or isinstance(error, ConnectionError)
            if not passes or work.attempt > work.settings.retries:
                raise
            why = sentence(error)
            log.warning("Task %s, attempt %d: %s", work.run.task_id, work.attempt, why)
            work.attempt += 1  # not only in the lease: a full disk cannot record it


def sentence(error: BaseException) -> str:
    """Say what went wrong in one sentence; of a file, which and why."""
    if isinstance(error, GanLabError):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        path = f" {error.filename}" if error.filename else ""
        return f"Cannot use{path}: {os.strerror(error.errno)} ({errno.errorcode[error.errno]})."
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _record_failure(work: Work, error: Exception) -> None:
    text = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError) or "allocate memory" in str(error):  # NumPy's, PyTorch's
        error = OutOfMemory(f"Out of memory: {sentence(error)}")
    known = error if isinstance(error, GanLabError) else TaskFailed(sentence(error))
    foreseen = isinstance(error, RequestError | WaitedInVain | WorkerLost)
    work.run.fail(known, "" if foreseen else text)
    current, total = _reached(work.run)
    work.say("failed", current, total, sentence(error)[:1000])


def record_cancelled(run: RunFolder, announcer: Announcer, why: str = "Cancelled") -> None:
    """Record that a task was stopped and say it; what it had half written is removed."""
    run.cancelled()
    current, total = _reached(run)
    announcer.say("cancelled", current, total, why)


# ---- the keeper: what goes on beside the work


class Keeper(threading.Thread):
    """Renews the lease, reads the cancel flag, watches memory, ends a worker that will not stop."""

    def __init__(self, work: Work) -> None:
        super().__init__(name=f"keeper-{work.run.task_id[:8]}", daemon=True)
        self.work = work
        self._finished = threading.Event()
        self._alone, self._memory_limit = _worker_facts()
        self._asked_at: float | None = None

    def finish(self) -> None:
        """End the thread; the work is done."""
        self._finished.set()
        if self.ident is not None:  # it was started
            self.join()

    def run(self) -> None:
        """Look after the work until it is finished."""
        looked = time.monotonic()
        while not self._finished.wait(LOOK_S):
            now = time.monotonic()
            try:
                self._watch_memory()
                if now - looked >= FLAG_S:
                    looked = now
                    self._read_flag(now)
                if _awake_or_not() - self.work.renewed_at >= self.work.settings.lease_s / 3:
                    self.work.renew()
            except OSError as error:  # a full disk; it may pass
                log.warning("Cannot look after task %s: %s", self.work.run.task_id, error)

    def _read_flag(self, now: float) -> None:
        if not self.work.run.cancelling or self.work.run.final or self.work.lost.is_set():
            return
        if self._asked_at is None:
            self._asked_at = now
            self.work.cancelled.set()
            self.work.stop.set()
        if now - self._asked_at >= self.work.settings.cancel_grace_s and self._alone:
            with self.work.announcer.lock:  # no event of the work may come behind the last one
                if self.work.run.final or not self.work.ours():
                    return
                why = "Cancelled; it did not stop by itself, so its worker was restarted"
                record_cancelled(self.work.run, self.work.announcer, why)
                self._end_worker()

    def _watch_memory(self) -> None:
        used = self.work.look_at_memory()
        if not self._alone or not self._memory_limit or used < MEMORY_SHARE * self._memory_limit:
            return
        with self.work.announcer.lock:
            if self.work.run.final:
                return
            try:
                if self.work.ours():
                    _record_failure(self.work, OutOfMemory(out_of_memory(used, self._memory_limit)))
            finally:  # nobody else would end what goes on growing
                self._end_worker()

    def _end_worker(self) -> None:
        """End this process, which its nanny starts anew: a thread cannot be ended."""
        if not self.work.lost.is_set():
            self.work.run.release_reserve()
            self.work.run.lease.drop(self.work.owner)
        os._exit(ENDED_BY_US)


def out_of_memory(used: float, limit: float) -> str:
    """Say that a task needs more memory than there is."""
    return (
        f"Out of memory: it used {used / 1e9:.1f} GB, and a worker may use {limit / 1e9:.1f} GB. "
        "Use a smaller table, batch_size or model, or fewer workers (GAN_LAB_WORKERS)."
    )


class RunLog(logging.Handler):
    """Adds what is logged in the task's thread to the task's own log."""

    def __init__(self, work: Work) -> None:
        super().__init__(logging.INFO)
        self.work, self.thread = work, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Add one line."""
        if record.thread != self.thread:
            return
        fields = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        self.work.run.append_log(worker=self.work.announcer.worker, **fields)


def _worker_address() -> str | None:
    """Return this worker's address, as the dashboard shows it; None outside a worker."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return None


def _worker_facts() -> tuple[bool, float]:
    """Whether this worker has one thread and a nanny, and its memory limit in bytes (0: none)."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # called outside a worker
        return False, 0.0
    alone = worker.state.nthreads == 1 and worker.nanny is not None
    return alone, float(worker.memory_manager.memory_limit or 0)
