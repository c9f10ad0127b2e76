"""How commands print, and wait for tasks."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Any

import click

from gan_lab.errors import TaskCancelled, TaskFailed

EXIT_INTERRUPTED = 130


def refuse(sentence: str, status: int) -> int:
    """Say on standard error what was wrong and return the exit status."""
    click.echo(sentence, err=True)
    return status


def print_json(value: Any) -> None:
    """Print a value for programs."""
    click.echo(json.dumps(value, indent=2, default=str))


def finish(runs: Sequence[Any], detach: bool, as_json: bool, many: bool = False) -> int:
    """Wait for the tasks unless told not to, print where they stand, return the exit status."""
    from gan_lab import terminal
    from gan_lab.cluster.queue import warn_when_lost

    try:
        if not detach:
            with warn_when_lost(runs):
                if as_json:  # and nothing else
                    wait_silently(runs)
                else:
                    terminal.watch(runs)
    except KeyboardInterrupt:
        ids = " and ".join(f"`gan-lab watch {run.task_id}`" for run in runs if not run.final)
        click.echo(f"\nThe work goes on without you. Come back with {ids}.", err=True)
        return EXIT_INTERRUPTED
    statuses = [run.status() for run in runs]
    if as_json:
        listed = [status.model_dump(mode="json") for status in statuses]
        print_json(listed if many else listed[0])
    elif detach:
        for run in runs:
            click.echo(f"{run.task_id} {run.spec.kind}" if many else run.task_id)
    return 0 if detach else outcome(runs, as_json)


def wait_silently(runs: Sequence[Any]) -> None:
    """Wait until the tasks have ended, well or not, and print nothing."""
    from gan_lab.wire.follow import follow

    deque(chain.from_iterable(map(follow, runs)), maxlen=0)


def outcome(runs: Sequence[Any], as_json: bool) -> int:
    """Return the exit status of tasks that have ended; print their results or the first failure."""
    for run in runs:
        try:
            result = run.raise_for_end()
        except (TaskFailed, TaskCancelled) as error:
            return refuse(str(error), error.exit_status)
        if not as_json:
            said = dict(result or {})
            if not said.get("epochs_completed"):  # trees have none
                said.pop("epochs_completed", None)
            print_facts({run.spec.kind: said})
    return 0


def print_facts(facts: dict[str, Any], indent: str = "") -> None:
    """Print names and values for people, a line each; what is not known is left out."""
    from gan_lab.terminal import figure

    for name, value in facts.items():
        if isinstance(value, dict):
            click.echo(f"{indent}{name.replace('_', ' ')}")
            print_facts(value, indent + "  ")
        elif value is not None:
            click.echo(f"{indent}{name.replace('_', ' '):<{26 - len(indent)}} {figure(value)}")
