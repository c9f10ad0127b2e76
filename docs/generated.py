"""Pages that are made of the code, so that they cannot differ from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from gan_lab.schema import CONFIGS
from gan_lab.server.openapi import document
from gan_lab.server.routes import ROUTES
from gan_lab.settings import Settings

DEFAULTS = {"home": "nearest parent with its folders", "workers": "cores"}


def write(folder: Path) -> None:
    """Write all of them as Markdown, to be included by the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"settings": settings(), "options": options(), "rest": rest()}
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text + "\n")


def settings() -> str:
    """Return every setting with its default and its meaning."""
    names = {
        "scheduler_address": "DASK_SCHEDULER_ADDRESS",
        "mlflow_tracking_uri": "MLFLOW_TRACKING_URI",
    }
    rows = [
        (f"`{names.get(name, 'GAN_LAB_' + name.upper())}`", _default(name, field), _about(field))
        for name, field in Settings.model_fields.items()
    ]
    return table(("setting", "default", "what it does"), rows)


def _default(name: str, field: Any) -> str:
    if name in DEFAULTS or field.default in (None, "", PydanticUndefined):
        return DEFAULTS.get(name, "")
    return f"`{field.default}`"


def _about(field: Any) -> str:
    return (field.description or "").replace("|", r"\|").rstrip(".") + "."


def options() -> str:
    """Return the options of every kind of task, which Python, command line and REST share."""
    parts = []
    for kind, config in CONFIGS.items():
        parts.append(f"## {kind}\n\n{_fields(config)}")
    return "\n\n".join(parts)


def _fields(config: type[BaseModel]) -> str:
    rows = [
        (f"`{name}`", "" if field.default is None else f"`{field.default}`", _about(field))
        for name, field in config.model_fields.items()
    ]
    return table(("option", "default", "what it does"), rows)


def rest() -> str:
    """Return every call over HTTP, from the OpenAPI document."""
    parts = []
    for path, methods in document(ROUTES, "/")["paths"].items():
        for method, call in methods.items():
            if method != "parameters":
                parts.append(_call(method.upper(), path, call))
    return "\n\n".join(parts)


def _call(method: str, path: str, call: dict[str, Any]) -> str:
    text = f"## {method} {path}\n\n{call['summary']}"
    if query := call.get("parameters"):
        text += "\n\nIn the URL: " + ", ".join(f"`{each['name']}`" for each in query) + "."
    if body := call.get("requestBody"):
        text += f"\n\nBody: {_content(body['content'])}."
    good, *refusals = call["responses"].items()
    answer = _content(good[1]["content"])
    codes = ", ".join(code for code, _ in refusals)
    return f"{text}\n\nAnswer: {good[0]}, {answer}. Refusals: {codes}."


def _content(content: dict[str, Any]) -> str:
    kinds = []
    for kind, described in content.items():
        schema = described["schema"]
        name = schema.get("$ref") or schema.get("items", {}).get("$ref") or ""
        listed = "list of " if schema.get("type") == "array" else ""
        kinds.append(f"{kind}, {listed}`{name.rpartition('/')[2]}`" if name else kind)
    return " or ".join(kinds)


def table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
