"""What all handlers share: threads, and the broadcast of events."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property

from gan_lab.cluster import services
from gan_lab.errors import GanLabError
from gan_lab.wire.broadcast import Broadcast

THREADS = 4


class Shared:
    """Two small pools of threads and one broadcast of events.

    `records` is for reading folders, `cluster` for what may wait for a service, so that a status
    never waits behind a cluster that is starting.
    """

    def __init__(self) -> None:
        self.records = ThreadPoolExecutor(THREADS, "gan-lab-records")
        self.cluster = ThreadPoolExecutor(THREADS, "gan-lab-cluster")

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
