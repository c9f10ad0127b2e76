"""Every run in memory, as the table that page and metrics are made from."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from gan_lab.cluster.task_names import task_key
from gan_lab.schema import FINAL_STAGES, Event, State
from gan_lab.settings import Settings
from gan_lab.task_states import BY_NAME, STATUS_NAMES
from gan_lab.wire.connection import answers, redis_url
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import run_in, run_paths, runs_folder

log = logging.getLogger(__name__)

QueueState = Literal["waiting", "executing"] | None  # of a key; None: unknown to the scheduler

REFRESH_EVERY_S = 1.0
READ_WITHIN_S = 65.0  # for so long after a look: Prometheus asks once a minute or more often
Row = dict[str, Any]
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


class RunIndex:
    """Keeps the table; readers get the last one at once while a thread makes the next."""

    def __init__(self, settings: Settings, queue_state: Callable[[str], QueueState]) -> None:
        self.settings, self.table = settings, RunTable()
        self._queue_state = queue_state
        self._known: dict[str, tuple[int, Row]] = {}  # when it changed (ns), and as what
        # Of every run the most that was counted: no total falls by a clean-up, nor by a training
        # that goes back to its checkpoint, nor by a task that is taken up again.
        self._counted: dict[str, Counter[tuple[str, str]]] = {}
        self._read_at = float("-inf")

    def look(self) -> RunTable:
        """Return the last table, a second old for who asks often; never waits."""
        self._read_at = time.monotonic()
        return self.table

    def keep_fresh(self) -> None:
        """Refresh for ever, while somebody asks; in a thread of its own."""
        while True:
            if time.monotonic() - self._read_at < READ_WITHIN_S:
                try:
                    self.refresh()
                except Exception:  # a disk that does not answer; it may pass
                    log.exception("The table of runs cannot be made just now")
            time.sleep(REFRESH_EVERY_S)

    def refresh(self) -> None:
        """Read what may have changed, and make the next table."""
        before, self._known = self._known, {}
        for path in run_paths(runs_folder(self.settings.home)):
            try:
                changed_ns, seen = path.stat().st_mtime_ns, before.get(path.name)
                if seen is not None and seen[1]["final"] and seen[0] == changed_ns:
                    self._known[path.name] = seen
                elif run := run_in(path):
                    self._known[path.name] = changed_ns, self._read(run)
            except OSError:
                continue  # removed meanwhile
        url = redis_url(self.settings)
        made = self.table if self._known == before else self._make_table()
        self.table = replace(made, redis_up=url is not None and answers(url), complete=True)

    def _read(self, run: RunFolder) -> Row:
        row = read_row(run, run.lease.held)
        row["state"] = BY_NAME[row["status"]].name
        if row["status"] != "unknown" and not row["final"] and not row["held"]:
            queued = self._queue_state(task_key(run))
            if queued != "executing":
                row["state"] = "lost" if queued is None and not run.just_made else "pending"
        if row["state"] in ("pending", "lost"):  # what it was like when somebody had it
            row |= dict.fromkeys(OF_WORK)
        counted = self._counted.setdefault(run.task_id, Counter())
        now = {"retries": row["retries"], "epochs": row["epoch"] or 0}
        counted |= Counter({(row["kind"], what): count for what, count in now.items()})
        return row

    def _make_table(self) -> RunTable:
        rows = [row for _, row in self._known.values()]
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
            fleets=sorted({row["fleet_id"] for row in rows if row["fleet_id"]}, reverse=True),
        )


def read_row(run: RunFolder, held: bool) -> Row:
    """Return a run's status with what the log adds; `held`: whether somebody has its lease.

    Moments are in ISO 8601, `left_s` in seconds; `retries` are counted over the run's whole life.
    """
    status, log = run.status(), run.log()
    event = None if status.state is State.UNKNOWN else run.last_event()  # it is damaged
    final = status.state.final
    at_work = [line for line in log if line.get("stage", FINAL_STAGES[0]) not in FINAL_STAGES]
    per_s = _steps_per_second(at_work[-1], event) if at_work and event and not final else None
    about = status.model_dump(include={"task_id", "status", "progress", "total"})
    return {
        **about,
        **status.metadata,
        "final": final,
        "held": held,
        "worker": at_work[-1]["worker"] if at_work else None,
        "rows_per_second": event.rows_per_second if event else None,
        "steps_per_second": per_s,
        "left_s": (status.total - status.current) / per_s if per_s else None,
        "started": at_work[0]["time"] if at_work else None,
        "message": status.error or status.message,
        "retries": sum(line.get("state") == State.RETRY for line in log),
    }


def _steps_per_second(begun: Row, now: Event) -> float | None:
    """How fast a task goes, from where its present stage and attempt began."""
    since = datetime.fromisoformat(now.timestamp) - datetime.fromisoformat(begun["time"])
    seconds = since.total_seconds()
    return (now.current - begun["current"]) / seconds if seconds > 0 else None
