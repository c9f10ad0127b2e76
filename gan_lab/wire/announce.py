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
import time
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

        begun = time.monotonic()
        if begun < self._try_again and not event.final:
            return
        try:
            fresh = self._client is None
            if self._client is None:
                url = redis_url(self.settings)
                if url is None:
                    raise redis.ConnectionError("no Redis is known to this workspace")
                self._client = connect(url)
            stream, text = stream_key(event.task_id), ""
            pipeline = self._client.pipeline(transaction=False)
            if fresh:  # whatever it has, a stream grows at its end only
                pipeline.delete(stream)
            for line in self.run.events() if fresh else [event]:  # the last of which is this one
                text = line.model_dump_json(exclude_none=True)
                pipeline.xadd(stream, {"event": text}, id=f"{line.seq}-1")
            # A task that dies says nothing more: a day is the longest it can lie there unfinished.
            ttl_s = self.settings.event_ttl_s
            pipeline.expire(stream, ttl_s if event.final else max(ttl_s, 86_400))
            pipeline.publish(channel(event.task_id), text)
            pipeline.xlen(stream)
            if pipeline.execute(raise_on_error=False)[-1] != event.seq:
                self._client = None  # it has been away without anybody noticing: all of it again
        except (redis.RedisError, OSError) as error:
            self._client = None
            now = time.monotonic()  # silence takes a timeout, a refusal nothing
            self._try_again = now + max(RECONNECT_S, 10 * (now - begun))
            if not self._warned:
                self._warned = True
                log.warning("Redis does not answer (%s): the task and its record go on.", error)

    def close(self) -> None:
        """Give the connection back."""
        if self._client is not None:
            self._client.close()
            self._client = None
