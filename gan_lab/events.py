"""The wire: how a task says what it does, and how anybody follows it.

An event is first a line in the run folder, then a message on Redis. Readers take order and
completeness from the folder and speed from Redis, so that a Redis that is late, restarted or gone
costs a reader some liveness and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from gan_lab.errors import GanLabError
from gan_lab.runs import RunFolder, read_services
from gan_lab.schema import Event, Stage, State
from gan_lab.settings import Settings, load_settings

if TYPE_CHECKING:
    import redis

log = logging.getLogger(__name__)

DATABASE = 2
CHECK_FOLDER_S = 1.0  # how late an event may be seen where Redis does not tell of it
QUIET_CHECK_S = 5.0  # the same where Redis is connected and would have told
RECONNECT_S = 2.0

STATES: dict[str, State] = {
    "completed": State.SUCCESS,
    "failed": State.FAILURE,
    "cancelled": State.REVOKED,
}


def channel(task_id: str) -> str:
    """Return the channel on which every event of a task is published."""
    return f"gan:training:{task_id}"


def stream_key(task_id: str) -> str:
    """Return the key of the stream that keeps a task's events for late readers in any language."""
    return f"gan:events:{task_id}"


def redis_url(settings: Settings | None = None) -> str | None:
    """Return where Redis is now: the setting, else what the services recorded, else None."""
    settings = settings or load_settings()
    if settings.redis_url:
        return settings.redis_url
    record = read_services(settings.home)
    return record.redis_url if record else None


def _connection_options(timeout_s: float) -> dict[str, Any]:
    return {
        "db": DATABASE,  # a database in the URL wins
        "decode_responses": True,
        "health_check_interval": 15,
        "socket_keepalive": True,
        "socket_connect_timeout": timeout_s,
        "socket_timeout": timeout_s,
    }


def connect(url: str, timeout_s: float = 2.0) -> redis.Redis:
    """Return a client of the Redis at `url`; nothing is sent yet."""
    import redis

    return redis.Redis.from_url(url, **_connection_options(timeout_s))


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether a Redis answers there in this time, whatever else may listen."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    once = {"retry": Retry(NoBackoff(), 0)}
    try:
        client = redis.Redis.from_url(url, **_connection_options(timeout_s), **once)
        with client:
            return bool(client.ping())
    except (redis.RedisError, OSError, ValueError):
        return False


class Announcer:
    """Says what a task does: into its run folder first, then on the wire.

    Without a Redis, or while it does not answer, the record goes on and one warning is logged.
    """

    def __init__(
        self, run: RunFolder, settings: Settings, attempt: int = 1, worker: str | None = None
    ) -> None:
        self.run = run
        self.settings = settings
        self.attempt = attempt
        self.worker = worker or f"{socket.gethostname()}:{os.getpid()}"
        self._logged: tuple[str, str, int] | None = None
        self.lock = threading.RLock()  # one event after another, whichever thread says it
        last = run.last_event()
        self._seq = last.seq if last else 0
        self._streamed: int | None = None if self._seq else 0  # the newest in the stream; or ask
        self._client: redis.Redis | None = None
        self._try_again = 0.0
        self._warned = False

    def say(self, stage: Stage, current: int, total: int, message: str, **fields: Any) -> Event:
        """Record and publish one event; `fields` are further fields of `Event`."""
        with self.lock:
            share = current / total if total else 0.0
            event = Event(
                task_id=self.run.task_id,
                seq=self._seq + 1,
                machine_id=self.run.spec.machine_id,
                stage=stage,
                status=fields.pop("status", STATES.get(stage, State.RUNNING)),
                current=current,
                total=total,
                progress=100 if stage == "completed" else min(99, int(100 * share)),
                attempt=self.attempt,
                message=message,
                **fields,
            )
            self.run.append_event(event)
            self._seq = event.seq  # not before it is recorded: a full disk leaves no gap
            self._log_change(event)
            self._publish(event)
        return event

    def _log_change(self, event: Event) -> None:
        """Add a line to the task's log where its state, stage or attempt has changed."""
        now = (event.status, event.stage, event.attempt)
        if now == self._logged:
            return
        self._logged = now
        names = ("stage", "attempt", "current", "total", "message")
        fields = {"state": event.status} | {name: getattr(event, name) for name in names}
        failure = self.run.error_data() if event.stage == "failed" else None
        if failure and failure["traceback"]:
            fields["traceback"] = failure["traceback"]
        self.run.append_log(worker=self.worker, **fields)

    def _publish(self, event: Event) -> None:
        import redis

        if time.monotonic() < self._try_again and not event.final:
            return
        try:
            if self._client is None:
                url = redis_url(self.settings)
                if url is None:
                    raise redis.ConnectionError("no Redis is known to this workspace")
                self._client = connect(url)
            task_id = event.task_id
            pipeline = self._client.pipeline(transaction=False)
            whole = self._streamed != event.seq - 1 and not self._is_streamed(self._client, event)
            if whole:  # a stream grows at its end only
                pipeline.delete(stream_key(task_id))
            text = ""
            for line in self.run.events() if whole else [event]:  # the last of which is this one
                text = line.model_dump_json(exclude_none=True)
                pipeline.xadd(stream_key(task_id), {"event": text}, id=f"{line.seq}-1")
            # A task that dies says nothing more: a day is the longest it can lie there unfinished.
            ttl_s = self.settings.event_ttl_s
            pipeline.expire(stream_key(task_id), ttl_s if event.final else max(ttl_s, 86_400))
            pipeline.publish(channel(task_id), text)
            pipeline.xlen(stream_key(task_id))
            length = pipeline.execute(raise_on_error=False)[-1]
            # Shorter: the server has been away without anybody noticing, or takes no more.
            self._streamed = event.seq if length == event.seq or whole else None
        except (redis.RedisError, OSError) as error:
            self._client = self._streamed = None
            self._try_again = time.monotonic() + RECONNECT_S
            if not self._warned:
                self._warned = True
                log.warning("Redis does not answer (%s): the task and its record go on.", error)

    def _is_streamed(self, client: redis.Redis, event: Event) -> bool:
        """Whether the stream has all that was said before this event."""
        return int(client.xlen(stream_key(event.task_id))) == event.seq - 1

    def close(self) -> None:
        """Give the connection back."""
        if self._client is not None:
            self._client.close()
            self._client = None


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
            ended, ended_before = run.final, ended
            for event in reader.read():
                yield event
                if event.final and not _goes_on(run, event):
                    return
            if ended_before:  # the last word follows the record; it had its moment
                return
            doorbell.wait(stop)


def _goes_on(run: RunFolder, event: Event) -> bool:
    """Whether a task was tried again after this last word, or is about to be."""
    last = run.last_event()
    return not run.final or (last is not None and last.seq > event.seq)


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

        client = aioredis.Redis.from_url(url, **_connection_options(2.0))
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
