"""What is known of every run, in memory: the picture that our page and our figures are drawn from.

It comes from the run folders, so that it is complete after a restart of everything. A run is looked
at again only when it may have changed: one that is at work each time, the others seldom.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from gan_lab.cluster.task_names import task_key
from gan_lab.errors import GanLabError
from gan_lab.schema import FINAL_STAGES, Event, State
from gan_lab.settings import load_settings
from gan_lab.task_states import STATUS_NAMES
from gan_lab.wire.connection import answers, redis_url
from gan_lab.workspace.run_folder import EVENTS, RESUMED, RunFolder
from gan_lab.workspace.runs import run_paths, runs_folder

Row = dict[str, Any]
Standing = Literal["waiting", "executing"] | None  # of a task on the scheduler; None: has not ours

FRESH_S = 0.9  # how old the picture may be that a request is answered from
WAITING_EVERY_S = 5.0  # how often a run is looked at that waits
ENDED_EVERY_S = 60.0  # and one that has ended
SHOWN_EVERY_S = 0.5  # while the whole history is read: how often what is known is shown
TAKEN_EVERY_S = 3.0  # how old it gets while nobody waits for it
ASKED_WITHIN_S = 65.0  # Prometheus asks once a minute or more often
MOMENT_S = 0.1  # how long an answer waits for the next picture
REDIS_EVERY_S = 2.0
SETTLED_NS = 2 * 10**9
COUNTED = ("work_ms", "retries", "resumes", "epochs")


@dataclass(frozen=True)
class Seen:
    """A run as it was when it was last looked at."""

    run: RunFolder
    key: str
    mark: tuple[int, int]
    looked_at: float
    row: Row


@dataclass(frozen=True)
class Picture:
    """All rows, as one reads them, and what was counted."""

    rows: list[Row] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    fleets: list[str] = field(default_factory=list)
    redis_up: bool = False
    complete: bool = False


class RunIndex:
    """Keeps the picture; readers get the last one at once while a thread takes the next."""

    def __init__(self, home: Path, standing: Callable[[str], Standing]) -> None:
        self.home, self.picture = home, Picture()
        self._standing = standing  # of a task's key on the scheduler
        self._known: dict[str, Seen] = {}
        # Of every run the most that was counted: no total falls by a clean-up, nor by a training
        # that goes back to its checkpoint, nor by a task that is taken up again.
        self._counted: dict[str, Counter[tuple[str, str]]] = {}
        self._taken_at = self._listed_at = self._redis_asked_at = float("-inf")
        self._folder_mark = 0
        self._changed = True
        self._asked_at = float("-inf")
        self._lock = threading.Lock()  # held by the thread that takes pictures
        self._taken, self._wanted = threading.Event(), threading.Event()

    def look(self) -> Picture:
        """Return the last picture, not older than some seconds for who asks often; never waits."""
        self._asked_at = time.monotonic()
        if self._lock.acquire(blocking=False):
            threading.Thread(target=self._keep_taking, daemon=True).start()
        return self.picture

    async def look_again(self) -> Picture:
        """Return the next picture if it is taken within a moment, else the last one."""
        if time.monotonic() - self._taken_at > FRESH_S:
            self._taken.clear()
            self._wanted.set()
        self.look()
        await asyncio.to_thread(self._taken.wait, MOMENT_S)
        return self.picture

    def _keep_taking(self) -> None:
        """Take pictures as long as somebody asks for them, so that a scrape finds a fresh one."""
        try:
            while time.monotonic() - self._asked_at < ASKED_WITHIN_S:
                self._wanted.clear()
                self.refresh()
                self._taken.set()
                self._wanted.wait(TAKEN_EVERY_S)
        finally:
            self._lock.release()

    def refresh(self) -> None:
        """Take a picture now."""
        now = time.monotonic()
        shown_at = now
        for run in self._found(now):
            seen = self._known.get(run.task_id)
            if seen is None or self._due(seen, now):
                self._look_at(run, seen, now)
            if not self.picture.complete and time.monotonic() - shown_at > SHOWN_EVERY_S:
                shown_at = time.monotonic()
                self.picture = self._draw(complete=False)
        self.picture = self._draw(complete=True)
        self._taken_at = time.monotonic()

    def _found(self, now: float) -> list[RunFolder]:
        """The runs there are, newest first where they are new; the folder is listed if it grew."""
        folder = runs_folder(self.home)
        mark = folder.stat().st_mtime_ns if folder.exists() else 0
        if mark == self._folder_mark and now - self._listed_at < ENDED_EVERY_S:
            return [seen.run for seen in self._known.values()]
        # What changed a moment ago may change again without a newer time stamp.
        self._folder_mark = mark if time.time_ns() - mark > SETTLED_NS else 0
        self._listed_at = now
        paths = {path.name: path for path in run_paths(folder)}
        for name in self._known.keys() - paths.keys():
            self._changed = True
            del self._known[name]
        new = [RunFolder(path) for name, path in paths.items() if name not in self._known]
        new.sort(key=lambda run: _mark(run.path), reverse=True)
        return [*new, *(seen.run for seen in self._known.values())]

    def _due(self, seen: Seen, now: float) -> bool:
        if seen.row["held"] or self._standing(seen.key) == "executing":
            return True
        age_s = now - seen.looked_at
        return age_s >= (ENDED_EVERY_S if seen.row["final"] else WAITING_EVERY_S)

    def _look_at(self, run: RunFolder, seen: Seen | None, now: float) -> None:
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
            if row["state"] in ("pending", "lost"):  # what it was like when somebody had it
                row |= dict.fromkeys(("worker", "left_s", "rows_per_second", "steps_per_second"))
            self._changed |= seen is None or row != seen.row
            counted = self._counted.setdefault(run.task_id, Counter())
            counted |= Counter({(row["kind"], what): row[what] for what in COUNTED})
            self._known[run.task_id] = Seen(run, key, mark, now, row)
        except (GanLabError, ValueError, OSError):
            return  # another format, or half made: not ours to show

    def _state(self, run: RunFolder, row: Row, key: str) -> str:
        """The word for a run; lost where nobody works on it and no scheduler has it."""
        standing = self._standing(key)
        if row["final"] or row["held"] or standing == "executing":
            return str(row["status"])
        if standing is None and not run.just_made:
            return "lost"
        return "pending"

    def _draw(self, complete: bool) -> Picture:
        complete |= self.picture.complete
        if not self._changed:
            return replace(self.picture, redis_up=self._redis_up(), complete=complete)
        self._changed = False
        rows = [seen.row for seen in list(self._known.values())]
        rows.sort(key=lambda row: row["created"], reverse=True)
        rows.sort(key=lambda row: STATUS_NAMES.index(row["state"]))
        totals: Counter[tuple[str, str]] = Counter()
        for counts in list(self._counted.values()):
            totals.update(counts)
        return Picture(
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
        if now - self._redis_asked_at < REDIS_EVERY_S:
            return self.picture.redis_up
        self._redis_asked_at = now
        url = redis_url(load_settings())
        return url is not None and answers(url)


def read_row(run: RunFolder, held: bool) -> Row:
    """Read what the page shows of one run."""
    status, event, log = run.status(), run.last_event(), run.log()
    metadata, final = status.metadata, status.state.final
    at_work = [line for line in log if line.get("stage", FINAL_STAGES[0]) not in FINAL_STAGES]
    started = at_work[0]["time"] if at_work else None
    per_s = _steps_per_second(at_work[-1], event) if at_work and event and not final else None
    epoch, loss = _reached(run, event)
    return {
        "task_id": run.task_id,
        "machine": run.spec.machine_id,
        "kind": run.spec.kind,
        "fleet": run.spec.fleet_id,
        "status": status.status,
        "final": final,
        "held": held,
        "cancelling": metadata["cancelling"],
        "attempt": metadata["attempt"],
        "worker": at_work[-1]["worker"] if at_work else None,
        "progress": status.progress,
        "epoch": epoch,
        "total": status.total,
        "loss": loss,
        "rows_per_second": event.rows_per_second if event else None,
        "steps_per_second": per_s,
        "left_s": (status.total - status.current) / per_s if per_s else None,
        "created": run.spec.created,
        "started": started,
        "message": status.error or status.message,
        # What is counted, over the whole life of the run; whole numbers, whose sums never waver.
        "work_ms": round(1000 * _worked_s(log, metadata["updated"])) if started and final else 0,
        "retries": sum(line.get("state") == State.RETRY for line in log),
        "resumes": sum(line.get("state") == RESUMED for line in log),
        "epochs": epoch or 0,
    }


def _reached(run: RunFolder, event: Event | None) -> tuple[int | None, float | None]:
    """The last epoch and its loss, also where the last event is a failure or a new beginning."""
    if event is None or event.epoch is not None or run.spec.kind != "train":
        return (event.epoch, event.loss) if event else (None, None)
    losses = run.loss_rows()
    return (int(losses[-1][0] or 0), losses[-1][1]) if losses else (None, None)


def _steps_per_second(begun: Row, now: Event) -> float | None:
    """How fast a task goes, from where its present stage and attempt began."""
    seconds = _between(begun["time"], now.timestamp)
    return (now.current - begun["current"]) / seconds if seconds > 0 else None


def _worked_s(log: list[dict[str, Any]], ended: str) -> float:
    """Seconds a worker had a task, by its log, without attempts that were cut off."""
    lines = [line for line in log if "state" in line]
    ends = [*[line["time"] for line in lines[1:]], ended]
    idle = (State.PENDING, State.RETRY, RESUMED)
    return sum(
        max(0.0, _between(line["time"], end))
        for line, after, end in zip(lines, [*lines[1:], {"state": None}], ends, strict=True)
        if line["state"] not in (State.PENDING, RESUMED) and after["state"] not in idle
    )


def _between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _mark(path: Path) -> tuple[int, int]:
    """What changes when a run does: files moved into its folder, lines added to its events."""
    try:
        size = (path / EVENTS).stat().st_size
    except FileNotFoundError:
        size = 0
    return path.stat().st_mtime_ns, size
