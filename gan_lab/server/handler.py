"""The one handler of the API: guarded by Jupyter's login, it does what the table of routes says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, cast

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from pydantic import BaseModel, ValidationError
from tornado import web

from gan_lab.errors import BadParameter, GanLabError, TooLarge, validation_problems
from gan_lab.server.messages import Accepted
from gan_lab.server.openapi import Route
from gan_lab.server.routes import Request
from gan_lab.workspace.profiles import Profile

NOT_OURS = {"token", "_xsrf", "no_track_activity"}  # parameters of Jupyter itself
MAX_BODY_BYTES = 1_000_000  # of a table as much as the Jupyter server takes
# A page made from somebody's data may not act as the person who reads it.
SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# What waits for a cluster that starts keeps no thread from those who only look.
HANDING_OVER = ThreadPoolExecutor(8, thread_name_prefix="hand-over")


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
        try:
            await self.perform(name)
        except GanLabError as error:
            raise Refused(error) from None

    return cast("Callable[..., Awaitable[None]]", guarded)


class ApiHandler(APIHandler):
    """One path of the API, its routes by their HTTP method; a path without any is not found."""

    auth_resource = "gan_lab"
    get, post, delete = _method(), _method(), _method()

    def initialize(self, routes: dict[str, Route]) -> None:
        """Take the routes of the path."""
        self.routes = routes

    async def prepare(self) -> None:  # type: ignore[override]
        """Let in who may come in, to a path and a method that there is."""
        await super().prepare()
        if self.current_user is None:
            raise web.HTTPError(403)  # also where there is nothing
        if not self.routes:
            raise web.HTTPError(404, "There is nothing here: see /api/gan/openapi.json.")
        if str(self.request.method).lower() not in (*self.routes, "options"):
            raise web.HTTPError(405)

    async def perform(self, name: str) -> None:
        """Read the request, call the library in a thread, and answer."""
        route = self.routes[str(self.request.method).lower()]
        query = self._read_query(route.query) if route.query else {}
        request = Request(self.base_url, name, query, self._read_body(route.body))
        pool = HANDING_OVER if route.method == "post" else None
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(pool, route.call, request)
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
        """Return the fields that were given, or a table or a profile (YAML) as it came."""
        data = self.request.body
        if expected is bytes:
            return data
        if len(data) > MAX_BODY_BYTES:
            raise TooLarge(f"The body is larger than {MAX_BODY_BYTES / 1e6:g} MB.")
        if expected in (None, Profile):
            return data
        try:
            text = json.dumps(json.loads(data.strip() or b"{}"), allow_nan=False)
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
        self.finish(json.dumps(answer))


def _plain(value: Any) -> Any:
    """Return a model as JSON, without the fields of an answer that nobody set."""
    if not isinstance(value, BaseModel):
        return str(value)
    return value.model_dump(mode="json", exclude_unset=isinstance(value, Accepted))
