"""Options of commands; those of a task are the fields of its configuration."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

Command = Callable[..., Any]
BOUNDS = {
    "ge": ("from", operator.ge),
    "gt": ("above", operator.gt),
    "le": ("up to", operator.le),
    "lt": ("below", operator.lt),
}
NAMES = {
    "failure_modes": "failure_mode",
    "states": "state",
    "conditions": "condition",
    "model_task_id": "model",
}


def share(text: str) -> tuple[str, float]:
    """Return the name and the share of one `NAME=0.3`."""
    name, _, number = text.partition("=")
    with suppress(ValueError):
        return name, float(number)
    raise click.BadParameter(f"Cannot read the share {text!r}: write it as NAME=0.3.")


def condition(text: str) -> tuple[str, Any]:
    """Return a column and what is asked of it; values stay text, which a model reads.

    `NAME=VALUE`, `NAME=LOW..HIGH` or shares, `NAME=VALUE:0.2,VALUE:0.8`.
    """
    name, _, wanted = text.partition("=")
    low, between, high = wanted.partition("..")
    if not wanted:
        form = "NAME=VALUE, NAME=LOW..HIGH or shares"
        raise click.BadParameter(f"Cannot read {text!r}: write it as {form}.")
    if between:
        return name, (low, high)
    shares = [part.rpartition(":") for part in wanted.split(",")]
    with suppress(ValueError):
        if all(each for each, _, _ in shares):
            return name, {each: float(number) for each, _, number in shares}
    return name, wanted


def numbers(text: str) -> tuple[int, ...]:
    """Return whole numbers that are separated by commas."""
    with suppress(ValueError):
        return tuple(map(int, text.split(",")))
    raise click.BadParameter(f"Cannot read {text!r}: write whole numbers with commas between them.")


class Number(click.ParamType):
    """A number between the bounds in the metadata of a field; `example` is one such."""

    def __init__(self, kind: type[float], metadata: Sequence[Any], example: Any = None) -> None:
        self.kind, self.name = kind, "integer" if kind is int else "number"
        self.bounds = [
            (*BOUNDS[name], getattr(each, name))
            for each in metadata
            for name in BOUNDS
            if hasattr(each, name)
        ]
        self.example = "" if example is None else f", such as {example}"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Read a number; what is refused is told what is allowed."""
        with suppress(ValueError):
            number = self.kind(value)
            if all(holds(number, limit) for _, holds, limit in self.bounds):
                return number
        allowed = " and ".join(f"{word} {limit:,}" for word, _, limit in self.bounds)
        wanted = f"Give {'a whole' if self.kind is int else 'a'} number {allowed}".rstrip()
        self.fail(f"{value!r} will not do. {wanted}{self.example}.", param, ctx)


def config_options(model: type[BaseModel]) -> Callable[[Command], Command]:
    """Add an option for each field of a configuration; what is not given is None."""

    def add(command: Command) -> Command:
        for name, field in reversed(model.model_fields.items()):
            options = _option(field.annotation)
            if options.get("type") in (int, float):
                example = None if field.default is PydanticUndefined else field.default
                options["type"] = Number(options["type"], field.metadata, example)
            option = NAMES.get(name, name).replace("_", "-")
            flags = f"--{option}/--no-{option}" if options.get("is_flag") else f"--{option}"
            about = field.description or ""
            if field.default not in (None, False):
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
        parse, form = (share, "NAME=SHARE") if inner[1] is float else (condition, "NAME=CONDITION")
        many = {"multiple": True, "callback": lambda *given: dict(given[-1])}
        return {"type": parse, "metavar": form, **many}
    if origin is tuple:
        return {"type": numbers, "metavar": "N,N,..."} if Ellipsis in inner else {"type": inner}
    if origin is list:
        return {"type": str, "metavar": "NAME,..."}
    return {"is_flag": True} if annotation is bool else {"type": annotation}


def task_options(command: Command) -> Command:
    """Add what every command that starts tasks understands."""
    command = click.option("--json", "as_json", is_flag=True, help="Print a TaskStatus.")(command)
    return click.option("--detach", is_flag=True, help="Return at once with the task id.")(command)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given; the others keep the library's defaults."""
    return {name: value for name, value in options.items() if value is not None and value != {}}
