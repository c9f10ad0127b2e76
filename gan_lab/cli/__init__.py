"""The command line: parse, call the library, say what happened.

Standard output is for results and JSON, standard error for people. Exit status: 0 done, 1 the task
failed or was cancelled, 2 the request was wrong, 3 a service could not be reached, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

import click

from gan_lab.cli import fleets, init, machines, services, tasks, upkeep
from gan_lab.cli.show import EXIT_INTERRUPTED, refuse
from gan_lab.errors import GanLabError, RequestError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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


for module in (init, machines, tasks, fleets, services, upkeep):
    for command in module.COMMANDS:
        cli.add_command(command)
