"""One task's events, in order and to the end, for whoever waits in a thread of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from gan_lab.schema import Event
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.connection import RECONNECT_S, channel, connect, redis_url
from gan_lab.workspace.run_folder import RunFolder

if TYPE_CHECKING:
    import redis

CHECK_FOLDER_S = 1.0  # how late an event may be seen where Redis does not tell of it


class Doorbell:
    """Waits for a task's next message on Redis, or a while where there is no Redis."""

    def __init__(self, run: RunFolder, settings: Settings | None = None) -> None:
        self.run, self.settings = run, settings or load_settings()
        self._pubsub: redis.client.PubSub | None = None
        self._client: redis.Redis | None = None
        self._try_again = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, stop: threading.Event | None = None) -> None:
        """Return when there may be something new to read: at once when the wire was joined."""
        import redis

        if self._pubsub is None and self._subscribe():
            return  # nothing falls between the reading before and the listening from now on
        if self._pubsub is None:
            (stop or threading.Event()).wait(CHECK_FOLDER_S)
            return
        try:
            waiting_s = CHECK_FOLDER_S
            while self._pubsub.get_message(timeout=waiting_s):
                waiting_s = 0.0  # one look answers all that have rung
        except (redis.RedisError, OSError):
            self.close()

    def _subscribe(self) -> bool:
        import redis

        url = redis_url(self.settings)
        if url is None or time.monotonic() < self._try_again:
            return False
        try:
            self._client = connect(url)
            self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
            self._pubsub.subscribe(channel(self.run.task_id))
        except (redis.RedisError, OSError):
            self.close()
            self._try_again = time.monotonic() + RECONNECT_S
        return self._pubsub is not None

    def close(self) -> None:
        """Give the connection back."""
        if self._pubsub is not None:
            self._pubsub.close()
        if self._client is not None:
            self._client.close()
        self._pubsub = self._client = None


def follow(
    run: RunFolder,
    settings: Settings | None = None,
    after: int = 0,
    stop: threading.Event | None = None,
) -> Iterator[Event]:
    """Yield a task's events in order, the whole past first, then live until its end.

    Only events with a `seq` greater than `after`. Ends behind the last word of the task, when the
    task has ended without one, or soon after `stop` is set.
    """
    reader, ended = run.event_reader(after), False
    with Doorbell(run, settings) as doorbell:
        while stop is None or not stop.is_set():
            # The last word follows the record, by whoever holds the lease; a kill in between
            # loses it.
            ended, ended_before = run.final and not run.lease.held, ended
            for event in reader.read():
                yield event
                if event.final and not _goes_on(run, event):
                    return
            if ended_before:
                return
            doorbell.wait(stop)


def _goes_on(run: RunFolder, event: Event) -> bool:
    """Whether a task was tried again after this last word, or is about to be."""
    last = run.last_event()
    return not run.final or (last is not None and last.seq > event.seq)
