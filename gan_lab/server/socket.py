"""The WebSocket of a task: connected, its events from the first on, closing, closed.

`?from=SEQ` continues behind the event with that number. Close codes: 1000 the task has ended, 4404
no such task, 4422 a bad `from`.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from pydantic import BaseModel
from tornado import web, websocket

from gan_lab.errors import BadParameter, GanLabError, UnknownTask
from gan_lab.schema import Event, State
from gan_lab.wire.follow import EventsToTheEnd
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import open_run

PING_S = 20.0
LOOK_S = 0.5  # how late an event may be sent
ENDED, NO_TASK, BAD_FROM, TRY_AGAIN = 1000, 4404, 4422, 1011


class TaskSocket(JupyterHandler, websocket.WebSocketHandler):
    """One client that follows one task."""

    auth_resource = "gan_lab"
    _following: asyncio.Task[None] | None = None
    _sent = 0

    @property
    def ping_interval(self) -> float:
        """How often a heartbeat goes out (s); the server's own setting where it has one."""
        return self.settings.get("websocket_ping_interval") or PING_S

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse with 403 instead of showing a login page to a program."""
        await super().prepare(_redirect_to_login=False)

    @ws_authenticated
    async def get(self, *arguments: Any, **options: Any) -> None:
        """Ask the authorizer before the upgrade."""
        user = self.current_user
        allowed = self.authorizer.is_authorized(self, user, "read", self.auth_resource)
        if not await ensure_async(allowed):
            raise web.HTTPError(403)
        await super().get(*arguments, **options)

    def open(self, task_id: str) -> None:
        """Begin to follow."""
        self.set_nodelay(True)
        self._following = asyncio.create_task(self._follow(task_id))

    def on_message(self, message: str | bytes) -> None:
        """Listen to nothing: what a client wants, it says in the URL."""

    def on_close(self) -> None:
        """Stop following when the client has gone."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, task_id: str) -> None:
        try:
            run = await asyncio.to_thread(open_run, task_id)
            await self._tell(run, self._from_parameter())
        except UnknownTask as error:
            self._end(NO_TASK, str(error))
        except BadParameter as error:
            self._end(BAD_FROM, str(error))
        except GanLabError as error:
            self._end(TRY_AGAIN, str(error))
        except websocket.WebSocketClosedError:
            return

    async def _tell(self, run: RunFolder, after: int) -> None:
        self._sent = after
        status = await asyncio.to_thread(run.status)
        about = {"task_id": run.task_id, "machine_id": run.spec.machine_id}
        await self._send("connected", about | {"status": status.status, "from": after})
        state, events = None, EventsToTheEnd(run, after)
        while True:
            for event in await asyncio.to_thread(events.look):
                await self._send("progress", event)
                self._sent, state = event.seq, event.status
            if events.ended:
                break
            await asyncio.sleep(LOOK_S)
        if not isinstance(state, State) or not state.final:
            state = (await asyncio.to_thread(run.status)).state
        reason = f"Task {state.status}"
        end = {"reason": reason, "status": state.status, "seq": self._sent}
        await self._send("closing", about | end)
        self._end(ENDED, reason)

    async def _send(self, kind: str, content: Event | dict[str, Any]) -> None:
        """Send one message and wait until it has left; the heartbeat ends a client that stalls."""
        if isinstance(content, BaseModel):
            text = content.model_dump_json(exclude_none=True)
        else:
            text = json.dumps(content)
        await self.write_message(f'{{"type":"{kind}",{text[1:]}')

    def _from_parameter(self) -> int:
        text = self.get_query_argument("from", "0")
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise BadParameter(f"from={text[:20]!r} is not the number of an event, such as 17.")
        return int(text)

    def _end(self, code: int, reason: str) -> None:
        self.close(code, reason.encode()[:120].decode(errors="ignore"))
