"""Every run as a row of the page; one that has ended is read once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from gan_lab.cluster.task_names import lost_message, task_key
from gan_lab.schema import FINAL_STAGES, Event, State, TaskStatus
from gan_lab.settings import Settings
from gan_lab.task_states import BY_NAME, STATUS_NAMES
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import run_in, runs_folder, when_changed

QueueState = Literal["waiting", "executing"] | None  # of a key; None: unknown to the scheduler

LOOK_EVERY_S = 1.0  # however many have the page open
Row = dict[str, Any]
OF_WORK = ("worker", "left_s", "rows_per_second")


class RunIndex:
    """Keeps what was read of the runs, for all who look at the page."""

    def __init__(self, settings: Settings, queue_state: Callable[[str], QueueState]) -> None:
        self.settings, self._queue_state = settings, queue_state
        self._known: dict[str, tuple[int, Row]] = {}  # when it changed (ns), and as what
        self._rows: list[Row] = []
        self._looked_at = float("-inf")
        self._lock = threading.Lock()

    def rows(self) -> list[Row]:
        """Return all rows in the order of the page, a second old at most; reads the folders."""
        with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
                self._look()
                self._looked_at = time.monotonic()
            return self._rows

    def _look(self) -> None:
        before, self._known = self._known, {}
        for path, changed_ns in when_changed(runs_folder(self.settings.home)):
            with suppress(OSError):  # removed meanwhile
                seen = before.get(path.name)
                if seen is not None and seen[1]["final"] and seen[0] == changed_ns:
                    self._known[path.name] = seen
                elif run := run_in(path):
                    self._known[path.name] = changed_ns, self._read_or_say_why(run)
        rows = [row for _, row in self._known.values()]
        rows.sort(key=lambda row: row["created"], reverse=True)
        rows.sort(key=lambda row: STATUS_NAMES.index(row["state"]))
        self._rows = rows

    def _read_or_say_why(self, run: RunFolder) -> Row:
        try:
            return self._read(run)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            message = f"{run.path} cannot be understood ({type(error).__name__}: {error})."
            unknown = {"status": "unknown", "state": BY_NAME["unknown"].name, "final": False}
            return _of_status(run.status()) | unknown | {"message": message}

    def _read(self, run: RunFolder) -> Row:
        row = read_row(run)
        row["state"] = BY_NAME[row["status"]].name
        if row["status"] != "unknown" and not row["final"] and not run.lease.held:
            queued = self._queue_state(task_key(run))
            if queued is None and not run.just_made:
                row |= {"state": "lost", "message": lost_message(run.task_id)}
            elif queued != "executing":
                row["state"] = "pending"
        if row["state"] in ("pending", "lost"):  # what it was like when somebody had it
            row |= dict.fromkeys(OF_WORK)
        return row


def read_row(run: RunFolder) -> Row:
    """Return a run's status with what the log adds: moments in ISO 8601, `left_s` in seconds."""
    status, log = run.status(), run.log()
    event = None if status.state is State.UNKNOWN else run.last_event()  # it is damaged
    final = status.state.final
    at_work = [line for line in log if line.get("stage", FINAL_STAGES[0]) not in FINAL_STAGES]
    per_s = _steps_per_second(at_work[-1], event) if at_work and event and not final else None
    return {
        **_of_status(status),
        "worker": at_work[-1]["worker"] if at_work else None,
        "rows_per_second": event.rows_per_second if event else None,
        "left_s": (status.total - status.current) / per_s if per_s else None,
        "started": at_work[0]["time"] if at_work else None,
    }


def _of_status(status: TaskStatus) -> Row:
    """Return a row without what the log adds."""
    return {
        **status.model_dump(include={"task_id", "status", "progress", "total"}),
        **status.metadata,
        "final": status.state.final,
        "message": status.error or status.message,
        **dict.fromkeys((*OF_WORK, "started")),
    }


def _steps_per_second(begun: Row, now: Event) -> float | None:
    """How fast a task goes, from where its present stage and attempt began."""
    since = datetime.fromisoformat(now.timestamp) - datetime.fromisoformat(begun["time"])
    seconds = since.total_seconds()
    return (now.current - begun["current"]) / seconds if seconds > 0 else None
