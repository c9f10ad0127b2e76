"""The record of a fleet: its folder, from which everything about it can be told, any day.

It lies on the host that started it, also where the workspace is in a store.

Whether anybody is still at work says a lock that the fleet's process holds and that the operating
system takes back from it, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from gan_lab.errors import RequestError
from gan_lab.schema import Message, utc_now
from gan_lab.settings import find_workspace
from gan_lab.workspace.files import read_text, write_beside
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import REMOVED, all_runs, local_folder

FORMAT = 1
FLEETS = "fleets"
PLAN = "plan.json"
TABLE = "fleet.csv"
REPORT_HTML = "fleet-report.html"
LOG = "fleet.log"
CANCEL = "cancel"
RECORDS = ".records"  # one small file per notebook: where it stands
LOCK = ".lock"  # held by the fleet's process while it lives
Outcome = Literal["done", "failed", "cancelled"]
State = Literal["waiting", "running", "interrupted", "done", "failed", "cancelled"]


class FleetPlan(Message):
    """What was asked for: the first file of a fleet's folder, never changed afterwards."""

    model_config = ConfigDict(extra="ignore")  # fields of earlier versions

    format: int = FORMAT
    fleet_id: str
    created: str = Field(default_factory=utc_now)
    notebook: str
    machines: dict[str, dict[str, Any]] = Field(description="Parameters of each machine's notebook")
    at_once: int | None = None


class NotebookRecord(Message):
    """Where one machine's notebook stands; `cell` counts code cells from 1, as In [n] does."""

    model_config = ConfigDict(extra="ignore")  # fields of earlier versions

    started: str = Field(default_factory=utc_now)
    ended: str | None = None
    seconds: float = 0.0
    cell: int = 0
    cells: int = 0
    outcome: Outcome | None = None
    error: str | None = None


def new_fleet_id() -> str:
    """Return an id that sorts by time and that a person can type."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class FleetFolder:
    """One fleet's folder under `runs/fleets/`."""

    def __init__(self, path: Path) -> None:
        self.path, self.fleet_id = path, path.name

    @cached_property
    def plan(self) -> FleetPlan:
        """What was asked for."""
        return FleetPlan.model_validate_json((self.path / PLAN).read_text())

    @property
    def home(self) -> Path:
        """The workspace the fleet belongs to."""
        return self.path.parents[2] if self.path.parents[1].name == "runs" else find_workspace()

    def notebook(self, machine_id: str) -> Path:
        """Where a machine's executed notebook lies."""
        return self.path / f"{machine_id}.ipynb"

    def write_plan(self, plan: FleetPlan) -> None:
        """Make the folder with its plan."""
        write_beside(self.path / PLAN, plan.model_dump_json(indent=2))

    # ---- where each notebook stands

    def record(self, machine_id: str) -> NotebookRecord | None:
        """Return where a notebook stands; None where it has not begun."""
        text = read_text(self.path / RECORDS / f"{machine_id}.json")
        return None if text is None else NotebookRecord.model_validate_json(text)

    def write_record(self, machine_id: str, record: NotebookRecord) -> None:
        """Say where a notebook stands; only by the process that executes it, or behind its end."""
        path = self.path / RECORDS / f"{machine_id}.json"
        write_beside(path, record.model_dump_json(exclude_none=True))

    def write_end(
        self, machine_id: str, record: NotebookRecord, error: str | None
    ) -> NotebookRecord:
        """Say how a notebook ended: with an error it failed, or was cancelled by who asked to."""
        record.ended = utc_now()
        began, ended = map(datetime.fromisoformat, (record.started, record.ended))
        record.seconds, record.error = (ended - began).total_seconds(), error
        record.outcome = "done" if error is None else "cancelled" if self.cancelling else "failed"
        self.write_record(machine_id, record)
        return record

    def forget_record(self, machine_id: str) -> None:
        """Take a notebook's record back, because it is run again."""
        (self.path / RECORDS / f"{machine_id}.json").unlink(missing_ok=True)

    def state(self, record: NotebookRecord | None, alive: bool) -> State:
        """Return the word for a notebook with this record in a fleet whose process lives or not."""
        if record is None:
            return "waiting"
        if record.outcome:
            return record.outcome
        return "running" if alive else "interrupted"

    def states(self) -> dict[str, State]:
        """Return where every machine of the plan stands."""
        alive = self.alive
        return {machine: self.state(self.record(machine), alive) for machine in self.plan.machines}

    # ---- cancelling

    @property
    def cancelling(self) -> bool:
        """Whether somebody has asked a running fleet to end."""
        return (self.path / CANCEL).exists()

    def request_cancel(self) -> None:
        """Raise the flag that the fleet's process reads."""
        write_beside(self.path / CANCEL, "")

    def clear_cancel(self) -> None:
        """Take the flag back."""
        (self.path / CANCEL).unlink(missing_ok=True)

    # ---- whose it is

    @property
    def alive(self) -> bool:
        """Whether a process is at work on this fleet."""
        descriptor = os.open(self.path / LOCK, os.O_RDONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def take(self) -> int:
        """Become the fleet's process: return a descriptor that holds its lock while it is open.

        It can be handed to a child. Raises `RequestError` where another process has it.
        """
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        for _ in range(20):  # another reader's short look must not turn us away
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                time.sleep(0.05)
        os.close(descriptor)
        raise RequestError(
            f"Fleet {self.fleet_id} is still at work: `gan-lab watch {self.fleet_id}` shows it, "
            f"`gan-lab cancel {self.fleet_id}` ends it."
        )

    def remove(self) -> None:
        """Remove a fleet that has ended; moved aside first, so that nobody meets half of it."""
        aside = local_folder(self.home) / REMOVED.format(self.fleet_id)
        descriptor = self.take()
        try:
            self.path.rename(aside)
        finally:
            os.close(descriptor)
        shutil.rmtree(aside)


def fleet_folders(home: Path | None = None) -> list[FleetFolder]:
    """Return every fleet of the workspace, newest first."""
    plans = (local_folder(home) / FLEETS).glob(f"*/{PLAN}")
    return [FleetFolder(path.parent) for path in sorted(plans, reverse=True)]


def find_fleet(fleet_id: str, home: Path | None = None) -> FleetFolder:
    """Take hold of a fleet by its id, an unambiguous beginning of it, or `last`."""
    folders = fleet_folders(home)
    matches = [folder for folder in folders if folder.fleet_id.startswith(fleet_id)]
    if fleet_id == "last":
        matches = folders[:1]
    if len(matches) != 1 or not fleet_id:
        known = ", ".join(folder.fleet_id for folder in folders[:3]) or "none yet"
        raise RequestError(f"No fleet {fleet_id!r}. The newest are: {known}.")
    return matches[0]


def fleet_runs(fleet_id: str, home: Path | None = None) -> dict[str, list[RunFolder]]:
    """Return the fleet's runs of each machine, oldest first."""
    machines: dict[str, list[RunFolder]] = {}
    for run in reversed(all_runs(home)):
        if run.spec.fleet_id == fleet_id:
            machines.setdefault(run.spec.machine_id, []).append(run)
    return machines
