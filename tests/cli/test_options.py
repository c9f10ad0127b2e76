"""The options of the commands that start tasks: the fields of the tasks' configurations."""

from __future__ import annotations

from typing import Any, get_args

import click
import pytest

from gan_lab.cli import cli
from gan_lab.cli.options import given
from gan_lab.schema import CONFIGS, Kind, configure


def command_of(name: str) -> click.Command:
    """The command of this name."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def parsed(command: str, *arguments: str) -> dict[str, Any]:
    """The options that a command passes on."""
    context = command_of(command).make_context(command, ["press", *arguments])
    others = ("machine_id", "file", "out", "report", "detach", "as_json")
    return given({name: value for name, value in context.params.items() if name not in others})


def test_every_command_of_the_list_is_there_under_its_name() -> None:
    names = cli.list_commands(click.Context(cli))
    assert len(names) == len(set(names))
    for name in names:
        assert command_of(name).name == name and command_of(name).help


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_field_is_an_option_that_says_what_it_is(kind: str) -> None:
    options = {option.name: option for option in command_of(kind).params}
    for name in CONFIGS[kind].model_fields:
        option = options[name]
        assert isinstance(option, click.Option) and option.help
    files = [__file__] if kind == "prognose" else []
    assert parsed(kind, *files) == {}  # the library's own defaults count


def test_what_is_given_is_a_configuration() -> None:
    seed = parsed("seed", "--failure-mode", "bearing=0.3", "--failure-mode", "winding=0.2")
    assert seed == {"failure_modes": {"bearing": 0.3, "winding": 0.2}}
    options = ["--model", "tabular", "--compress-dims", "8,16", "--no-early-stopping"]
    train = configure("train", parsed("train", *options, "--epochs", "3", "--l2scale", "1e-4"))
    assert (train.model, train.compress_dims, train.early_stopping) == ("tabular", (8, 16), False)
    assert (train.epochs, train.max_steps, train.l2scale) == (3, 0, 1e-4)
    options = ["--failure-mode", "bearing=0.3", "--model", "1c9c21a4", "--state", "idle=0.5"]
    generate = configure("generate", parsed("generate", *options, "--lives", "9"))
    assert generate.asked == {"failure_modes": {"bearing": 0.3}, "states": {"idle": 0.5}}
    options = ["--condition", "torque=40..60", "--condition", "Type=L:0.2,H:0.8"]
    generate = configure("generate", parsed("generate", *options, "--condition", "fails=1"))
    shares = {"L": 0.2, "H": 0.8}
    assert generate.asked == {"torque": ("40", "60"), "Type": shares, "fails": "1"}
    generate = configure("generate", parsed("generate", "--model", "1c9c21a4", "--lives", "9"))
    assert (generate.model_task_id, generate.lives) == ("1c9c21a4", 9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["seed", "--failure-mode", "idle"], "'idle': write it as NAME=0.3"),
        (["train", "--compress-dims", "8,x"], "'8,x': write whole numbers"),
        (["train", "--model", "forest"], "'forest'"),
        (["generate", "--lives", "many"], "--lives"),
        (["generate", "--condition", "torque"], "'torque': write it as NAME=VALUE"),
    ],
)
def test_what_cannot_be_read_is_said(arguments: list[str], words: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        parsed(*arguments)
    assert words in refused.value.format_message()
