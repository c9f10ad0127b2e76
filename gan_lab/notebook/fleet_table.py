"""A fleet on the terminal: a live table, or lines where there is no terminal."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gan_lab.notebook.fleet import Fleet, Row
from gan_lab.notebook.fleet_report import duration, figure
from gan_lab.terminal import console

STATES = {
    "running": "cyan",
    "failed": "red",
    "interrupted": "red",
    "cancelled": "yellow",
    "done": "green",
    "waiting": "dim",
}  # in the order in which a person wants to see them
EXIT_FAILED = 1


def watch_fleet(fleet: Fleet, screen: Console | None = None) -> int:
    """Show a fleet until it has ended; return the exit status (0: all done, 1: some are not).

    Ctrl-C once starts no more notebooks, twice cancels those that run.
    """
    screen = screen or console()
    screen.print(f"Fleet {fleet.fleet_id}: {len(fleet.plan.machines)} notebooks")
    with _ctrl_c(fleet, screen):
        if screen.is_terminal:
            _table(fleet, screen)
        else:
            _lines(fleet, screen)
    screen.print(fleet.headline(), style="green" if _all_done(fleet) else "red", soft_wrap=True)
    if fleet.report.exists():
        screen.print(f"Report: {fleet.report}", soft_wrap=True)
    if not _all_done(fleet):
        screen.print(f"Go on with `gan-lab fleet --resume {fleet.fleet_id}`.", soft_wrap=True)
    return 0 if _all_done(fleet) else EXIT_FAILED


def _all_done(fleet: Fleet) -> bool:
    return fleet.counts().get("done") == len(fleet.plan.machines)


@contextmanager
def _ctrl_c(fleet: Fleet, screen: Console) -> Iterator[None]:
    """Have Ctrl-C stop the fleet politely, the second time firmly, the third leave it alone."""
    presses = 0

    def pressed(*_: Any) -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            fleet.stop()
            screen.print("No more notebooks are started; those running go on. Again cancels them.")
        elif presses == 2:
            fleet.cancel()
            screen.print("The running tasks are being cancelled.")
        else:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _table(fleet: Fleet, screen: Console) -> None:
    with Live(console=screen, auto_refresh=False) as live:
        said: dict[str, str] = {}
        for rows in fleet.follow():
            if len(rows) == 1:
                for line in _news(rows, said):
                    live.console.print(line, soft_wrap=True)
            live.update(table(fleet, rows, most=max(5, screen.height - 6)), refresh=True)


def table(fleet: Fleet, rows: list[Row], most: int) -> Group:
    """Return the fleet as a table of at most so many rows, those that matter first, and a line."""
    order = list(STATES)
    shown = sorted(rows, key=lambda row: order.index(row.state))[:most]
    view = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for name in ("machine", "state", "progress", "loss", "time"):
        view.add_column(name, no_wrap=True)
    view.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in shown:
        view.add_row(
            row.machine_id,
            Text(row.state, STATES[row.state]),
            ProgressBar(100, row.progress, width=16),
            "" if row.loss is None else figure(row.loss),
            duration(row.seconds) if row.seconds else "",
            Text(f"{row.stage}: {row.message}" if row.stage else row.message),
        )
    rest = Counter(row.state for row in rows if row not in shown)
    more = "".join(f", {number} more {state}" for state, number in rest.items())
    busy = any(row.state in ("running", "waiting") for row in rows)
    now = duration(fleet.seconds) if busy else "writing the report"
    return Group(view, Text(f"{fleet.summary()}{more}, {now}", "bold"))


def _lines(fleet: Fleet, screen: Console) -> None:
    said: dict[str, str] = {}
    for rows in fleet.follow():
        for line in _news(rows, said):
            screen.print(line, soft_wrap=True)


def _news(rows: list[Row], said: dict[str, str]) -> Iterator[str]:
    """Yield a line for each machine that has something new to say."""
    for row in rows:
        what = row.message if row.state == "running" else f"{row.state} {row.message}"
        if row.state != "waiting" and said.get(row.machine_id) != what:
            said[row.machine_id] = what
            yield f"{row.machine_id:<24} {row.stage:<9} {what}".rstrip()
