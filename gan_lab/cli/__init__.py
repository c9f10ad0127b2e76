"""The command line: parse, call the library, say what happened.

Standard output is for results and JSON, standard error for people. Exit status: 0 done, 1 the task
failed or was cancelled, 2 the request was wrong, 3 a service could not be reached, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

import click

from gan_lab.cli.show import EXIT_INTERRUPTED, refuse
from gan_lab.errors import GanLabError, RequestError

# Where each command is, and what it is for: a command is imported when it is called or described.
COMMANDS = {
    "Workspace": {
        "init": ("init.init", "Make a folder a workspace"),
        "lab": ("services.lab", "Open JupyterLab on it"),
        "fleet": ("fleets.fleet", "Do the main job for one machine or many, over night"),
    },
    "Machines": {
        "machines": ("machines.machines", "List the machines, or add one by its profile"),
        "import": ("machines.import_", "Make a machine of your own table"),
        "prognose": ("machines.prognose", "Say how long running units will last"),
        "export": ("machines.export", "Write synthetic tables with held-out lives and a data card"),
        "export-sdv": ("machines.export_sdv", "Write a model of rows as a file for SDV"),
    },
    "Tasks": {
        "seed": ("tasks.seed", "Simulate lives of a machine from its profile"),
        "train": ("tasks.train", "Train a model on a machine's seed table"),
        "generate": ("tasks.generate", "Draw tables from a trained model"),
        "report": ("tasks.report", "Judge synthetic tables against held-out real ones"),
        "pipeline": ("tasks.pipeline", "Seed, train, generate and report"),
        "tasks": ("tasks.tasks", "List the tasks, newest first"),
        "task": ("tasks.task", "Say where a task stands"),
        "watch": ("tasks.watch", "Follow a task or a fleet to its end"),
        "cancel": ("tasks.cancel", "Stop tasks or fleets, those of a machine, or all"),
        "resume": ("tasks.resume", "Go on with what is lost, failed or cancelled"),
    },
    "Services": {
        "up": ("services.up", "Start the embedded services, or join those that run"),
        "down": ("services.down", "End the embedded services"),
        "status": ("services.status", "Say which services run, and what they are at"),
        "logs": ("upkeep.logs", "Show a task's log"),
        "doctor": ("upkeep.doctor", "Look for the usual troubles and say what to do"),
        "clean": ("upkeep.clean", "Remove old runs and fleets"),
        "dask-config": ("services.dask_config", "Print what a cluster of your own needs"),
    },
}


class _Commands(click.Group):
    """The commands by what they are for, none of them imported before it is called."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        for section in COMMANDS.values():
            if name in section:
                module, command = section[name][0].split(".")
                found: click.Command = getattr(import_module(f"gan_lab.cli.{module}"), command)
                return found
        return None

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, about) for name, (_, about) in section.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="gan-lab")
def cli() -> None:
    """Synthetic run-to-failure lives of machines: seed, train, generate, report."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status; errors are sentences, never a traceback."""
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"{message}\n"
    try:
        status = cli.main(arguments, standalone_mode=False)
    except GanLabError as error:
        status = refuse(str(error), error.exit_status)
    except click.ClickException as error:
        status = refuse(error.format_message(), RequestError.exit_status)
    except (click.Abort, KeyboardInterrupt):
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:
        if os.environ.get("GAN_LAB_DEBUG"):
            raise
        status = refuse(
            f"Unexpected {type(error).__name__}: {error}. Set GAN_LAB_DEBUG=1 for the traceback.", 1
        )
    sys.exit(status if isinstance(status, int) else 0)
