"""What the monitor shows of one run: a row, read from its folder."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gan_lab.schema import FINAL_STAGES, Event, State
from gan_lab.workspace.run_folder import RESUMED, RunFolder

Row = dict[str, Any]
COUNTED = ("work_ms", "retries", "resumes", "epochs")  # of which the metrics make totals


def read_row(run: RunFolder, held: bool) -> Row:
    """Read a run's row; `held`: whether somebody has its lease.

    `status` is the word of `TaskStatus`. Moments are in ISO 8601, `left_s` in seconds; `work_ms` to
    `epochs` are counted over the whole life of the run, in whole numbers, whose sums never waver.
    """
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
