"""Every run in memory, as the table that page and metrics are made from.

It is read from the run folders, so that it is complete after a restart of everything. A run is
looked at again only when it may have changed: one at work each time, the others seldom.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from gan_lab.cluster.monitor.run_row import COUNTED, Row, read_row
from gan_lab.cluster.task_names import task_key
from gan_lab.errors import GanLabError
from gan_lab.settings import load_settings
from gan_lab.task_states import STATUS_NAMES
from gan_lab.wire.connection import answers, redis_url
from gan_lab.workspace.run_folder import EVENTS, RunFolder
from gan_lab.workspace.runs import run_paths, runs_folder

QueueState = Literal["waiting", "executing"] | None  # of a key; None: unknown to the scheduler

FRESH_S = 0.9  # how old the table may be that a request is answered from
WAITING_EVERY_S = 5.0  # how often a run is looked at that waits
ENDED_EVERY_S = 60.0  # and one that has ended
SHOWN_EVERY_S = 0.5  # while the whole history is read: how often what is known is shown
REFRESH_EVERY_S = 3.0  # how old the table gets while nobody waits for it
READ_WITHIN_S = 65.0  # it is kept fresh for so long: Prometheus asks once a minute or more often
ANSWER_WITHIN_S = 0.1  # how long an answer waits for the next table
REDIS_EVERY_S = 2.0
SETTLED_NS = 2 * 10**9  # a folder that changed so lately may do so again at the same time stamp


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


@dataclass(frozen=True)
class _Seen:
    """A run as it was when it was last looked at."""

    run: RunFolder
    key: str
    mark: tuple[int, int]
    looked_at: float
    row: Row


class RunIndex:
    """Keeps the table; readers get the last one at once while a thread makes the next.

    `queue_state`: where a task's key stands on the scheduler.
    """

    def __init__(self, home: Path, queue_state: Callable[[str], QueueState]) -> None:
        self.home, self.table = home, RunTable()
        self._queue_state = queue_state
        self._known: dict[str, _Seen] = {}
        # Of every run the most that was counted: no total falls by a clean-up, nor by a training
        # that goes back to its checkpoint, nor by a task that is taken up again.
        self._counted: dict[str, Counter[tuple[str, str]]] = {}
        self._refreshed_at = self._listed_at = self._redis_at = self._read_at = float("-inf")
        self._folder_mark = 0
        self._changed = True
        self._lock = threading.Lock()  # held by the thread that refreshes
        self._refreshed, self._wanted = threading.Event(), threading.Event()

    # ---- reading

    def look(self) -> RunTable:
        """Return the last table, some seconds old at most for who asks often; never waits."""
        self._read_at = time.monotonic()
        if self._lock.acquire(blocking=False):
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
            self._lock.release()

    # ---- looking at the folders

    def refresh(self) -> None:
        """Look at every run that may have changed and make the table anew."""
        now = shown_at = time.monotonic()
        for run in self._runs(now):
            seen = self._known.get(run.task_id)
            if seen is None or self._due(seen, now):
                self._look_at(run, seen, now)
            if not self.table.complete and time.monotonic() - shown_at > SHOWN_EVERY_S:
                shown_at = time.monotonic()
                self.table = self._make_table(complete=False)
        self.table = self._make_table(complete=True)
        self._refreshed_at = time.monotonic()

    def _runs(self, now: float) -> list[RunFolder]:
        """The runs there are, the newest of the new ones first; lists the folder if it changed."""
        folder = runs_folder(self.home)
        mark = folder.stat().st_mtime_ns if folder.exists() else 0
        if mark == self._folder_mark and now - self._listed_at < ENDED_EVERY_S:
            return [seen.run for seen in self._known.values()]
        self._folder_mark = mark if time.time_ns() - mark > SETTLED_NS else 0
        self._listed_at = now
        paths = {path.name: path for path in run_paths(folder)}
        for name in self._known.keys() - paths.keys():
            self._changed = True
            del self._known[name]
        new = [RunFolder(path) for name, path in paths.items() if name not in self._known]
        new.sort(key=lambda run: _mark(run.path), reverse=True)
        return [*new, *(seen.run for seen in self._known.values())]

    def _due(self, seen: _Seen, now: float) -> bool:
        if seen.row["held"] or self._queue_state(seen.key) == "executing":
            return True
        return now - seen.looked_at >= (ENDED_EVERY_S if seen.row["final"] else WAITING_EVERY_S)

    def _look_at(self, run: RunFolder, seen: _Seen | None, now: float) -> None:
        try:
            mark = _mark(run.path)
            same = seen is not None and seen.mark == mark
            # A lease comes with a new mark; it ends without one when it is not renewed.
            held = run.lease.held if seen is None or not same or seen.row["held"] else False
            if seen is not None and same and seen.row["held"] == held:
                row = dict(seen.row)
            else:
                row = read_row(run, held)
            key = seen.key if seen is not None else task_key(run)
            row["state"] = self._state(run, row, key)
        except (GanLabError, ValueError, OSError):
            return  # another format, or half made: not ours to show
        if row["state"] in ("pending", "lost"):  # what it was like when somebody had it
            row |= dict.fromkeys(("worker", "left_s", "rows_per_second", "steps_per_second"))
        self._changed |= seen is None or row != seen.row
        counted = self._counted.setdefault(run.task_id, Counter())
        counted |= Counter({(row["kind"], what): row[what] for what in COUNTED})
        self._known[run.task_id] = _Seen(run, key, mark, now, row)

    def _state(self, run: RunFolder, row: Row, key: str) -> str:
        """The state of a run: lost where nobody works on it and no scheduler has it."""
        queued = self._queue_state(key)
        if row["final"] or row["held"] or queued == "executing":
            return str(row["status"])
        return "lost" if queued is None and not run.just_made else "pending"

    # ---- the table

    def _make_table(self, complete: bool) -> RunTable:
        complete |= self.table.complete
        if not self._changed:
            return replace(self.table, redis_up=self._redis_up(), complete=complete)
        self._changed = False
        rows = [seen.row for seen in self._known.values()]
        rows.sort(key=lambda row: row["created"], reverse=True)
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
            redis_up=self._redis_up(),
            complete=complete,
        )

    def _redis_up(self) -> bool:
        now = time.monotonic()
        if now - self._redis_at < REDIS_EVERY_S:
            return self.table.redis_up
        self._redis_at = now
        url = redis_url(load_settings())
        return url is not None and answers(url)


def _mark(path: Path) -> tuple[int, int]:
    """What changes when a run does: files moved into its folder, lines added to its events."""
    try:
        size = (path / EVENTS).stat().st_size
    except FileNotFoundError:
        size = 0
    return path.stat().st_mtime_ns, size
