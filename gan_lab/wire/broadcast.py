"""The events of many tasks for any number of listeners of one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

from gan_lab.errors import GanLabError
from gan_lab.schema import Event
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.follow import follow
from gan_lab.workspace.run_folder import RunFolder


class TooSlow(GanLabError):
    """A listener did not keep up with a task's events and was left behind."""


class Broadcast:
    """Follows each task once, whatever the number of its listeners: an idle one costs a queue."""

    def __init__(self, settings: Settings | None = None, max_waiting: int = 1000) -> None:
        self.settings = settings or load_settings()
        self.max_waiting = max_waiting
        self._feeds: dict[str, _Feed] = {}

    async def follow(self, run: RunFolder, after: int = 0) -> AsyncIterator[Event]:
        """Yield what `wire.follow.follow` yields, without blocking the loop.

        Raises `TooSlow` where more than `max_waiting` events wait to be taken.
        """
        last = await asyncio.to_thread(run.last_event)
        feed = self._feeds.get(run.task_id)
        if feed is None or feed.ended:
            # From the last event on: where it ends the task, the feed ends as well.
            feed = _Feed(run, self, after=last.seq - 1 if last else 0)
            self._feeds[run.task_id] = feed
        queue = feed.listen()
        try:
            for event in await asyncio.to_thread(run.events, after):
                after = event.seq
                yield event
            while isinstance(item := await queue.get(), Event):
                if item.seq > after:
                    after = item.seq
                    yield item
            if item is not None:
                raise item
        finally:
            feed.leave(queue)
            if not feed.queues and self._feeds.get(run.task_id) is feed:
                del self._feeds[run.task_id]


class _Feed:
    """Follows one task in a thread and hands every event to each listener's queue.

    The queues end with None, or with the error that ended the feed.
    """

    def __init__(self, run: RunFolder, broadcast: Broadcast, after: int) -> None:
        self.ended = False
        self.queues: set[asyncio.Queue[Event | Exception | None]] = set()
        self._run, self._broadcast, self._after = run, broadcast, after
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        threading.Thread(target=self._follow, name=f"follow-{run.task_id}", daemon=True).start()

    def listen(self) -> asyncio.Queue[Event | Exception | None]:
        queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self.queues.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[Event | Exception | None]) -> None:
        self.queues.discard(queue)
        if not self.queues:
            self._stop.set()

    def _follow(self) -> None:
        last_word: Exception | None = None
        with suppress(RuntimeError):  # the loop was closed: nobody listens any more
            try:
                for event in follow(self._run, self._broadcast.settings, self._after, self._stop):
                    self._loop.call_soon_threadsafe(self._hand_out, event)
            except Exception as error:
                last_word = error
            self._loop.call_soon_threadsafe(self._end, last_word)

    def _hand_out(self, event: Event) -> None:
        limit = self._broadcast.max_waiting
        for queue in list(self.queues):
            if queue.qsize() < limit:
                queue.put_nowait(event)
            else:
                queue.put_nowait(TooSlow(f"More than {limit} events of {event.task_id} waited."))
                self.queues.discard(queue)

    def _end(self, last_word: Exception | None) -> None:
        self.ended = True
        for queue in self.queues:
            queue.put_nowait(last_word)
