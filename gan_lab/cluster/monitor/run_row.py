"""What the monitor shows of one run: a row, read from its folder."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gan_lab.schema import FINAL_STAGES, Event, State
from gan_lab.workspace.run_folder import RunFolder

Row = dict[str, Any]
COUNTED = ("retries", "epochs")  # of which the metrics make totals


def read_row(run: RunFolder, held: bool) -> Row:
    """Read a run's row; `held`: whether somebody has its lease.

    `status` is the word of `TaskStatus`. Moments are in ISO 8601, `left_s` in seconds; `retries`
    and `epochs` are counted over the whole life of the run.
    """
    status, log = run.status(), run.log()
    event = None if status.state is State.UNKNOWN else run.last_event()  # it is damaged
    about, final = status.metadata, status.state.final
    at_work = [line for line in log if line.get("stage", FINAL_STAGES[0]) not in FINAL_STAGES]
    per_s = _steps_per_second(at_work[-1], event) if at_work and event and not final else None
    return {
        "task_id": run.task_id,
        "machine": about["machine_id"],
        "kind": about["kind"],
        "fleet": about["fleet_id"],
        "status": status.status,
        "final": final,
        "held": held,
        "cancelling": about["cancelling"],
        "attempt": about["attempt"],
        "worker": at_work[-1]["worker"] if at_work else None,
        "progress": status.progress,
        "epoch": about["epoch"],
        "total": status.total,
        "loss": about["loss"],
        "rows_per_second": event.rows_per_second if event else None,
        "steps_per_second": per_s,
        "left_s": (status.total - status.current) / per_s if per_s else None,
        "created": about["created"],
        "started": at_work[0]["time"] if at_work else None,
        "message": status.error or status.message,
        "retries": sum(line.get("state") == State.RETRY for line in log),
        "epochs": about["epoch"] or 0,
    }


def _steps_per_second(begun: Row, now: Event) -> float | None:
    """How fast a task goes, from where its present stage and attempt began."""
    since = datetime.fromisoformat(now.timestamp) - datetime.fromisoformat(begun["time"])
    seconds = since.total_seconds()
    return (now.current - begun["current"]) / seconds if seconds > 0 else None
