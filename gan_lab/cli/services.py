"""Commands for the services and for whoever looks after them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gan_lab.cli.show import print_json
from gan_lab.settings import load_settings
from gan_lab.store import StorePath

LAYOUT = "gan-lab"  # among JupyterLab's workspaces; our server extension puts it there


@click.command()
@click.option("--workers", help="How many.  [default: GAN_LAB_WORKERS, else one per core]")
@click.option("--memory", help="What each may use, such as 4GB.  [default: GAN_LAB_WORKER_MEMORY]")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def up(workers: str | None, memory: str | None, as_json: bool) -> None:
    """Start the embedded services, or join those that run."""
    from gan_lab.cluster import services

    given = {"GAN_LAB_WORKERS": workers, "GAN_LAB_WORKER_MEMORY": memory}
    os.environ |= {name: value for name, value in given.items() if value}
    services.ensure_services()
    if differs := services.started_otherwise(load_settings()):
        click.echo(" ".join(differs), err=True)
    _show_services(as_json)
    _say_what_is_lost()


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask, also where tasks are running.")
def down(yes: bool) -> None:
    """End the embedded services of this workspace; on a terminal it asks where tasks run."""
    from gan_lab.cluster import services
    from gan_lab.workspace.runs import all_runs

    asks = not yes and sys.stdin.isatty() and services.find_client() is not None
    if asks and (running := sum(not run.final and run.lease.held for run in all_runs())):
        words = f"{running} {'tasks are' if running > 1 else 'task is'} running"
        click.confirm(f"{words}: `gan-lab resume --all` goes on later. End now?", abort=True)
    ended = services.stop_services()
    words = "The embedded services have ended." if ended else "No embedded services were running."
    click.echo(words)
    if ended and not load_settings().scheduler_address:
        _say_what_is_lost()


def _say_what_is_lost() -> None:
    from gan_lab.cluster.queue import lost
    from gan_lab.cluster.task_names import lost_sentences

    if missing := lost():
        click.echo(" ".join(lost_sentences(len(missing))), err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def status(as_json: bool) -> None:
    """Say which services run and where, what they are at, and how much room the runs take."""
    _show_services(as_json)


def _show_services(as_json: bool) -> None:
    from gan_lab.cluster.upkeep.overview import overview

    facts = overview(load_settings())
    if as_json:  # with the password: programs connect by it
        print_json(facts)
        return
    for name, value in _lines(facts):
        click.echo(f"{name:<12} {value}")


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from rich.filesize import decimal

    from gan_lab.cluster.services.scheduler import open_door

    yield "workspace", facts["home"]
    kept = f", since {facts['started'][:19]} (process {facts['pid']})" if facts["pid"] else ""
    yield "services", ("embedded" if facts["embedded"] else "of somebody else") + kept
    without = "not running; starts when needed" if facts["embedded"] else "none (GAN_LAB_REDIS_URL)"
    secret = re.sub(r"(?<=:)[^:@/]+(?=@)", "***", str(facts["redis_url"]))  # people pass this on
    yield "redis", _answer(secret, facts["redis_answers"]) if facts["redis_url"] else without
    address = facts["scheduler_address"]
    yield "scheduler", _answer(address, facts["scheduler_answers"]) if address else without
    if facts["scheduler_trouble"]:
        yield "", " ".join(facts["scheduler_trouble"])
    elif address and (door := open_door(address)):
        yield "", door
    if facts["scheduler_answers"]:
        memory = f"{decimal(facts['memory_bytes'])} of memory"
        there = f"{facts['workers']}, cores: {facts['cores']}, {memory}"
        starting = f"{facts['workers_starting']} starting" if facts["workers_starting"] else ""
        yield "workers", ", ".join(filter(None, (there if facts["workers"] else "", starting)))
    running, lost = facts["running"], facts["lost"]
    hint = " (`gan-lab resume --all` continues them)" if lost else ""
    waiting = " waiting or lost" if lost is None else f" waiting, {lost} lost{hint}"
    yield "tasks", f"{len(running)} running, {facts['queued']}{waiting}"
    for task in running:
        what = f"{task['kind']} {task['machine_id']} {task['task_id'][:8]}"
        yield "", f"{what} {task['progress']}%, {task['message']}"
    room, free = decimal(facts["runs_bytes"]), decimal(facts["disk_free_bytes"])
    yield "runs", f"{facts['runs']} in {room}, {free} are free"
    yield from facts["links"].items()


def _answer(address: str, answers: bool) -> str:
    return f"{address}, {'answers' if answers else 'does not answer'}"


@click.command("dask-config")
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Speak TLS by this file, which every host has at this path; made where there is none.",
)
def dask_config(certificate: Path | None) -> None:
    """Print what scheduler and workers of your own need, as a file for ~/.config/dask/."""
    import yaml

    from gan_lab.cluster.services.supervisor import config_of_cluster

    path = certificate and certificate.absolute()
    click.echo(yaml.safe_dump(config_of_cluster(path)), nl=False)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("jupyter_options", nargs=-1, type=click.UNPROCESSED)
def lab(jupyter_options: tuple[str, ...]) -> None:
    """Open JupyterLab: the first notebook, our page, the task stream and the workers.

    The services run; further options go to Jupyter.
    """
    from gan_lab.cluster import services

    settings = load_settings()
    services.ensure_services(settings)
    layout = f"--LabApp.default_url=/lab/workspaces/{LAYOUT}"
    command = [sys.executable, "-m", "jupyterlab", layout]
    if not isinstance(settings.home, StorePath):  # else notebooks lie where one stands
        command.append(f"--ServerApp.root_dir={settings.home}")
    if os.geteuid() == 0:  # as in containers; Jupyter's token guards it all the same
        command.append("--allow-root")
    environment = {**os.environ, "GAN_LAB_HOME": str(settings.home)}
    os.execve(sys.executable, [*command, *jupyter_options], environment)
