"""Commands for the services and for whoever looks after them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from gan_lab.cli.show import print_json
from gan_lab.settings import load_settings

LAYOUT = "gan-lab"  # the name of our layout among JupyterLab's workspaces


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def up(as_json: bool) -> None:
    """Start the embedded services, or join those that run."""
    from gan_lab.cluster import handover, services

    services.ensure_services()
    _show_services(as_json)
    if missing := handover.lost():
        click.echo(
            f"{len(missing)} tasks are lost: no cluster knows them. "
            "`gan-lab resume --all` continues them.",
            err=True,
        )


@click.command()
def down() -> None:
    """End the embedded services of this workspace."""
    from gan_lab.cluster import services

    ended = services.stop_services()
    click.echo(
        "The embedded services have ended." if ended else "No embedded services were running."
    )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def status(as_json: bool) -> None:
    """Say which services run, and where."""
    _show_services(as_json)


def _show_services(as_json: bool) -> None:
    from gan_lab.cluster import services

    facts = services.services_status()
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        shown = re.sub(r"(?<=:)[^:@/]+(?=@)", "***", str(value)) if name == "redis_url" else value
        click.echo(f"{name.replace('_', ' '):<20} {shown}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("jupyter_options", nargs=-1, type=click.UNPROCESSED)
def lab(jupyter_options: tuple[str, ...]) -> None:
    """Open JupyterLab: the first notebook, our page, the task stream and the workers.

    The services run; further options go to Jupyter.
    """
    from gan_lab.cluster import services

    settings = load_settings()
    services.ensure_services(settings)
    _save_layout()
    layout = f"--LabApp.default_url=/lab/workspaces/{LAYOUT}"
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={settings.home}", layout]
    environment = {**os.environ, "GAN_LAB_HOME": str(settings.home)}
    os.execve(sys.executable, [*command, *jupyter_options], environment)


def _save_layout() -> None:
    """Put our layout among the user's JupyterLab workspaces; one they have changed stays."""
    from jupyterlab.commands import get_workspaces_dir
    from jupyterlab_server.workspaces_handler import WorkspacesManager

    layouts = WorkspacesManager(get_workspaces_dir())
    if not layouts.load(LAYOUT)["data"]:
        layouts.save(LAYOUT, Path(__file__).with_name("lab.jupyterlab-workspace").read_text())


def add_to(group: click.Group) -> None:
    """Add these commands."""
    for command in (up, down, status, lab):
        group.add_command(command)
