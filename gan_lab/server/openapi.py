"""The OpenAPI document, made from the same routes and models that answer."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gan_lab import __version__
from gan_lab.server.messages import Refusal
from gan_lab.server.operation import LabHandler, Operation

REFERENCE = "#/components/schemas/{model}"
DESCRIPTION = """The same lab over HTTP, behind the login of Jupyter: send its token as
`Authorization: token ...` or `?token=...`. Follow a task at the `websocket_url` of its answer, with
`?from=SEQ` to go on behind event SEQ after a reconnection: one JSON object per message, `type` is
`connected`, `progress` (an event), or `closing` (with `reason`); then closed with 1000, 4404 for an
unknown task, 4408 for a reader that is too slow."""
MACHINE_ID = {"type": "string", "pattern": "^[a-z][a-z0-9]*(_[a-z0-9]+)*$"}
PARAMETERS = {
    "machine_id": MACHINE_ID | {"minLength": 3, "maxLength": 64},
    "task_id": {"type": "string", "format": "uuid"},
}


def document(routes: dict[str, type[LabHandler]], base_url: str) -> dict[str, Any]:
    """Describe the routes of a server."""
    operations = [o for handler in routes.values() for o in handler.operations().values()]
    named = [kind for o in operations for kind in (o.answer, *get_args(o.answer), o.body)]
    models = dict.fromkeys(kind for kind in (Refusal, *named) if _is_model(kind))
    wanted = [(model, "validation") for model in models]
    _, definitions = models_json_schema(wanted, ref_template=REFERENCE)  # type: ignore[arg-type]
    token = {"type": "apiKey", "in": "header", "name": "Authorization"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "gan_lab", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": base_url.rstrip("/") or "/"}],
        "security": [{"token": []}],
        "paths": {path: _path(path, handler) for path, handler in routes.items()},
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "token": token | {"description": "The word token, a space, the token"}
            },
        },
    }


def _path(path: str, handler: type[LabHandler]) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", path)
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": PARAMETERS[name]}
            for name in names
        ],
        **{method: _operation(o) for method, o in handler.operations().items()},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {str(operation.status): _answer(operation)}
        | {str(status): _refusal(status) for status in (403, *operation.errors)},
    }
    if operation.query:
        described["parameters"] = _query(operation.query)
    if operation.body:
        content = {"application/json": {"schema": _schema(operation.body)}}
        described["requestBody"] = {"content": content, "required": False}
    if operation.uploads:
        content = {kind: {"schema": {"type": "string"}} for kind in operation.uploads}
        described["requestBody"] = {"content": content, "required": True}
    return described


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.answer == "text/html":
        content = {"text/html": {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": _schema(operation.answer)}}
    return {"description": HTTPStatus(operation.status).phrase, "content": content}


def _refusal(status: int) -> dict[str, Any]:
    content = {"application/json": {"schema": _schema(Refusal)}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _schema(kind: Any) -> dict[str, Any]:
    if _is_model(kind):
        return {"$ref": REFERENCE.format(model=kind.__name__)}
    if getattr(kind, "__origin__", None) is list:
        return {"type": "array", "items": _schema(get_args(kind)[0])}
    return {"type": "object"}


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    properties = model.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "schema": how} for name, how in properties.items()]
