"""The events of many tasks for any number of listeners of one event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

from gan_lab.errors import GanLabError
from gan_lab.schema import Event
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.connection import RECONNECT_S, channel, connection_options, redis_url
from gan_lab.wire.follow import CHECK_FOLDER_S
from gan_lab.workspace.run_folder import RunFolder

log = logging.getLogger(__name__)


QUIET_CHECK_S = 5.0  # the same where Redis is connected and would have told


class TooSlow(GanLabError):
    """A listener did not keep up with a task's events and was left behind."""

    reason = "too_slow"


class Broadcast:
    """Follows tasks for any number of listeners of one event loop.

    One Redis connection in all and one reader for each task: an idle listener costs a queue.
    """

    def __init__(self, settings: Settings | None = None, most_waiting: int = 1000) -> None:
        self.settings = settings or load_settings()
        self.most_waiting = most_waiting
        self.connected = False
        self._feeds: dict[str, _Feed] = {}
        self._listening: asyncio.Task[None] | None = None

    async def follow(self, run: RunFolder, after: int = 0) -> AsyncIterator[Event]:
        """Yield what `follow` yields, without blocking the loop.

        Raises `TooSlow` where more than `most_waiting` events wait to be taken.
        """
        feed = self._join(run)
        queue = feed.listen()
        try:
            await feed.started.wait()  # what is written from here on comes through the queue
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
            self._tidy(feed)

    def _join(self, run: RunFolder) -> _Feed:
        feed = self._feeds.get(run.task_id)
        if feed is None or feed.ended:
            feed = self._feeds[run.task_id] = _Feed(run, self)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen())
        return feed

    def _tidy(self, feed: _Feed) -> None:
        if not feed.wanted:
            feed.close()
            if self._feeds.get(feed.run.task_id) is feed:
                del self._feeds[feed.run.task_id]
        if not self._feeds and self._listening is not None:
            self._listening.cancel()
            self._listening = None

    async def _listen(self) -> None:
        """Ring at a task's feed whenever Redis tells of it, for as long as anybody follows one."""
        import redis

        while True:
            url = redis_url(self.settings)
            try:
                if url is not None:
                    await self._ring_from(url)
            except (redis.RedisError, OSError) as error:
                if self.connected:
                    log.warning("Redis does not answer (%s): reading the folders instead.", error)
            finally:
                self.connected = False
            await asyncio.sleep(RECONNECT_S)

    async def _ring_from(self, url: str) -> None:
        from redis import asyncio as aioredis

        client = aioredis.Redis.from_url(url, **connection_options(2.0))
        async with client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.psubscribe(channel("*"))
            self.connected = True
            for feed in self._feeds.values():
                feed.bell.set()
            while True:
                message = await pubsub.get_message(timeout=CHECK_FOLDER_S)
                task_id = message["channel"].rpartition(":")[2] if message else ""
                if task_id in self._feeds:
                    self._feeds[task_id].bell.set()


class _Feed:
    """Reads one task's log as it grows and hands every new event to each listener's queue."""

    def __init__(self, run: RunFolder, broadcast: Broadcast) -> None:
        self.run, self.broadcast = run, broadcast
        self.bell = asyncio.Event()
        self.started = asyncio.Event()
        self.ended = self._recorded = False
        self._queues: set[asyncio.Queue[Event | Exception | None]] = set()
        self._reader = run.event_reader()
        self._reading = asyncio.create_task(self._read())

    @property
    def wanted(self) -> bool:
        return bool(self._queues)

    def listen(self) -> asyncio.Queue[Event | Exception | None]:
        queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self._queues.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[Event | Exception | None]) -> None:
        self._queues.discard(queue)

    def close(self) -> None:
        self._reading.cancel()

    async def _read(self) -> None:
        last_word: Exception | None = None
        try:
            while not self.ended:
                self.bell.clear()
                self.ended, events = await asyncio.to_thread(self._look)
                if self.started.is_set():  # the past, each listener reads for itself
                    for event in events:
                        self._hand_out(event)
                self.started.set()
                if not self.ended:
                    await self._wait()
        except Exception as error:
            last_word = error
        self.ended = True
        self.started.set()
        for queue in self._queues:
            queue.put_nowait(last_word)

    def _look(self) -> tuple[bool, list[Event]]:
        recorded, self._recorded = self._recorded, self.run.final
        events = self._reader.read()
        # The last word follows the record; a task that ended without one gets a moment for it.
        return recorded or bool(events and events[-1].final and self._recorded), events

    def _hand_out(self, event: Event) -> None:
        most = self.broadcast.most_waiting
        for queue in list(self._queues):
            if queue.qsize() < most:
                queue.put_nowait(event)
            else:
                queue.put_nowait(TooSlow(f"More than {most} events of {event.task_id} waited."))
                self._queues.discard(queue)

    async def _wait(self) -> None:
        patience_s = QUIET_CHECK_S if self.broadcast.connected else CHECK_FOLDER_S
        with suppress(TimeoutError):
            await asyncio.wait_for(self.bell.wait(), patience_s)
