"""Run folders: the record of every task, from which its status is computed.

A run folder has one writer at a time, the holder of its lease, and any number of readers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_lab import errors
from gan_lab.errors import (
    DamagedFile,
    GanLabError,
    RequestError,
    TaskCancelled,
    TaskFailed,
    TaskRefused,
    UnknownTask,
)
from gan_lab.schema import CONFIGS, Epoch, Event, State, TaskSpec, TaskStatus, utc_now
from gan_lab.store import StorePath
from gan_lab.workspace.checkpoints import Checkpoints
from gan_lab.workspace.files import read_text, write_beside
from gan_lab.workspace.lease import Lease, lease_of
from gan_lab.workspace.line_log import LineLog, line_log

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
JUST_MADE_S = 15.0  # a task so young may still be on its way to the cluster
RESUMED = "RESUMED"  # in a log: a task that had ended or was lost was handed over again

SPEC = "task.json"
EVENTS = "events.jsonl"
LOSSES = "losses.csv"
RESULT = "result.json"
ERROR = "error.json"
ENVIRONMENT = "environment.json"
LOG = "log.jsonl"
CANCEL = "cancel"
CANCELLED = "cancelled"
DONE = "DONE"
MODEL = "model.safetensors"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
RUNNING = "running.parquet"  # the units that a prognosis is asked for
PROGNOSIS = "prognosis.parquet"
CHECKPOINTS = "checkpoints"

LOSS_COLUMNS = [field.name for field in fields(Epoch) if field.name != "epochs"]


@lru_cache(maxsize=50_000)
def _read_spec(run: Path, *as_of: int) -> TaskSpec:
    """Read a request, once for all who look through all runs."""
    content = _read_json(run / SPEC) or {}
    if content.get("format") != FORMAT:
        raise UnknownTask(
            f"Task {run.name} was recorded in format {content.get('format')}; this version reads "
            f"format {FORMAT}. Read it with the version of gan_lab that wrote it."
        )
    with _intact(run / SPEC):
        return TaskSpec.model_validate(content)


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return the object that a file holds, None where there is no file."""
    with _intact(path):
        text = read_text(path)
        return None if text is None else dict(json.loads(text))


@contextmanager
def _intact(path: Path) -> Iterator[None]:
    """Raise `DamagedFile` where what this file holds cannot be understood."""
    try:
        yield
    except (ValueError, TypeError):
        raise DamagedFile(
            f"{path} is damaged: bring it back from a backup, or remove the run's folder."
        ) from None


class EventReader:
    """Reads a growing event log from where it stopped, line by whole line."""

    def __init__(self, log: LineLog, after: int) -> None:
        self._log, self._after, self._offset = log, after, 0

    def read(self) -> list[Event]:
        """Return the events that came since the last call."""
        lines, self._offset = self._log.read(self._offset)
        with _intact(self._log.path):
            events = [Event.model_validate_json(line) for line in lines]
        return [event for event in events if event.seq > self._after]


class RunFolder:
    """One task's folder under `runs/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.task_id = path.name
        self._events, self._losses = line_log(path / EVENTS), line_log(path / LOSSES)
        self._log = line_log(path / LOG, shared=True)
        self._gathers = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.task_id}>"

    @cached_property
    def spec(self) -> TaskSpec:
        """What was asked for; raises `UnknownTask` where nothing was, or `DamagedFile`."""
        return self._read_spec()

    def _read_spec(self) -> TaskSpec:
        try:
            found = (self.path / SPEC).stat()
            return _read_spec(self.path, found.st_mtime_ns, found.st_ino)
        except FileNotFoundError:
            raise UnknownTask(
                f"No task {self.task_id} under {self.path.parent}: see `gan-lab tasks`."
            ) from None

    # Made when they are first asked for: a list of runs opens thousands of folders.

    @cached_property
    def lease(self) -> Lease:
        """Who works on it."""
        return lease_of(self.path)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """The states that a training can go on from."""
        return Checkpoints(self.path / CHECKPOINTS)

    # ---- reading

    def events(self, after: int = 0) -> list[Event]:
        """Return the events whose `seq` is greater than `after`, in order."""
        return self.event_reader(after).read()

    def event_reader(self, after: int = 0) -> EventReader:
        """Return a reader that gives each event once, as the log grows."""
        return EventReader(self._events, after)

    def last_event(self) -> Event | None:
        """Return the newest event, reading only the end of the log."""
        line = self._events.last()
        with _intact(self._events.path):
            return None if line is None else Event.model_validate_json(line)

    def losses(self) -> pd.DataFrame:
        """Return one row per epoch: epoch, losses (nats per row), seconds, rows per second."""
        import pandas as pd

        with _intact(self._losses.path):
            lines = (line.split(b",") for line in self._losses.lines())
            rows = [[float(cell or "nan") for cell in line] for line in lines]
            table = pd.DataFrame(rows, columns=LOSS_COLUMNS, dtype=float)
        return table.astype({"epoch": int})

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the task's log: its changes of state, and what its workers said."""
        found = []
        for line in self._log.lines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def result_data(self) -> dict[str, Any] | None:
        """Return the result of a run that is done, None where it is not or its file is damaged."""
        with suppress(DamagedFile):
            return self._result()
        return None

    def _result(self) -> dict[str, Any] | None:
        return _read_json(self.path / RESULT) if (self.path / DONE).exists() else None

    def report_html(self) -> str | None:
        """Return the page of a report, None where there is none."""
        return read_text(self.path / REPORT_HTML)

    def error_data(self) -> dict[str, str] | None:
        """Return the error of a failed run: `type`, `message`, `traceback`, `reason`."""
        with suppress(DamagedFile):
            return _read_json(self.path / ERROR)
        return None

    @property
    def cancelling(self) -> bool:
        """Whether somebody asked this run to stop."""
        return (self.path / CANCEL).exists()

    @property
    def another_users(self) -> bool:
        """Whether somebody else on a common disk has asked for it; of a store that is not known."""
        with suppress(FileNotFoundError):  # removed meanwhile
            if not isinstance(self.path, StorePath):
                return (self.path / SPEC).stat().st_uid != os.getuid()
        return False

    @property
    def just_made(self) -> bool:
        """Whether it is so young that it may still be on its way to the cluster."""
        born = datetime.fromisoformat(self.spec.created)
        return (datetime.now(UTC) - born).total_seconds() < JUST_MADE_S

    @property
    def final(self) -> bool:
        """Whether the run has ended, one way or another."""
        return any((self.path / name).exists() for name in (DONE, ERROR, CANCELLED))

    def status(self) -> TaskStatus:
        """Compute where the task stands from what lies in its folder.

        Where one of its files is damaged, its state is unknown and the message names the file.
        """
        spec, event, result, error = self.spec, None, None, None
        try:
            if spec.kind not in CONFIGS:  # it stands in for a damaged request
                self._read_spec()
            event, result = self.last_event(), self._result()
            error = (_read_json(self.path / ERROR) or {}).get("message") if result is None else None
            state, message = self._state(event, result, error)
        except DamagedFile as damaged:
            state, message = State.UNKNOWN, str(damaged)
        cancelling = not state.final and self.cancelling
        if state.final and event is not None and event.final:
            message = event.message
        facts = ("machine_id", "kind", "created", "fleet_id", "after")
        metadata: dict[str, Any] = {
            **{name: getattr(spec, name) for name in facts},
            "cancelling": cancelling,
            "stage": event.stage if event else None,
            "epoch": event.epoch if event else None,
            "loss": event.loss if event else None,
            "attempt": event.attempt if event else 0,
            "updated": event.timestamp if event else spec.created,
        }
        progress = event.progress if event else 0
        return TaskStatus(
            task_id=self.task_id,
            status=state.status,
            state=state,
            progress=100 if state is State.SUCCESS else progress,
            current=event.current if event else 0,
            total=event.total if event else 0,
            message="Cancelling" if cancelling else message,
            result=result,
            error=error,
            metadata=metadata,
        )

    def _state(
        self, event: Event | None, result: dict[str, Any] | None, error: str | None
    ) -> tuple[State, str]:
        """Return the state and its sentence: what has ended first, then what the events say."""
        if result is not None:
            return State.SUCCESS, "Done"
        if error is not None:
            return State.FAILURE, error
        if (self.path / CANCELLED).exists():
            return State.REVOKED, "Cancelled"
        if event is None:
            return State.PENDING, f"Waiting for {self._waits_for()}"
        if event.final or not self.lease.held:
            return State.RETRY, "Nobody works on it: waiting for a worker"
        return event.status, event.message

    def _waits_for(self) -> str:
        if self.spec.after is not None:
            before = RunFolder(self.path.with_name(self.spec.after))
            with suppress(UnknownTask):
                if not before.final:
                    return f"{before.spec.kind} ({before.task_id[:8]})"
        return "a worker"

    def raise_for_end(self) -> dict[str, Any] | None:
        """Return the result of a run that is done, None while it goes on.

        Raises `TaskFailed` with the sentence of the failure (`TaskRefused` where the request was
        wrong, which only the task could find out), or `TaskCancelled`.
        """
        status = self.status()
        if status.state is State.FAILURE:
            known = getattr(errors, (self.error_data() or {}).get("type", ""), TaskFailed)
            ended = TaskRefused if issubclass(known, RequestError) else TaskFailed
            raise ended(f"{self._label} failed: {status.error}")
        if status.state is State.REVOKED:
            raise TaskCancelled(f"{self._label} was cancelled.")
        return status.result

    @property
    def _label(self) -> str:
        return f"Task {self.spec.kind} of {self.spec.machine_id} ({self.task_id})"

    def environment(self) -> dict[str, Any]:
        """Return what the run was made with: versions, hash of the seed table."""
        with suppress(DamagedFile):
            return _read_json(self.path / ENVIRONMENT) or {}
        return {}

    # ---- writing; only by the holder of the lease, except for the cancel flag

    def append_event(self, event: Event) -> None:
        """Add one event to the log, as one whole line."""
        self._events.append(event.model_dump_json(exclude_none=True))
        if event.final or not self._gathers:
            self._events.flush()

    def append_epoch(self, epoch: Epoch) -> None:
        """Add one epoch to the loss history."""
        cells = (getattr(epoch, name) for name in LOSS_COLUMNS)
        self._losses.append(",".join("" if cell is None else f"{cell:.7g}" for cell in cells))
        if not self._gathers:
            self._losses.flush()

    def gather(self) -> None:
        """Let lines for a store wait for the next `flush`, last word or checkpoint from now on."""
        self._gathers = True

    def flush(self) -> None:
        """Write what waits: losses before the events that tell of them."""
        self._losses.flush()
        self._events.flush()
        with suppress(OSError):
            self._log.flush()

    def save_checkpoint(self, epoch: int, state: bytes) -> None:
        """Save a training's whole state, behind the losses that led to it."""
        self.flush()
        self.checkpoints.save(epoch, state)

    def keep_losses(self, epochs: int) -> None:
        """Cut the loss history behind so many epochs: training goes on from there."""
        self._losses.keep(epochs)

    def mend_logs(self) -> None:
        """Cut off a line that a killed writer left unfinished."""
        for log in (self._events, self._losses, self._log):
            log.mend()

    def record_environment(self, **facts: Any) -> None:
        """Add facts to what the run was made with."""
        facts = {**self.environment(), **facts}
        write_beside(self.path / ENVIRONMENT, json.dumps(facts, indent=2))

    def append_log(self, **fields: Any) -> None:
        """Add one line of JSON to the task's log: when, which task, and these fields."""
        spec = self.spec
        about = {"time": utc_now(), "task_id": self.task_id, "fleet_id": spec.fleet_id}
        about |= {"kind": spec.kind, "machine_id": spec.machine_id}
        with suppress(OSError):
            self._log.append(json.dumps(about | fields, default=str))
            if not self._gathers:
                self._log.flush()

    def finish(self, result: dict[str, Any]) -> None:
        """Record the result; `DONE` is written last."""
        self.flush()
        write_beside(self.path / RESULT, json.dumps(result, indent=2))
        write_beside(self.path / DONE, "")

    def fail(self, error: BaseException, traceback_text: str = "") -> None:
        """Record the failure with its sentence, its type and its traceback."""
        self.flush()
        message = str(error) or type(error).__name__
        if not isinstance(error, GanLabError):
            message = f"{type(error).__name__}: {message}"
        reason = getattr(error, "reason", "error")
        kind = type(error).__name__
        record = {"type": kind, "reason": reason, "message": message, "traceback": traceback_text}
        write_beside(self.path / ERROR, json.dumps(record, indent=2))

    def ask_to_cancel(self) -> None:
        """Raise the flag that a running task reads."""
        write_beside(self.path / CANCEL, "")

    def cancelled(self) -> None:
        """Record that the task was stopped."""
        self.flush()
        write_beside(self.path / CANCELLED, "")

    def reopen(self) -> None:
        """Take back an end and a flag, so that the task can be run again; its lease is claimed."""
        for name in (ERROR, CANCELLED, CANCEL):
            (self.path / name).unlink(missing_ok=True)
        self.lease.forget_attempts()
        self.append_log(state=RESUMED, message="Taken up again")

    def load_checkpoint(self) -> tuple[int, bytes] | None:
        """Return (epoch, state) of the newest whole checkpoint whose losses are all recorded."""
        return self.checkpoints.load(epochs=len(self._losses.lines()))
