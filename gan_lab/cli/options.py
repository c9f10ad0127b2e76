"""Options of commands; those of a task are the fields of its configuration."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from gan_lab.schema import CONFIGS

Command = Callable[..., Any]
NAMES = {
    "failure_modes": "failure_mode",
    "states": "state",
    "conditions": "condition",
    "model_task_id": "model",
}


class Share(click.ParamType):
    """One `NAME=0.3` of a mapping of shares."""

    name = "name=share"

    def convert(self, value: Any, *_: Any) -> tuple[str, float]:
        """Return the name and the share."""
        name, _, share = value.partition("=")
        try:
            return name, float(share)
        except ValueError:
            self.fail(f"Cannot read the share {value!r}: write it as NAME=0.3.")


class Asked(click.ParamType):
    """One condition: `NAME=VALUE`, `NAME=LOW..HIGH` or shares, `NAME=VALUE:0.2,VALUE:0.8`."""

    name = "column=condition"

    def convert(self, value: Any, *_: Any) -> tuple[str, Any]:
        """Return the column and what is asked of it; values stay text, which a model reads."""
        name, _, wanted = value.partition("=")
        low, between, high = wanted.partition("..")
        if not wanted:
            self.fail(f"Cannot read {value!r}: write it as NAME=VALUE, NAME=LOW..HIGH or shares.")
        if between:
            return name, (low, high)
        shares = [part.rpartition(":") for part in wanted.split(",")]
        with suppress(ValueError):
            if all(each for each, _, _ in shares):
                return name, {each: float(share) for each, _, share in shares}
        return name, wanted


class Whole(click.ParamType):
    """Whole numbers separated by commas."""

    name = "n,n,..."

    def convert(self, value: Any, *_: Any) -> tuple[int, ...]:
        """Return the numbers."""
        try:
            return tuple(int(number) for number in value.split(","))
        except ValueError:
            self.fail(f"Cannot read {value!r}: write whole numbers with commas between them.")


def config_options(kind: str) -> Callable[[Command], Command]:
    """Add an option for each field of a task's configuration; what is not given is None."""

    def add(command: Command) -> Command:
        for name, field in reversed(CONFIGS[kind].model_fields.items()):
            options = _option(field.annotation)
            option = NAMES.get(name, name).replace("_", "-")
            flags = f"--{option}/--no-{option}" if options.get("is_flag") else f"--{option}"
            about = field.description or ""
            if field.default is not None:
                about += f"  [default: {field.default}]"
            command = click.option(flags, name, default=None, help=about, **options)(command)
        return command

    return add


def _option(annotation: Any) -> dict[str, Any]:
    """Return what click has to know of a field of this type."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _option(inner[0])
    if origin in (Union, UnionType):  # T | None
        return _option(inner[0])
    if origin is Literal:
        return {"type": click.Choice(inner)}
    if origin is dict:
        kind = Share() if inner[1] is float else Asked()
        return {"type": kind, "multiple": True, "callback": lambda *given: dict(given[-1])}
    if origin is tuple:
        return {"type": Whole() if Ellipsis in inner else inner}
    return {"is_flag": True} if annotation is bool else {"type": annotation}


def task_options(command: Command) -> Command:
    """Add what every command that starts tasks understands."""
    command = click.option("--json", "as_json", is_flag=True, help="Print a TaskStatus.")(command)
    return click.option("--detach", is_flag=True, help="Return at once with the task id.")(command)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given; the others keep the library's defaults."""
    return {name: value for name, value in options.items() if value is not None and value != {}}
