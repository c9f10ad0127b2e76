"""One task's events, in order and to the end, for whoever waits in a thread of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from gan_lab.schema import Event
from gan_lab.settings import Settings, load_settings
from gan_lab.store import StorePath
from gan_lab.wire.connection import RECONNECT_S, channel, connect, redis_url
from gan_lab.workspace.run_folder import RunFolder

if TYPE_CHECKING:
    import redis

CHECK_FOLDER_S = 1.0  # how late an event may be seen where Redis does not tell of it
STORE_S = 0.5  # how long one rests between two looks at a store, where what is said is seen later


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

        if isinstance(self.run.path, StorePath):
            (stop or threading.Event()).wait(STORE_S)
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


class EventsToTheEnd:
    """A task's events behind `after`, look by look; `ended` once there will be no more."""

    def __init__(self, run: RunFolder, after: int = 0) -> None:
        self.run, self.ended = run, False
        self._reader, self._final = run.event_reader(after), False

    def look(self) -> list[Event]:
        """Return what has come since the last look, the whole past at the first one."""
        # The last word follows the record, by whoever holds the lease; a kill in between loses it.
        self._final, final_before = self.run.final and not self.run.lease.held, self._final
        events = self._reader.read()
        for number, event in enumerate(events):
            if event.final and not self._goes_on(event):
                self.ended = True
                return events[: number + 1]
        self.ended = final_before
        return events

    def _goes_on(self, event: Event) -> bool:
        """Whether a task was tried again after this last word, or is about to be."""
        last = self.run.last_event()
        return not self.run.final or (last is not None and last.seq > event.seq)


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
    events = EventsToTheEnd(run, after)
    with Doorbell(run, settings) as doorbell:
        while stop is None or not stop.is_set():
            yield from events.look()
            if events.ended:
                return
            doorbell.wait(stop)
