"""The command for many machines over night, or for one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from gan_lab.cli.options import given
from gan_lab.cli.show import EXIT_INTERRUPTED, print_json
from gan_lab.errors import GanLabError

if TYPE_CHECKING:
    from gan_lab.notebook.fleet.fleet import Fleet
    from gan_lab.notebook.fleet.rows import Row


@click.command()
@click.argument("machines", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every machine.")
@click.option(
    "-p", "--parameter", "parameters", nargs=2, multiple=True, help="NAME VALUE; repeatable."
)
@click.option(
    "--notebook", help="Notebook with a parameters cell.  [default: notebooks/machine.ipynb]"
)
@click.option("--at-once", type=int, help="Notebooks at the same time.  [default: workers + 1]")
@click.option(
    "--resume", "resumed", metavar="FLEET", help="Run again what did not end well ('last')."
)
@click.option("--detach", is_flag=True, help="Return at once with the fleet's id.")
@click.option("--json", "as_json", is_flag=True, help="Print one object per machine.")
def fleet(machines: tuple[str, ...], detach: bool, as_json: bool, **options: Any) -> int:
    """Run a notebook for many machines: ids, patterns such as 'motor_*', or --all.

    Without a machine it shows the newest fleet.
    """
    import gan_lab as lab

    everything, resumed = map(options.pop, ("everything", "resumed"))
    if resumed:
        found = lab.resume_fleet(resumed)
    elif wanted := ["*"] if everything else list(machines):
        parameters = {name: _value(text) for name, text in options.pop("parameters")}
        found = lab.run_fleet(wanted, parameters=parameters, **given(options))
    else:
        found = lab.fleet()
    if detach:
        click.echo(found.fleet_id)
        return 0
    return show_fleet(found, as_json)


def _value(text: str) -> Any:
    """A parameter's value as JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def show_fleet(found: Fleet, as_json: bool = False) -> int:
    """Show a fleet until it has ended; return 1 where a machine did not end well, else 0."""
    if as_json:
        rows = found.wait().rows()
        print_json(found.status().to_dict("records"))
    else:
        try:
            rows = _watch(found)
        except KeyboardInterrupt:
            back, end = (f"`gan-lab {verb} {found.fleet_id}`" for verb in ("watch", "cancel"))
            words = f"\nThe fleet goes on without you. Come back with {back}; {end} ends it."
            click.echo(words, err=True)
            return EXIT_INTERRUPTED
    return 0 if all(row.state == "done" for row in rows) else 1


def _watch(fleet: Fleet) -> list[Row]:
    """Print what each machine says, on a terminal the state of the whole below it; at the end what
    needs a person, and of one machine what to do next."""
    from gan_lab.notebook.card import clock
    from gan_lab.terminal import console

    screen, said = console(), dict[str, str]()
    count = len(fleet.plan.machines)
    screen.print(f"Fleet {fleet.fleet_id}: {count} notebook{'s' if count > 1 else ''}")
    with screen.status("") as status:
        for rows in fleet.follow():
            at_work = [_line(row) for row in rows if row.state == "running"]
            status.update("\n".join([f"{fleet.summary()}, {clock(fleet.seconds)}", *at_work]))
            for row in rows:
                below = screen.is_terminal and row.state == "running"
                if row.state != "waiting" and not below and said.get(row.machine_id) != _line(row):
                    said[row.machine_id] = _line(row)
                    screen.print(_line(row), soft_wrap=True)
    tone = "red" if any(row.needs for row in rows) else "green"
    screen.print(fleet.headline(), style=tone, soft_wrap=True)
    if fleet.report.exists():
        screen.print(f"Report: {fleet.report}", soft_wrap=True)
    if any(row.state != "done" for row in rows):
        screen.print(f"Go on with `gan-lab fleet --resume {fleet.fleet_id}`.", soft_wrap=True)
    elif len(rows) == 1:
        click.echo(f"\n{what_next(rows[0])}")
    return rows


def _line(row: Row) -> str:
    what = row.message if row.state == "running" else f"{row.state} {row.message}"
    return escape(f"{row.machine_id:<24} {what}".rstrip())


def find(fleet_id: str) -> Fleet | None:
    """Return the fleet of this id; None where it is the id of something else."""
    import gan_lab as lab

    with suppress(GanLabError):
        return lab.fleet(fleet_id)
    return None


def _program() -> str:
    """Return how this shell finds the program: `make demo` calls it in a folder off the PATH."""
    called = Path(sys.argv[0])
    if called.name != "gan-lab" or shutil.which("gan-lab"):
        return "gan-lab"
    return os.path.relpath(called)


def what_next(row: Row) -> str:
    """Say what a machine's notebook has come to, and what a person does next."""
    from gan_lab.workspace.run_folder import REPORT_HTML

    reports = [run for run in row.runs if run.spec.kind == "report"]
    steps = {
        "Verdict": row.figures["finding"],
        "Read the report": (reports[-1].path / REPORT_HTML).as_uri() if reports else None,
        "See the notebook": row.notebook,
        "Go on in JupyterLab": f"{_program()} lab",
        "Draw more lives": f"{_program()} generate {row.machine_id} --lives 200",
    }
    return "\n".join(f"{what + ':':<21}{where}" for what, where in steps.items() if where)
