"""One operation of the API: guarded by Jupyter's login, and described where it is defined."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial, wraps
from http import HTTPStatus
from typing import Any, TypeVar, cast

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from pydantic import BaseModel, ValidationError
from tornado import web

from gan_lab.errors import BadParameter, GanLabError, TooLarge, validation_problems
from gan_lab.server.shared import Shared

METHODS = ("get", "post", "delete")
NOT_OURS = {"token", "_xsrf", "no_track_activity"}  # parameters of Jupyter itself


@dataclass(frozen=True)
class Operation:
    """What the OpenAPI document says of one method of one path."""

    summary: str
    answer: Any
    status: int = 200
    body: type[BaseModel] | None = None
    uploads: tuple[str, ...] = ()
    query: type[BaseModel] | None = None
    errors: tuple[int, ...] = field(default=())


class Refused(web.HTTPError):
    """One of our errors on its way to the client."""

    def __init__(self, error: GanLabError) -> None:
        super().__init__(error.http_status)
        self.error = error


Method = Callable[..., Awaitable[None]]
Query = TypeVar("Query", bound=BaseModel)


def operation(summary: str, answer: Any, **more: Any) -> Callable[[Method], Method]:
    """Ask Jupyter's login and authorizer before a method, translate our errors behind it."""

    def decorate(method: Method) -> Method:
        @web.authenticated
        @authorized
        @wraps(method)
        async def guarded(self: LabHandler, *arguments: str) -> None:
            self.reached = True
            try:
                await method(self, *arguments)
            except GanLabError as error:
                raise Refused(error) from None

        guarded.operation = Operation(summary, answer, **more)  # type: ignore[attr-defined]
        return cast("Method", guarded)

    return decorate


@web.stream_request_body
class LabHandler(APIHandler):
    """What our handlers share: a body that is looked at while it comes, and answers in JSON.

    `body_limit` is in bytes; nothing beyond it is kept.
    """

    auth_resource = "gan_lab"
    body_limit = 1_000_000
    received = 0
    reached = False

    @classmethod
    def operations(cls) -> dict[str, Operation]:
        """Return what each HTTP method of this handler does."""
        methods = {name: getattr(cls, name) for name in METHODS}
        return {n: m.operation for n, m in methods.items() if hasattr(m, "operation")}

    @property
    def shared(self) -> Shared:
        """The threads, the events and the tasks of this server."""
        return cast("Shared", self.settings["gan_lab_shared"])

    async def prepare(self) -> None:  # type: ignore[override]
        """Let in who may come in; refuse what announces itself as too large."""
        self.body = bytearray()
        await super().prepare()
        if self.current_user is None:
            raise web.HTTPError(403)  # here too: nobody unknown may send a body
        announced = self.request.headers.get("Content-Length", "0")
        if announced.isdigit() and int(announced) > self.body_limit:
            raise Refused(self._too_large())

    def data_received(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        self.received += len(chunk)
        if self.received <= self.body_limit:
            self.keep(chunk)

    def keep(self, chunk: bytes) -> None:
        """Put a piece of the body where it belongs."""
        self.body += chunk

    def check_size(self) -> None:
        """Raise `TooLarge` if there was more body than is kept."""
        if self.received > self.body_limit:
            raise self._too_large()

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The body is larger than {self.body_limit / 1e6:g} MB, the most that is taken here."
        )

    def read_body(self, model: type[BaseModel]) -> dict[str, Any]:
        """Return the fields that were given; raises `BadParameter` naming all that is wrong."""
        self.check_size()
        try:
            given = json.loads(bytes(self.body).strip() or b"{}", parse_float=_number)
            text = json.dumps(given, allow_nan=False)
            fields = model.model_validate_json(text, strict=True).model_dump(exclude_unset=True)
        except ValidationError as error:
            wrong = "; ".join(validation_problems(error))
            raise BadParameter(f"The body cannot be used: {wrong}.") from None
        except (ValueError, RecursionError) as error:
            raise BadParameter(f"The body is not JSON of finite numbers: {error}.") from None
        return fields

    def read_query(self, model: type[Query]) -> Query:
        """Return the parameters of the URL; raises `BadParameter` naming all that is wrong."""
        given = {name: self.get_query_arguments(name) for name in self.request.query_arguments}
        ours = {n: v[0] if len(v) == 1 else v for n, v in given.items() if n not in NOT_OURS}
        try:
            return model.model_validate(ours)
        except ValidationError as error:
            wrong = "; ".join(validation_problems(error))
            raise BadParameter(f"The URL's parameters cannot be used: {wrong}.") from None

    async def read(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run what only reads folders, off the loop."""
        return await self._run(self.shared.records, function, *arguments, **options)

    async def ask(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run what may wait for a service, off the loop."""
        return await self._run(self.shared.cluster, function, *arguments, **options)

    async def _run(self, pool: Executor, function: Callable[..., Any], *a: Any, **o: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(function, *a, **o))

    def answer(self, value: Any, status: int = 200) -> None:
        """Answer with a model, a list of models or plain JSON."""
        self.set_status(status)
        self.finish(json.dumps(value, default=_plain))

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
            allowed = [name.upper() for name in [*self.operations(), "options"]]
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
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
