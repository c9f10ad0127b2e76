"""One operation of the API as a row of a table, and the OpenAPI document made from such rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter

from gan_lab import __version__
from gan_lab.server.messages import Refusal
from gan_lab.workspace.profiles import MACHINE_ID

DESCRIPTION = """The same lab over HTTP, behind the login of Jupyter: send its token as
`Authorization: token ...` or `?token=...`. Follow a task at the `websocket_url` of its answer, with
`?from=SEQ` to go on behind event SEQ after a reconnection: one JSON object per message, `type` is
`connected`, `progress` (an event), or `closing` (with `reason`); then closed with 1000, or 4404
for an unknown task."""
PARAMETERS = {
    "machine_id": {"type": "string", "pattern": MACHINE_ID, "minLength": 3, "maxLength": 64},
    "task_id": {"type": "string", "format": "uuid"},
}
TOKEN = {"type": "apiKey", "in": "header", "name": "Authorization"}
TABLES = ("text/csv", "application/vnd.apache.parquet")


@dataclass(frozen=True)
class Route:
    """One method of one path: what it is answered by, and with what.

    `call` takes a `Request` and runs in a thread. `answer` is a type; `str` is a page of HTML.
    `body` is a model, whose fields arrive as JSON; `bytes` is a table. `query`: the model of the
    URL's parameters.
    """

    method: str
    path: str
    summary: str
    call: Callable[..., Any]
    answer: Any
    status: int = 200
    body: Any = None
    query: type[BaseModel] | None = None

    @property
    def refusals(self) -> list[int]:
        """The statuses with which it may be refused."""
        found = [403, 422, 503]
        found += [404] if "{" in self.path else []
        return [*found, 409, 413] if self.body else found


def document(routes: Sequence[Route], base_url: str) -> dict[str, Any]:
    """Describe the routes of a server."""
    types = dict.fromkeys([Refusal, *(r.answer for r in routes), *(r.body for r in routes)])
    schemas, definitions = TypeAdapter.json_schemas(
        [(one, "validation", TypeAdapter(one)) for one in types if one not in (None, str, bytes)],
        ref_template="#/components/schemas/{model}",
    )
    known = {one: schema for (one, _), schema in schemas.items()}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        names = re.findall(r"\{(\w+)\}", route.path)
        path = paths.setdefault(route.path, {"parameters": [_parameter(name) for name in names]})
        path[route.method] = _operation(route, known)
    token = TOKEN | {"description": "The word token, a space, the token"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "gan_lab", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": base_url.rstrip("/") or "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": definitions["$defs"], "securitySchemes": {"token": token}},
    }


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": PARAMETERS[name]}


def _operation(route: Route, known: dict[Any, Any]) -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    answer = {"text/html": text} if route.answer is str else _json(known[route.answer])
    described: dict[str, Any] = {
        "summary": route.summary,
        "responses": {str(route.status): _response(route.status, answer)}
        | {str(code): _response(code, _json(known[Refusal])) for code in route.refusals},
    }
    if route.query:
        properties = route.query.model_json_schema()["properties"].items()
        described["parameters"] = [
            {"name": name, "in": "query", "schema": schema} for name, schema in properties
        ]
    if route.body is bytes:
        described["requestBody"] = {"content": dict.fromkeys(TABLES, text), "required": True}
    elif route.body:
        described["requestBody"] = {"content": _json(known[route.body])}
    return described


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _response(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": content}
