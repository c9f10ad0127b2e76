"""Fleets as people start, show and stop them."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gan_lab.errors import BadParameter, UnknownMachine
from gan_lab.notebook.fleet.record import FleetRecord
from gan_lab.notebook.fleet.report import headline
from gan_lab.settings import Settings, load_settings
from gan_lab.workspace import fleet_folder
from gan_lab.workspace.fleet_folder import (
    FleetFolder,
    FleetPlan,
    FleetRuns,
    find_fleet,
    fleet_folders,
    new_fleet_id,
)
from gan_lab.workspace.profiles import profile_ids
from gan_lab.workspace.runs import runs_folder
from gan_lab.workspace.service_record import read_services

if TYPE_CHECKING:
    import pandas as pd

NOTEBOOK = "notebooks/machine.ipynb"
KERNEL_BYTES = 400_000_000  # what a notebook's kernel and the process that executes it may need
KERNELS_PER_CORE = 16  # they wait most of the time
Which = Literal["unfinished", "failed", "all"]


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
    from gan_lab.notebook.fleet.execute import check_parameters

    settings = load_settings()
    path = _notebook_path(Path(notebook), settings.home)
    wanted = machines_with_parameters(machines, parameters or {})
    if any(number is not None and number <= 0 for number in (at_once, time_limit_s)):
        raise BadParameter(
            f"at_once={at_once} and time_limit_s={time_limit_s} must be greater than 0."
        )
    check_parameters(path, wanted)
    fleet_id = new_fleet_id()
    folder = FleetFolder(runs_folder(settings.home) / fleet_folder.FLEETS / fleet_id)
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
    from gan_lab.notebook.fleet.execute import check_parameters

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


def machines_with_parameters(
    machines: list[str] | pd.DataFrame | str | Path, parameters: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the parameters of each machine's notebook; raises `BadParameter`, `UnknownMachine`.

    A row of a table, or of a CSV file, stands before `parameters`, which are for all machines.
    """
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

    from gan_lab.cluster.services.connection import ensure_services, get_client

    record = read_services(settings.home) if ensure_services(settings).embedded else None
    workers = record.workers if record else sum(get_client(settings).nthreads().values())
    carried = psutil.virtual_memory().available // KERNEL_BYTES
    return max(1, min(workers + 1, carried, KERNELS_PER_CORE * (os.cpu_count() or 1)))


def _launch(folder: FleetFolder, lock: int, kernels: int) -> subprocess.Popen[bytes]:
    """Start the fleet's process, apart from this one, and hand it the lock."""
    command = [sys.executable, "-m", "gan_lab.notebook.fleet.process"]
    command += [str(folder.path), str(kernels)]
    with (folder.path / fleet_folder.LOG).open("ab") as log:
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


def fleet(fleet_id: str = "last") -> Fleet:
    """Take hold of a fleet again, by its id or the beginning of it, from anywhere, any day."""
    return Fleet(find_fleet(fleet_id))


class Fleet(FleetRecord):
    """A handle of one fleet: where its machines stand, shown, followed and stopped."""

    def status(self) -> pd.DataFrame:
        """Return one row per machine: its state, figures and errors, then its parameters."""
        import pandas as pd

        shown = ("machine_id", "state", "progress", "epoch", "seconds")
        table = [
            {name: getattr(row, name) for name in shown}
            | row.figures
            | {"error": row.error, "notebook": row.notebook and str(row.notebook)}
            | self.plan.machines[row.machine_id]
            for row in self.rows()
        ]
        return pd.DataFrame(table)

    def headline(self) -> str:
        """Return the first line of the report: which machines need attention, and why."""
        return headline(self.rows())

    def view(self) -> Any:
        """Return a new view of the fleet, as `watch` shows it."""
        from gan_lab.notebook.fleet.view import FleetTable

        return FleetTable(self)

    def watch(self) -> Any:
        """Return the fleet's live table for a notebook."""
        from gan_lab.notebook.widgets import watch

        return watch(self)

    def cancel(self) -> None:
        """Cancel the fleet's tasks and end its notebooks; also the tasks of a fleet that died."""
        if self.running:
            self._folder.ask_to("cancel")
        else:
            cancel_tasks(self._folder)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.watch()._repr_mimebundle_(**options)


def cancel_tasks(folder: FleetFolder, machine_id: str | None = None) -> None:
    """Cancel the tasks of a fleet, or of one of its machines, that have not ended."""
    by_machine = FleetRuns(folder.fleet_id, folder.home).by_machine()
    for name, found in by_machine.items():
        for run in found:
            if machine_id in (None, name) and not run.final:
                from gan_lab.cluster.submit import task

                task(run.task_id).cancel()
