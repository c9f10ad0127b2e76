"""What goes on beside a task's work: its lease, its cancel flag, its worker, memory and log."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from gan_lab.cluster.estimate import MEMORY_SHARE
from gan_lab.cluster.work import (
    OutOfMemory,
    Work,
    clock_s,
    leaves,
    record_cancelled,
    record_failure,
    this_worker,
)

if TYPE_CHECKING:
    from distributed import Worker

log = logging.getLogger(__name__)

LOOK_S = 0.1  # how often a task's keeper looks at memory, and whether the worker is to end
FLAG_S = 1.0  # and at the cancel flag
ENDED_BY_US = 75  # exit status of a worker that ends itself


class Keeper(threading.Thread):
    """Renews the lease, reads the cancel flag, watches memory, ends a worker that will not stop."""

    def __init__(self, work: Work) -> None:
        super().__init__(name=f"keeper-{work.run.task_id[:8]}", daemon=True)
        self.work = work
        self._finished = threading.Event()
        self._worker = this_worker()
        self._alone, self._memory_limit = _worker_facts(self._worker)
        if self._worker is not None:
            from gan_lab.cluster.leaving import end_politely

            self._worker.loop.add_callback(end_politely, self._worker)
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
                self._watch_worker()
                if now - looked >= FLAG_S:
                    looked = now
                    self._read_flag(now)
                    if self.work.ours():
                        self.work.run.flush()
                if clock_s() - self.work.renewed_at >= self.work.settings.lease_s / 3:
                    self.work.renew()
            except OSError as error:  # a full disk; it may pass
                log.warning("Cannot look after task %s: %s", self.work.run.task_id, error)

    def _read_flag(self, now: float) -> None:
        if not self.work.run.cancelling or self.work.run.final or self.work.lost.is_set():
            return
        if self._asked_at is None:
            self._asked_at = now
            self.work.flagged.set()
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
                    record_failure(self.work, OutOfMemory(out_of_memory(used, self._memory_limit)))
            finally:  # nobody else would end what goes on growing
                self._end_worker()

    def _watch_worker(self) -> None:
        """Hand the task on where its worker is closed: retired, scaled down, sent a SIGTERM."""
        if self.work.leaving.is_set() or self.work.lost.is_set() or not leaves(self._worker):
            return
        # Dask also ends so whom it finds with too much memory: that one has had its attempt.
        limit = self._memory_limit
        if not limit or self.work.look_at_memory() < MEMORY_SHARE * limit:
            self.work.leave()

    def _end_worker(self) -> None:
        """End this process, which its nanny starts anew: a thread cannot be ended."""
        self.work.announcer.close()
        if not self.work.lost.is_set():
            self.work.run.lease.drop(self.work.token)
        os._exit(ENDED_BY_US)


def out_of_memory(used: float, limit: float) -> str:
    """Say that a task needs more memory than there is."""
    return (
        f"Out of memory: it used {used / 1e9:.1f} GB, and a worker may use {limit / 1e9:.1f} GB. "
        "Use a smaller table, batch_size or model, or fewer workers (GAN_LAB_WORKERS)."
    )


class RunLog(logging.Handler):
    """Adds what is logged in the task's thread, and in its publisher's, to the task's own log."""

    def __init__(self, work: Work) -> None:
        super().__init__(logging.INFO)
        self.work, self.thread = work, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Add one line."""
        if record.thread not in (self.thread, self.work.announcer.publisher.ident):
            return
        fields = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        self.work.run.append_log(worker=self.work.announcer.worker, **fields)


def _worker_facts(worker: Worker | None) -> tuple[bool, float]:
    """Whether this worker has one thread and a nanny, and its memory limit in bytes (0: none)."""
    if worker is None:
        return False, 0.0
    alone = worker.state.nthreads == 1 and worker.nanny is not None
    return alone, float(worker.memory_manager.memory_limit or 0)
