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

from gan_lab.notebook.card import clock, number
from gan_lab.notebook.fleet.fleet import Fleet
from gan_lab.notebook.fleet.record import Row
from gan_lab.task_states import BY_NAME, TASK_STATES
from gan_lab.terminal import console

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
            for line in _news(fleet):
                screen.print(line, soft_wrap=True)
    rows = fleet.rows()
    tone = "red" if any(row.needs for row in rows) else "green"
    screen.print(fleet.headline(), style=tone, soft_wrap=True)
    if fleet.report.exists():
        screen.print(f"Report: {fleet.report}", soft_wrap=True)
    if all(row.state == "done" for row in rows):
        return 0
    which = " --all" if any(row.state == "failed" for row in rows) else ""
    screen.print(f"Go on with `gan-lab fleet --resume {fleet.fleet_id}{which}`.", soft_wrap=True)
    return EXIT_FAILED


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
        told: set[str] = set()
        for rows in fleet.follow():
            for row in rows:
                if row.error and row.machine_id not in told:  # a table's column cuts it short
                    told.add(row.machine_id)
                    live.console.print(f"{row.machine_id} {row.state}: {row.error}", soft_wrap=True)
            live.update(table(fleet, rows, most=max(5, screen.height - 6)), refresh=True)


def table(fleet: Fleet, rows: list[Row], most: int) -> Group:
    """Return the fleet as a table of at most so many rows, those that matter first, and a line."""
    shown = sorted(rows, key=lambda row: TASK_STATES.index(BY_NAME[row.state]))[:most]
    view = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for name in ("machine", "state", "progress", "loss", "time"):
        view.add_column(name, no_wrap=True)
    view.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in shown:
        tone = BY_NAME[row.state].terminal
        view.add_row(
            row.machine_id,
            Text(row.state, tone),
            ProgressBar(100, row.progress, width=12, complete_style=tone, finished_style=tone),
            number(row.loss),
            clock(row.seconds) if row.seconds else "",
            Text(f"{row.stage}: {row.message}" if row.stage else row.message),
        )
    rest = Counter(row.state for row in rows if row not in shown)
    more = "".join(f", {number} more {state}" for state, number in rest.items())
    busy = any(row.state in ("running", "waiting") for row in rows)
    now = clock(fleet.seconds) if busy or not fleet.running else "writing the report"
    return Group(view, Text(f"{fleet.summary()}{more}, {now}", "bold"))


def _news(fleet: Fleet) -> Iterator[str]:
    """Yield a line for each machine whenever it has something new to say."""
    said: dict[str, str] = {}
    for rows in fleet.follow():
        for row in rows:
            what = row.message if row.state == "running" else f"{row.state} {row.message}"
            if row.state != "waiting" and said.get(row.machine_id) != what:
                said[row.machine_id] = what
                yield f"{row.machine_id:<24} {row.stage:<9} {what}".rstrip()
