"""The one handler of the API: guarded by Jupyter's login, it does what the table of routes says."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, cast

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from pydantic import BaseModel, ValidationError
from tornado import web
from tornado.http1connection import HTTP1Connection

from gan_lab.errors import BadParameter, GanLabError, TooLarge, validation_problems
from gan_lab.server.messages import Accepted
from gan_lab.server.openapi import Route
from gan_lab.server.routes import Request
from gan_lab.server.shared import Shared
from gan_lab.settings import load_settings
from gan_lab.workspace.profiles import Profile

NOT_OURS = {"token", "_xsrf", "no_track_activity"}  # parameters of Jupyter itself
MAX_BODY_MB: dict[Any, float] = {Profile: 0.1}  # of others 1; of a table, the setting
# A page made from somebody's data may not act as the person who reads it.
SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Refused(web.HTTPError):
    """One of our errors on its way to the client."""

    def __init__(self, error: GanLabError) -> None:
        super().__init__(error.http_status)
        self.error = error


def _method() -> Callable[..., Awaitable[None]]:
    """Return an HTTP method: Jupyter's login and authorizer before it, our errors behind it."""

    @web.authenticated
    @authorized
    async def guarded(self: ApiHandler, name: str = "") -> None:
        self.reached = True
        try:
            await self.perform(name)
        except GanLabError as error:
            raise Refused(error) from None

    return cast("Callable[..., Awaitable[None]]", guarded)


@web.stream_request_body
class ApiHandler(APIHandler):
    """One path of the API, its routes by their HTTP method; a path without any is not found."""

    auth_resource = "gan_lab"
    get, post, delete = _method(), _method(), _method()
    reached = False
    received = 0
    folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, routes: dict[str, Route]) -> None:
        """Take the routes of the path."""
        self.routes = routes
        self.route = routes.get(str(self.request.method).lower())

    @property
    def shared(self) -> Shared:
        """The threads, the events and the tasks of this server."""
        return cast("Shared", self.settings["gan_lab_shared"])

    # ---- the body, looked at while it comes

    async def prepare(self) -> None:  # type: ignore[override]
        """Let in who may come in; refuse what announces itself as too large."""
        await super().prepare()
        if self.current_user is None:
            raise web.HTTPError(403)  # here too: nobody unknown may send a body
        if not self.routes:
            raise web.HTTPError(404, "There is nothing here: see /api/gan/openapi.json.")
        if self.route is None and self.request.method != "OPTIONS":
            raise web.HTTPError(405)
        expected = self.route.body if self.route else None
        self.limit = int(1e6 * MAX_BODY_MB.get(expected, 1))
        self.body: BinaryIO = io.BytesIO()
        if expected is bytes:
            self.limit = load_settings().upload_limit_mb * 1_000_000
            cast("HTTP1Connection", self.request.connection).set_max_body_size(self.limit + 1)
        announced = self.request.headers.get("Content-Length", "0")
        if announced.isdigit() and int(announced) > self.limit:
            raise Refused(self._too_large())
        if expected is bytes:
            self.folder = tempfile.TemporaryDirectory(prefix="gan-lab-upload-")
            self.body = (Path(self.folder.name) / "upload").open("wb")

    def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body; nothing beyond its limit is kept."""
        self.received += len(chunk)
        if self.received <= self.limit:
            self.body.write(chunk)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self.limit / 1e6:g} MB, the most taken here.")

    def on_finish(self) -> None:
        """Remove what was uploaded: what is kept of it lies in the workspace."""
        if self.folder is not None:
            self.body.close()
            self.folder.cleanup()
        super().on_finish()

    def on_connection_close(self) -> None:
        """Remove what came of an upload that broke off."""
        self.on_finish()
        super().on_connection_close()

    # ---- the answer

    async def perform(self, name: str) -> None:
        """Read the request, call the library in a thread, and answer."""
        route = cast("Route", self.route)
        if self.received > self.limit:
            raise self._too_large()
        query = self._read_query(route.query) if route.query else {}
        request = Request(self.base_url, name, query, self._read_body(route.body))
        pool = self.shared.cluster if route.waits else self.shared.records
        answer = await asyncio.get_running_loop().run_in_executor(pool, route.call, request)
        self.set_status(route.status)
        if route.answer is str:
            self.set_header("Content-Security-Policy", SANDBOX)
            self.finish(answer, set_content_type="text/html; charset=UTF-8")
        else:
            self.finish(json.dumps(answer, default=_plain))

    def _read_query(self, model: type[BaseModel]) -> dict[str, Any]:
        given = {name: self.get_query_arguments(name) for name in self.request.query_arguments}
        ours = {n: v[0] if len(v) == 1 else v for n, v in given.items() if n not in NOT_OURS}
        try:
            return model.model_validate(ours).model_dump(exclude_unset=True)
        except ValidationError as error:
            wrong = "; ".join(validation_problems(error))
            raise BadParameter(f"The URL's parameters cannot be used: {wrong}.") from None

    def _read_body(self, expected: Any) -> Any:
        """Return the fields that were given, a table's path, or a profile as it came (YAML)."""
        if expected is bytes:
            self.body.close()
            return Path(self.body.name)
        data = cast("io.BytesIO", self.body).getvalue()
        if expected in (None, Profile):
            return data
        try:
            given = json.loads(data.strip() or b"{}", parse_float=_number)
            text = json.dumps(given, allow_nan=False)
            return expected.model_validate_json(text, strict=True).model_dump(exclude_unset=True)
        except ValidationError as error:
            wrong = "; ".join(validation_problems(error))
            raise BadParameter(f"The body cannot be used: {wrong}.") from None
        except (ValueError, RecursionError) as error:
            raise BadParameter(f"The body is not JSON of finite numbers: {error}.") from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer `{"message", "reason"}`, whatever went wrong."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        phrase = HTTPStatus(status_code).phrase
        answer: dict[str, Any] = {
            "message": getattr(error, "log_message", None) or f"{phrase}.",
            "reason": phrase.lower().replace(" ", "_"),
        }
        if isinstance(error, Refused):
            answer = {"message": str(error.error), "reason": error.error.reason}
            if problems := getattr(error.error, "problems", None):
                answer["problems"] = problems
        elif status_code >= 500:
            answer["message"] = "Something unexpected happened here; the server's log tells what."
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = [name.upper() for name in (*self.routes, "options")]
            self.set_header("Allow", ", ".join(allowed))
            answer["message"] = f"{self.request.method} is not possible here: use {allowed[0]}."
        if not self.reached:
            self.set_header("Connection", "close")  # refused before the body was read
        self.finish(json.dumps(answer))


def _number(text: str) -> float:
    """Read 300.0 as the integer it is in JSON."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _plain(value: Any) -> Any:
    """Return a model as JSON, without the fields of an answer that nobody set."""
    if not isinstance(value, BaseModel):
        return str(value)
    return value.model_dump(mode="json", exclude_unset=isinstance(value, Accepted))
