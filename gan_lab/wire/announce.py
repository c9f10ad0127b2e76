"""The wire: how a task says what it does, and how anybody follows it.

An event is first a line in the run folder, then a message on Redis. Readers take order and
completeness from the folder and speed from Redis, so that a Redis that is late, restarted or gone
costs a reader some liveness and nothing else.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

from gan_lab.schema import Event, Stage, State
from gan_lab.settings import Settings
from gan_lab.wire.connection import RECONNECT_S, channel, connect, redis_url, stream_key
from gan_lab.workspace.run_folder import RunFolder

if TYPE_CHECKING:
    import redis

log = logging.getLogger(__name__)

STATES: dict[Stage, State] = {
    "completed": State.SUCCESS,
    "failed": State.FAILURE,
    "cancelled": State.REVOKED,
}


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
        self.publisher = Publisher(run, settings)

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
            self.publisher.put(event)
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

    def close(self) -> None:
        """Publish what waits, and give the connection back."""
        self.publisher.close()


class Publisher(threading.Thread):
    """Publishes beside the work what is said: of what came in a moment, all at once."""

    def __init__(self, run: RunFolder, settings: Settings) -> None:
        super().__init__(name=f"publisher-{run.task_id[:8]}", daemon=True)
        self._run, self._settings = run, settings
        self._waiting: list[Event] = []
        self._closed = self._warned = False
        self._changed = threading.Condition()
        self._client: redis.Redis | None = None

    def put(self, event: Event) -> None:
        """Take in one event; whoever says it does not wait for Redis."""
        with self._changed:
            self._waiting.append(event)
            self._changed.notify()
        if self.ident is None:
            self.start()

    def close(self) -> None:
        """Return when what waits was published, or could not be."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self.ident is not None:
            self.join()

    def run(self) -> None:
        """Publish until closed."""
        import redis

        while events := self._next():
            try:
                self._publish(events)
            except (redis.RedisError, OSError) as error:
                self._client = None
                if not self._warned:
                    self._warned = True
                    log.warning("Redis does not answer (%s): the task and its record go on.", error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, RECONNECT_S)
        if self._client is not None:
            self._client.close()

    def _next(self) -> list[Event]:
        """Wait for events and return them; none where it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            events, self._waiting = self._waiting, []
        return events

    def _publish(self, events: list[Event]) -> None:
        import redis

        last, fresh = events[-1], self._client is None
        if self._client is None:
            url = redis_url(self._settings)
            if url is None:
                raise redis.ConnectionError("no Redis is known to this workspace")
            self._client = connect(url)
        stream = stream_key(last.task_id)
        pipeline = self._client.pipeline(transaction=False)
        if fresh:  # whatever it has, a stream grows at its end only
            pipeline.delete(stream)
            for event in self._run.events():
                if event.seq < events[0].seq:
                    self._add(pipeline, stream, event)
        for event in events:
            pipeline.publish(channel(event.task_id), self._add(pipeline, stream, event))
        # A task that dies says nothing more: a day is the longest it can lie there unfinished.
        ttl_s = self._settings.event_ttl_s
        pipeline.expire(stream, ttl_s if last.final else max(ttl_s, 86_400))
        pipeline.xlen(stream)
        if pipeline.execute(raise_on_error=False)[-1] != last.seq:
            self._client = None  # it has been away without anybody noticing: all of it again
            if not fresh:
                self._publish(events)

    @staticmethod
    def _add(pipeline: Any, stream: str, event: Event) -> str:
        text = event.model_dump_json(exclude_none=True)
        pipeline.xadd(stream, {"event": text}, id=f"{event.seq}-1")
        return text
