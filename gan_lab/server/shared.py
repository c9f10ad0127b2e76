"""What all handlers share: threads, the broadcast of events, and where the tasks stand."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property

from gan_lab.errors import GanLabError, ServiceUnreachable
from gan_lab.schema import TaskStatus
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.broadcast import Broadcast
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, open_run

THREADS = 4
KNOWN_FOR_S = 2.0  # how long one answer of the cluster about its queue is good


class Shared:
    """Two small pools of threads, one broadcast of events, one view of the tasks.

    `records` is for reading folders, `cluster` for what may wait for a service, so that a status
    never waits behind a cluster that is starting.
    """

    def __init__(self) -> None:
        self.records = ThreadPoolExecutor(THREADS, "gan-lab-records")
        self.cluster = ThreadPoolExecutor(THREADS, "gan-lab-cluster")
        self.statuses = StatusReader()

    @property
    def settings(self) -> Settings:
        """The settings of the workspace, read afresh."""
        return load_settings()

    @cached_property
    def broadcast(self) -> Broadcast:
        """The events of all tasks for all sockets."""
        return Broadcast()

    def warm(self) -> None:
        """Import what a request needs and join the services if they run, before anybody waits."""
        from gan_lab.cluster import services

        try:
            services.find_client()
        except GanLabError:
            return  # whoever asks for a task will be told

    def close(self) -> None:
        """Let go of the threads; tasks run on without us."""
        self.records.shutdown(wait=False, cancel_futures=True)
        self.cluster.shutdown(wait=False, cancel_futures=True)


class StatusReader:
    """Where tasks stand: from their folders, and from the cluster's queue, asked seldom."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: frozenset[str] | None = None
        self._known_at = float("-inf")

    def of(self, task_id: str) -> TaskStatus:
        """Return where one task stands; raises `UnknownTask`."""
        return self._status(open_run(task_id))

    def newest(self, limit: int, machine_id: str | None) -> list[TaskStatus]:
        """Return where the newest tasks stand, those of one machine only if it is named."""
        found = [run for run in all_runs() if machine_id in (None, run.spec.machine_id)]
        return [self._status(run) for run in found[:limit]]

    def _status(self, run: RunFolder) -> TaskStatus:
        from gan_lab.cluster.task_names import lost_status, task_key

        status = run.status()
        if status.state.final or run.lease.held or run.just_made:
            return status
        known = self._known_keys()
        return (
            status if known is None or task_key(run) in known or run.final else lost_status(status)
        )

    def _known_keys(self) -> frozenset[str] | None:
        """What the cluster has, asked once for all who want to know; nothing is started for it.

        None where it does not answer, and nobody can say what is lost.
        """
        from gan_lab.cluster import queue, services

        with self._lock:
            if time.monotonic() - self._known_at > KNOWN_FOR_S:
                self._known = None
                with suppress(ServiceUnreachable):
                    client = services.find_client()
                    self._known = frozenset(queue.known_keys(client) if client else ())
                self._known_at = time.monotonic()
            return self._known
