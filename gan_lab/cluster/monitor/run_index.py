"""Every run in memory, as the table that page and metrics are made from."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

from gan_lab.cluster.monitor.run_row import COUNTED, Row, read_row
from gan_lab.cluster.task_names import task_key
from gan_lab.errors import GanLabError
from gan_lab.settings import load_settings
from gan_lab.task_states import STATUS_NAMES
from gan_lab.wire.connection import answers, redis_url
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import run_paths, runs_folder

QueueState = Literal["waiting", "executing"] | None  # of a key; None: unknown to the scheduler

REFRESH_EVERY_S = 3.0  # how old the table gets while nobody waits for it
READ_WITHIN_S = 65.0  # it is kept fresh for so long: Prometheus asks once a minute or more often
ANSWER_WITHIN_S = 0.1  # how long an answer waits for the next table
FRESH_S = 0.9  # how old the table may be that a request is answered from
OF_WORK = ("worker", "left_s", "rows_per_second", "steps_per_second")


@dataclass(frozen=True)
class RunTable:
    """All rows in the order of a page, and counts of them."""

    rows: list[Row] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind and state
    totals: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind and what is counted
    fleets: list[str] = field(default_factory=list)
    redis_up: bool = False
    complete: bool = False


class _Seen(NamedTuple):
    """A run as it was when it was last read."""

    changed_ns: int
    row: Row


class RunIndex:
    """Keeps the table; readers get the last one at once while a thread makes the next."""

    def __init__(self, home: Path, queue_state: Callable[[str], QueueState]) -> None:
        self.home, self.table = home, RunTable()
        self._queue_state = queue_state
        self._known: dict[str, _Seen] = {}
        # Of every run the most that was counted: no total falls by a clean-up, nor by a training
        # that goes back to its checkpoint, nor by a task that is taken up again.
        self._counted: dict[str, Counter[tuple[str, str]]] = {}
        self._refreshed_at = self._read_at = float("-inf")
        self._refreshing = threading.Lock()  # held by the thread that refreshes
        self._refreshed, self._wanted = threading.Event(), threading.Event()

    # ---- reading

    def look(self) -> RunTable:
        """Return the last table, some seconds old at most for who asks often; never waits."""
        self._read_at = time.monotonic()
        if self._refreshing.acquire(blocking=False):
            threading.Thread(target=self._keep_fresh, daemon=True).start()
        return self.table

    async def look_again(self) -> RunTable:
        """Return the next table if it is there within a moment, else the last one."""
        if time.monotonic() - self._refreshed_at > FRESH_S:
            self._refreshed.clear()
            self._wanted.set()
        self.look()
        await asyncio.to_thread(self._refreshed.wait, ANSWER_WITHIN_S)
        return self.table

    def _keep_fresh(self) -> None:
        """Refresh as long as somebody asks, so that each scrape finds a fresh table."""
        try:
            while time.monotonic() - self._read_at < READ_WITHIN_S:
                self._wanted.clear()
                self.refresh()
                self._refreshed.set()
                self._wanted.wait(REFRESH_EVERY_S)
        finally:
            self._refreshing.release()

    # ---- looking through the runs

    def refresh(self) -> None:
        """Read what may have changed, and make the next table."""
        before, self._known = self._known, {}
        for path in run_paths(runs_folder(self.home)):
            try:
                seen = before.get(path.name)
                changed_ns = path.stat().st_mtime_ns
                if seen is None or not seen.row["final"] or seen.changed_ns != changed_ns:
                    seen = _Seen(changed_ns, self._read(RunFolder(path)))
                self._known[path.name] = seen
            except (GanLabError, ValueError, OSError):
                continue  # another format, or half made: not ours to show
        url = redis_url(load_settings())
        redis_up = url is not None and answers(url)
        made = self.table if self._known == before else self._make_table()
        self.table = replace(made, redis_up=redis_up, complete=True)
        self._refreshed_at = time.monotonic()

    def _read(self, run: RunFolder) -> Row:
        row = read_row(run, run.lease.held)
        row["state"] = row["status"]
        if not row["final"] and not row["held"]:
            queued = self._queue_state(task_key(run))
            if queued != "executing":
                row["state"] = "lost" if queued is None and not run.just_made else "pending"
        if row["state"] in ("pending", "lost"):  # what it was like when somebody had it
            row |= dict.fromkeys(OF_WORK)
        counted = self._counted.setdefault(run.task_id, Counter())
        counted |= Counter({(row["kind"], what): row[what] for what in COUNTED})
        return row

    def _make_table(self) -> RunTable:
        rows = sorted((seen.row for seen in self._known.values()), key=_newest_first, reverse=True)
        rows.sort(key=lambda row: STATUS_NAMES.index(row["state"]))
        totals: Counter[tuple[str, str]] = Counter()
        for counts in self._counted.values():
            totals.update(counts)
        return RunTable(
            rows=rows,
            states=Counter(row["state"] for row in rows),
            kinds=Counter((row["kind"], row["state"]) for row in rows),
            totals=totals,
            fleets=sorted({row["fleet"] for row in rows if row["fleet"]}, reverse=True),
        )


def _newest_first(row: Row) -> str:
    return str(row["created"])
