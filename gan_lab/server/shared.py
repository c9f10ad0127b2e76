"""What all handlers share: threads, the broadcast of events, and where the tasks stand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, lru_cache, partial

from gan_lab.cluster import queue, services
from gan_lab.errors import GanLabError, ServiceUnreachable
from gan_lab.schema import TaskStatus
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.broadcast import Broadcast
from gan_lab.workspace.run_folder import RunFolder

THREADS = 4
KNOWN_FOR_S = 2.0  # how long one answer of the cluster about its queue is good


class Shared:
    """Two small pools of threads and one broadcast of events.

    `records` is for reading folders, `cluster` for what may wait for a service, so that a status
    never waits behind a cluster that is starting.
    """

    def __init__(self) -> None:
        self.records = ThreadPoolExecutor(THREADS, "gan-lab-records")
        self.cluster = ThreadPoolExecutor(THREADS, "gan-lab-cluster")

    @property
    def settings(self) -> Settings:
        """The settings of the workspace, read afresh."""
        return load_settings()

    @cached_property
    def broadcast(self) -> Broadcast:
        """The events of all tasks for all sockets."""
        return Broadcast()

    def warm(self) -> None:
        """Join the services if they run, before anybody waits for them."""
        with suppress(GanLabError):  # whoever asks for a task will be told
            services.find_client()

    def close(self) -> None:
        """Let go of the threads; tasks run on without us."""
        self.records.shutdown(wait=False, cancel_futures=True)
        self.cluster.shutdown(wait=False, cancel_futures=True)


def statuses(found: Sequence[RunFolder]) -> list[TaskStatus]:
    """Return where tasks stand: from their folders, and from the cluster's queue, asked seldom."""
    ask = partial(_keys_in_queue, int(time.monotonic() / KNOWN_FOR_S))
    return queue.with_lost([run for run in queue.lost(found, ask) if not run.just_made], found)


@lru_cache(maxsize=1)
def _keys_in_queue(_moment: int) -> frozenset[str] | None:
    """Return what the cluster has, once for all who ask at a moment; None where it is silent."""
    with suppress(ServiceUnreachable):
        return queue.keys_in_queue()
    return None
