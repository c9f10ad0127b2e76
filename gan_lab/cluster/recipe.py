"""The one recipe by which every task is executed on a worker, whatever it does."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from gan_lab.cluster.keeper import Keeper, RunLog
from gan_lab.cluster.sight import home_of_worker, no_workspace
from gan_lab.cluster.tracking import tell_mlflow
from gan_lab.cluster.work import (
    NOT_STARTED,
    LeaseLost,
    Outcome,
    WaitedInVain,
    Work,
    WorkerLeaves,
    WorkerLost,
    leaves,
    outcome,
    reached,
    record_cancelled,
    record_failure,
    sentence,
    this_worker,
    worker_address,
)
from gan_lab.errors import TaskCancelled, TaskFailed, UnknownTask
from gan_lab.notify import tell_task_ended
from gan_lab.schema import State
from gan_lab.settings import Settings
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import open_run

log = logging.getLogger(__name__)

Body = Callable[[Work], dict[str, Any]]

LONGER = 4  # each pause before another attempt is so many times the last one
LONGEST_PAUSE_S = 60.0

TRANSIENT = {
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EMFILE, errno.ENFILE,
    errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ETIMEDOUT,
}  # fmt: skip


def perform(task_id: str, settings: Settings, waits_for: Sequence[Outcome], body: Body) -> Outcome:
    """Execute one task in this worker and return its outcome.

    Raises Dask's `Reschedule` where the worker ends before the task, and `TaskFailed` where nothing
    can be recorded: Dask keeps its sentence for whoever asks.
    """
    from distributed import Reschedule

    settings = settings.model_copy(update={"home": home_of_worker(settings.home)})
    os.environ["GAN_LAB_HOME"] = str(settings.home)
    try:
        run, token = open_run(task_id, settings.home), uuid.uuid4().hex
        # Again, where somebody else took it over: whoever waits for this one waits for its end.
        while (attempt := _take_over(run, settings, token)) is not None:
            start = time.monotonic()
            own = open_run(task_id, settings.home)  # with no lines of an earlier attempt
            _hold_and_work(Work(own, settings, token, attempt), waits_for, body)
            if run.final:
                tell_task_ended(run.status(), time.monotonic() - start, settings)
                tell_mlflow(run, settings)
        return outcome(run)
    except WorkerLeaves:
        raise Reschedule from None
    except UnknownTask:
        raise TaskFailed(f"Worker {worker_address()} {no_workspace(settings.home)}") from None
    except Exception as error:
        log.exception("Task %s could not even be recorded", task_id)
        raise TaskFailed(f"Worker {worker_address()}: {sentence(error)}") from None
    finally:
        # What is free, but kept, would count against the next task.
        with suppress(AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)


def _take_over(run: RunFolder, settings: Settings, token: str) -> int | None:
    """Take the lease, waiting for a holder that may be dead; None if the task is done meanwhile."""
    patience = threading.Event()
    while not run.final:
        attempt = run.lease.take(token, settings.lease_s)
        if attempt is not None and not run.final:
            return attempt
        run.lease.drop(token)
        patience.wait(min(1.0, settings.lease_s / 10))
        if leaves(this_worker()):
            raise WorkerLeaves
    return None


def _hold_and_work(work: Work, waits_for: Sequence[Outcome], body: Body) -> None:
    """Work under the lease, which a thread renews, and record how it ended."""
    keeper = Keeper(work)
    log_of_run = RunLog(work)
    try:
        work.run.mend_logs()  # before anybody writes a line behind a torn one
        work.run.gather()
        keeper.start()
        logging.getLogger().addHandler(log_of_run)
        _work(work, waits_for, body)
    except WorkerLeaves:
        with suppress(OSError, LeaseLost):
            text = "Its worker was told to end: another goes on with it"
            work.say("initializing", message=text, **reached(work.run))
        raise
    except Exception as error:
        try:
            with work.announcer.lock:  # which may be waited for: held is asked behind it
                work.hold()
                if isinstance(error, TaskCancelled):
                    record_cancelled(work.run, work.announcer, str(error))
                elif work.run.final:
                    log.warning("The end of task %s could not be said: %s", work.run.task_id, error)
                else:
                    record_failure(work, error)
        except LeaseLost:
            log.warning("Task %s was taken over by somebody else.", work.run.task_id)
    finally:
        keeper.finish()
        work.announcer.close()
        logging.getLogger().removeHandler(log_of_run)
        if not work.lost.is_set():
            with suppress(OSError):
                work.run.flush()
            work.run.lease.drop(work.token)


def _work(work: Work, waits_for: Sequence[Outcome], body: Body) -> None:
    _check_chain(waits_for)
    _check_attempts(work)
    result = _try(work, body)
    work.check(done=True)
    work.look_at_memory()
    work.run.record_environment(peak_memory_mb=round(work.peak_b / 1e6))
    with work.announcer.lock:  # nobody says another last word between the two
        work.hold()
        work.run.finish(result)
        facts = reached(work.run)
        work.say("completed", message="Done", **facts | {"current": facts["total"]})


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
            f"The worker that ran it died {work.attempt - 1} times before it came any further. "
            "Killed for its memory is the usual reason, and the worker's own log says more. "
            f"`gan-lab resume {work.run.task_id}` goes on from the last checkpoint."
        )


def _begin_again(work: Work, why: str) -> None:
    """Pause, longer each time, then record and say that this is another attempt.

    In this order, for a disk that was full may have room for it by then.
    """
    pause_s = work.settings.retry_pause_s * LONGER ** (work.attempt - 2)
    work.stop.wait(min(pause_s, LONGEST_PAUSE_S))
    work.check()
    work.run.mend_logs()
    work.renew(work.attempt)
    work.announcer.attempt = work.attempt
    text = f"Attempt {work.attempt} of {work.settings.retries + 1}: {why}"
    work.say("initializing", message=text, status=State.RETRY, **reached(work.run))


def _try(work: Work, body: Body) -> dict[str, Any]:
    """Run the body; what may pass is tried again after a growing pause, anything else raised."""
    why = "its worker died" if work.attempt > 1 else None
    while True:
        try:
            if why is not None:
                _begin_again(work, why)
            return body(work)
        except OSError as error:
            passes = error.errno in TRANSIENT or isinstance(error, ConnectionError)
            if not passes or work.attempt > work.settings.retries:
                raise
            why = sentence(error)
            log.warning("Task %s, attempt %d: %s", work.run.task_id, work.attempt, why)
            work.attempt += 1  # not only in the lease: a full disk cannot record it
