"""What a terminal shows: bars while tasks run, tables of what there is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from gan_lab.schema import Event
from gan_lab.task_states import BY_NAME
from gan_lab.wire.follow import follow
from gan_lab.workspace.run_folder import RunFolder

LINE_EVERY_S = 5.0  # where there is no terminal, one line now and then
WAITING = "waiting for a worker"


def console() -> Console:
    """Return where people read: standard error, so that standard output stays for programs."""
    return Console(stderr=True, highlight=False)


def watch(runs: Sequence[RunFolder], screen: Console | None = None) -> None:
    """Show the progress of tasks, one behind the other, until each has ended."""
    screen = screen or console()
    for run in runs:
        if screen.is_terminal:
            _bar(run, screen)
            continue
        if run.last_event() is None and not run.final:
            print(f"{_label(run)}: {WAITING}", file=sys.stderr, flush=True)
        tell = now_and_then(run, sys.stderr)
        for event in follow(run):
            tell(event)


def _bar(run: RunFolder, screen: Console) -> None:
    columns = (
        TextColumn("{task.fields[label]}"),
        BarColumn(bar_width=28 if screen.width >= 110 else 8),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, refresh_per_second=5) as progress:
        bar = progress.add_task(WAITING, total=100, label=_label(run))
        for event in follow(run):
            share = 100 * event.current / event.total if event.total else 0
            done = 100 if event.stage == "completed" else share
            progress.update(bar, completed=done, description=event.message)


def now_and_then(run: RunFolder, file: TextIO) -> Callable[[Event], None]:
    """Return what prints each new stage's first event and one now and then, as a line each."""
    told, stage = 0.0, ""

    def tell(event: Event) -> None:
        nonlocal told, stage
        if event.stage != stage or time.monotonic() - told >= LINE_EVERY_S:
            told, stage = time.monotonic(), event.stage
            print(f"{_label(run)}: {event.progress:3d}%  {event.message}", file=file, flush=True)

    return tell


def _label(run: RunFolder) -> str:
    return f"{run.spec.kind} {run.spec.machine_id}"


def kernel() -> Any:
    """Return the IPython kernel we run in, None outside of one."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython.get_ipython(), "kernel", None) if ipython else None


def in_headless_notebook() -> bool:
    """Whether this is a notebook's kernel that nobody watches, as under papermill and nbconvert.

    These execute without a standard input; Voilà does too, but it shows widgets.
    """
    if kernel() is None or os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):
        return False
    return not kernel()._allow_stdin


def show_table(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows of equal keys as a table on standard output, states in their colours."""
    rows = list(rows)
    screen = Console(highlight=False)
    if not rows:
        screen.print("Nothing yet.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    if not screen.is_terminal:
        screen.width = 200
    screen.print(table)


def figure(value: Any) -> str:
    """Return a value as people read it."""
    if value is None or value != value:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _cell(name: str, value: Any) -> str:
    text = figure(value).replace("[", r"\[")
    state = BY_NAME.get(text) if name in ("status", "state") else None
    return f"[{state.terminal}]{text}[/]" if state else text
