"""A fleet: one notebook executed for many machines, over night, by a process that needs nobody."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gan_lab import runs
from gan_lab.cluster.fleet_folder import (
    FleetFolder,
    FleetPlan,
    NotebookRecord,
    State,
    find_fleet,
    fleet_folders,
    new_fleet_id,
)
from gan_lab.errors import BadParameter, UnknownMachine
from gan_lab.machines import profile_ids
from gan_lab.runs import FleetRuns, RunFolder, read_services, runs_folder
from gan_lab.settings import Settings, load_settings

if TYPE_CHECKING:
    import pandas as pd

NOTEBOOK = "notebooks/machine.ipynb"
LOOK_S = 0.5  # how late a reader sees a change
KERNEL_BYTES = 400_000_000  # what a notebook's kernel and the process that executes it may need
KERNELS_PER_CORE = 16  # they wait most of the time
Which = Literal["unfinished", "failed", "all"]


@dataclass(frozen=True)
class Row:
    """Where one machine of a fleet stands; `error` is one line, `seconds` its notebook's time."""

    machine_id: str
    state: State
    stage: str = ""
    progress: int = 0
    epoch: int | None = None
    loss: float | None = None
    seconds: float = 0.0
    message: str = ""
    error: str | None = None
    notebook: Path | None = None


# ---- starting


def run_fleet(
    machines: list[str] | pd.DataFrame | str | Path,
    notebook: str | Path = NOTEBOOK,
    parameters: dict[str, Any] | None = None,
    at_once: int | None = None,
    time_limit_s: float | None = None,
) -> Fleet:
    """Execute a notebook for each of many machines and return at once with the fleet.

    `machines`: ids and patterns (`motor_*`), or a table (DataFrame or CSV file) with a `machine_id`
    column and one column per parameter, an empty cell meaning the value of `parameters` or of the
    notebook. `at_once`: notebooks at the same time; by default the cluster's workers + 1.
    `time_limit_s`: how long one notebook may take. Raises `RequestError` before anything runs.
    """
    from gan_lab.notebook.execute import check_parameters

    settings = load_settings()
    path = _notebook_path(Path(notebook), settings.home)
    wanted = _machines_with_parameters(machines, parameters or {})
    if any(number is not None and number <= 0 for number in (at_once, time_limit_s)):
        raise BadParameter(
            f"at_once={at_once} and time_limit_s={time_limit_s} must be greater than 0."
        )
    check_parameters(path, wanted)
    fleet_id = new_fleet_id()
    folder = FleetFolder(runs_folder(settings.home) / runs.FLEETS / fleet_id)
    plan = FleetPlan(
        fleet_id=fleet_id,
        notebook=str(path),
        machines=wanted,
        at_once=at_once,
        time_limit_s=time_limit_s,
    )
    kernels = at_once or kernels_at_once(settings)
    folder.write_plan(plan)
    lock = folder.take()
    try:
        return Fleet(folder, _launch(folder, lock, kernels))
    finally:
        os.close(lock)


def resume_fleet(fleet_id: str, which: Which = "unfinished") -> Fleet:
    """Run again those notebooks of a fleet that did not finish, that failed, or both (`all`).

    Finished machines are not run again, and notebooks attach to the fleet's finished tasks. Raises
    `RequestError` where the fleet is unknown or still at work, or its notebook is gone.
    """
    from gan_lab.notebook.execute import check_parameters

    folder, settings = find_fleet(fleet_id), load_settings()
    if which not in ("unfinished", "failed", "all"):
        raise BadParameter(f"Cannot resume {which!r}: choose unfinished, failed or all.")
    again = {
        "unfinished": {"interrupted", "cancelled"},
        "failed": {"failed"},
        "all": {"interrupted", "cancelled", "failed"},
    }[which]
    check_parameters(
        _notebook_path(Path(folder.plan.notebook), settings.home), folder.plan.machines
    )
    lock = folder.take()
    try:
        kernels = folder.plan.at_once or kernels_at_once(settings)
        folder.unask()
        for machine_id in folder.plan.machines:
            if folder.state(folder.record(machine_id), alive=False) in again:
                folder.forget_record(machine_id)
        return Fleet(folder, _launch(folder, lock, kernels))
    finally:
        os.close(lock)


def fleet(fleet_id: str = "last") -> Fleet:
    """Take hold of a fleet again, by its id or the beginning of it, from anywhere, any day."""
    return Fleet(find_fleet(fleet_id))


def fleets() -> pd.DataFrame:
    """Return one row per fleet, newest first, with how many machines stand how."""
    import pandas as pd

    rows = []
    for folder in fleet_folders():
        found = Fleet(folder)
        facts = {"fleet_id": found.fleet_id, "created": folder.plan.created}
        rows.append(facts | {"notebook": Path(folder.plan.notebook).name} | found.counts())
    return pd.DataFrame(rows)


def _notebook_path(notebook: Path, home: Path) -> Path:
    for path in (notebook.absolute(), home / notebook):
        if path.is_file():
            return path
    raise BadParameter(f"There is no notebook {notebook} here or in {home}.")


def _machines_with_parameters(
    machines: list[str] | pd.DataFrame | str | Path, parameters: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    import pandas as pd

    if isinstance(machines, str | Path):
        try:
            machines = pd.read_csv(machines)
        except (OSError, ValueError) as error:
            raise BadParameter(f"Cannot read the machines from {machines}: {error}.") from None
    if isinstance(machines, pd.DataFrame):
        return _from_table(machines, parameters)
    return {machine_id: dict(parameters) for machine_id in choose_machines(machines)}


def _from_table(table: pd.DataFrame, parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if "machine_id" not in table:
        raise BadParameter(f"The table of machines has no column machine_id, but {list(table)}.")
    wanted: dict[str, dict[str, Any]] = {}
    for row in table.convert_dtypes().to_dict("records"):
        values = {str(name): value for name, value in row.items() if not _empty(value)}
        machine_id = str(values.pop("machine_id", ""))
        if machine_id in wanted:
            raise BadParameter(
                f"The table of machines names {machine_id} twice: one row a machine."
            )
        choose_machines([machine_id])
        wanted[machine_id] = parameters | values
    if not wanted:
        raise BadParameter("The table of machines is empty.")
    return wanted


def _empty(cell: Any) -> bool:
    import pandas as pd

    return cell is None or cell is pd.NA or cell != cell


def choose_machines(patterns: list[str]) -> list[str]:
    """Return the machines that ids and patterns such as `motor_*` name, each once, in their order.

    Raises `UnknownMachine` for one that names none.
    """
    known, chosen = profile_ids(), dict[str, None]()
    for pattern in patterns:
        found = fnmatch.filter(known, pattern)
        if not found:
            raise UnknownMachine(f"No machine is named {pattern!r}: see `gan-lab machines`.")
        chosen |= dict.fromkeys(found)
    if not chosen:
        raise BadParameter("A fleet needs at least one machine.")
    return list(chosen)


def kernels_at_once(settings: Settings) -> int:
    """Return how many notebooks to run at once: the setting, else what cluster and head can carry.

    One more than the cluster has workers, so that none idles while a notebook draws. Starts or
    joins the services; raises `ServiceUnreachable`.
    """
    if settings.fleet_kernels:
        return settings.fleet_kernels
    import psutil

    from gan_lab.cluster.services import ensure_services, get_client

    record = read_services(settings.home) if ensure_services(settings).embedded else None
    workers = record.workers if record else sum(get_client(settings).nthreads().values())
    carried = psutil.virtual_memory().available // KERNEL_BYTES
    return max(1, min(workers + 1, carried, KERNELS_PER_CORE * (os.cpu_count() or 1)))


def _launch(folder: FleetFolder, lock: int, kernels: int) -> subprocess.Popen[bytes]:
    """Start the fleet's process, apart from this one, and hand it the lock."""
    command = [
        sys.executable,
        "-m",
        "gan_lab.notebook.fleet_process",
        str(folder.path),
        str(kernels),
    ]
    with (folder.path / runs.FLEET_LOG).open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder.home,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock],
        )


# ---- the fleet as people see it


class Fleet:
    """A handle of one fleet: where its machines stand, and its record."""

    def __init__(self, folder: FleetFolder, process: subprocess.Popen[bytes] | None = None) -> None:
        self._folder, self._process = folder, process
        self._runs = FleetRuns(folder.fleet_id, folder.home)
        self._ended: dict[str, tuple[str | None, Row]] = {}  # what has ended changes no more
        self.fleet_id, self.folder = folder.fleet_id, folder.path
        self.plan = folder.plan

    def __repr__(self) -> str:
        return f"<Fleet {self.fleet_id}: {self.summary()}>"

    @property
    def report(self) -> Path:
        """The report as one page; there when the fleet has ended."""
        return self.folder / runs.FLEET_REPORT_HTML

    @property
    def running(self) -> bool:
        """Whether the fleet's process is at work."""
        if self._process is not None:
            self._process.poll()  # puts away a child that has ended
        return self._folder.alive

    def rows(self) -> list[Row]:
        """Return where each machine stands, in the order of the plan."""
        alive, by_machine = self._folder.alive, self.by_machine()
        return [self._row(name, alive, by_machine.get(name, [])) for name in self.plan.machines]

    def _row(self, machine_id: str, alive: bool, found: list[RunFolder]) -> Row:
        record = self._folder.record(machine_id)
        state = self._folder.state(record, alive)
        if record is None:
            return Row(machine_id, state)
        ended, row = self._ended.get(machine_id, (None, None))
        if row is None or record.ended is None or record.ended != ended:
            row = self._read_row(machine_id, state, record, found)
            self._ended[machine_id] = (record.ended, row)
        return row

    def _read_row(
        self, machine_id: str, state: State, record: NotebookRecord, found: list[RunFolder]
    ) -> Row:
        seen = [run.status() for run in found]
        counted = [one.progress for one in seen if one.status not in ("failure", "revoked")]
        now = next((one for one in seen if not one.state.final), seen[-1] if seen else None)
        trained = [one.metadata for one in seen if one.metadata["kind"] == "train"]
        cells_done = 100 * max(0, record.cell - 1) // max(1, record.cells)
        message, stage, error = record.error or "", "", record.error
        if state == "running":
            stage = now.metadata["kind"] if now else ""
            cell = f"cell {record.cell} of {record.cells}" if record.cell else "starting its kernel"
            message = now.message if now else cell
        elif state == "interrupted":
            message = error = f"cut off in cell {record.cell}"
        path = self._folder.notebook(machine_id)
        return Row(
            machine_id,
            state,
            stage,
            100 if state == "done" else sum(counted) // len(counted) if counted else cells_done,
            trained[-1]["epoch"] if trained else None,
            trained[-1]["loss"] if trained else None,
            _seconds_since(record.started) if state == "running" else record.seconds,
            message,
            error,
            path if path.exists() else None,
        )

    def runs(self, machine_id: str) -> list[RunFolder]:
        """Return the run folders of one machine's tasks in this fleet, oldest first."""
        return self.by_machine().get(machine_id, [])

    def by_machine(self) -> dict[str, list[RunFolder]]:
        """Return the run folders of every machine that has tasks, oldest first."""
        return self._runs.by_machine()

    def status(self) -> pd.DataFrame:
        """Return one row per machine: its state, figures and errors, then its parameters."""
        import pandas as pd

        from gan_lab.notebook.fleet_report import entries

        shown = ("machine_id", "state", "progress", "epoch", "seconds")
        table = [
            {name: getattr(one.row, name) for name in shown}
            | one.facts
            | {"error": one.row.error, "notebook": one.row.notebook and str(one.row.notebook)}
            | self.plan.machines[one.row.machine_id]
            for one in entries(self)
        ]
        return pd.DataFrame(table)

    def counts(self) -> dict[str, int]:
        """Return how many machines there are in all and in each state that occurs."""
        states = list(self._folder.states().values())
        words = ("done", "running", "waiting", "failed", "interrupted", "cancelled")
        return {"machines": len(states)} | {w: states.count(w) for w in words if w in states}

    def summary(self) -> str:
        """Return the counts as half a sentence: `2 of 3 done, 1 failed`."""
        counts = self.counts()
        total = counts.pop("machines")
        done = f"{counts.pop('done', 0)} of {total} done"
        return ", ".join([done, *(f"{number} {word}" for word, number in counts.items())])

    def headline(self) -> str:
        """Return the first line of the report: what needs a person."""
        from gan_lab.notebook.fleet_report import entries, headline

        return headline(self, entries(self))

    @property
    def seconds(self) -> float:
        """Seconds from the fleet's plan to the end of its last notebook (now, while one runs)."""
        if self.running:
            return _seconds_since(self.plan.created)
        records = [self._folder.record(machine_id) for machine_id in self.plan.machines]
        ends = [record.ended for record in records if record and record.ended]
        began = datetime.fromisoformat(self.plan.created)
        last = max(map(datetime.fromisoformat, ends), default=began)
        return (last - began).total_seconds()

    # ---- following and stopping

    def follow(self) -> Iterator[list[Row]]:
        """Yield the rows now, whenever something has changed, and once more behind the end."""
        before: list[Row] | None = None
        while True:
            alive = self.running
            rows = self.rows()
            if rows != before or not alive:
                yield rows
            if not alive:
                return
            before = rows
            time.sleep(LOOK_S)

    def wait(self, timeout: float | None = None) -> Fleet:
        """Wait until the fleet has ended and its report lies there; raises `TimeoutError` (s)."""
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while self.running:
            if time.monotonic() > until:
                raise TimeoutError(f"Fleet {self.fleet_id} has not ended: {self.summary()}.")
            time.sleep(LOOK_S)
        return self

    def watch(self) -> Any:
        """Return the fleet's live table for a notebook."""
        from gan_lab.notebook.widgets import watch

        return watch(self)

    def stop(self) -> None:
        """Start no more notebooks; those that run go on to their end."""
        if self.running:
            self._folder.ask_to("stop")

    def cancel(self) -> None:
        """Cancel the fleet's tasks and end its notebooks; also the tasks of a fleet that died."""
        from gan_lab.notebook.fleet_process import cancel_tasks

        if self.running:
            self._folder.ask_to("cancel")
        else:
            cancel_tasks(self._folder)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.watch()._repr_mimebundle_(**options)


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
