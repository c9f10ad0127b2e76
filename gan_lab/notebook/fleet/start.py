"""Fleets are started and resumed: what is wrong is refused before anything runs."""

from __future__ import annotations

import ast
import fnmatch
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_lab.errors import BadParameter, RequestError, UnknownMachine
from gan_lab.notebook.fleet.fleet import BAD_ENDS, Fleet
from gan_lab.settings import Settings, load_settings
from gan_lab.workspace import fleet_folder
from gan_lab.workspace.fleet_folder import FleetFolder, FleetPlan, find_fleet, new_fleet_id
from gan_lab.workspace.profiles import profile_ids
from gan_lab.workspace.runs import runs_folder

if TYPE_CHECKING:
    import pandas as pd

NOTEBOOK = "notebooks/machine.ipynb"
KERNEL_BYTES = 400_000_000  # what a notebook's kernel and the process that executes it may need


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
    settings = load_settings()
    path = _notebook_path(Path(notebook), settings.home)
    wanted = machines_with_parameters(machines, parameters or {})
    if any(number is not None and number <= 0 for number in (at_once, time_limit_s)):
        raise BadParameter(
            f"at_once={at_once} and time_limit_s={time_limit_s} must be greater than 0."
        )
    check_parameters(path, wanted)
    folder = FleetFolder(runs_folder(settings.home) / fleet_folder.FLEETS / new_fleet_id())
    kernels = at_once or kernels_at_once(settings)
    folder.write_plan(
        FleetPlan(
            fleet_id=folder.fleet_id,
            notebook=str(path),
            machines=wanted,
            at_once=at_once,
            time_limit_s=time_limit_s,
        )
    )
    return _launch(folder, kernels)


def resume_fleet(fleet_id: str) -> Fleet:
    """Run again those notebooks of a fleet that were cut off, cancelled, or failed.

    Finished machines are not run again, and notebooks attach to the fleet's finished tasks. Raises
    `RequestError` where the fleet is unknown or still at work, or its notebook is gone.
    """
    folder, settings = find_fleet(fleet_id), load_settings()
    notebook = _notebook_path(Path(folder.plan.notebook), settings.home)
    check_parameters(notebook, folder.plan.machines)
    os.close(folder.take())  # one that is at work is refused before services are started
    return _launch(folder, folder.plan.at_once or kernels_at_once(settings))


def _launch(folder: FleetFolder, kernels: int) -> Fleet:
    """Start the fleet's process, apart from this one, and hand it the lock."""
    lock = folder.take()
    try:
        folder.clear_stop()
        for machine_id in folder.plan.machines:
            if folder.state(folder.record(machine_id), alive=False) in BAD_ENDS:
                folder.forget_record(machine_id)
        with (folder.path / fleet_folder.LOG).open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gan_lab.notebook.fleet.process"),
                    *(str(folder.path), str(kernels)),
                ],
                cwd=folder.home,
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[lock],
            )
        return Fleet(folder, process)
    finally:
        os.close(lock)


def kernels_at_once(settings: Settings) -> int:
    """Return how many notebooks to run at once: the setting, else one more than there are workers,

    so that none idles while a notebook draws; fewer where their kernels would not fit in memory.
    Starts or joins the services; raises `ServiceUnreachable`.
    """
    if settings.fleet_kernels:
        return settings.fleet_kernels
    import psutil

    from gan_lab.cluster.services import worker_count

    carried = psutil.virtual_memory().available // KERNEL_BYTES
    return max(1, min(worker_count(settings) + 1, carried))


# ---- for which machines


def machines_with_parameters(
    machines: list[str] | pd.DataFrame | str | Path, parameters: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the parameters of each machine's notebook; raises `BadParameter`, `UnknownMachine`."""
    import pandas as pd

    if isinstance(machines, list):
        return {machine_id: dict(parameters) for machine_id in choose_machines(machines)}
    if isinstance(machines, str | Path):
        try:
            machines = pd.read_csv(machines)
        except (OSError, ValueError) as error:
            raise BadParameter(f"Cannot read the machines from {machines}: {error}.") from None
    if "machine_id" not in machines:
        raise BadParameter(f"The table of machines has no column machine_id: {list(machines)}.")
    ids = machines["machine_id"].astype(str)
    if ids.duplicated().any():
        twice = ids[ids.duplicated()].iloc[0]
        raise BadParameter(f"The table of machines names {twice} twice: one row a machine.")
    choose_machines(ids.tolist())
    given = machines.drop(columns="machine_id").convert_dtypes().astype(object)
    rows = given.set_axis(ids).iterrows()
    return {machine_id: parameters | row.dropna().to_dict() for machine_id, row in rows}


def choose_machines(patterns: list[str]) -> list[str]:
    """Return the machines that ids and patterns (`motor_*`) name, each once, in their order."""
    known, chosen = profile_ids(), dict[str, None]()
    for pattern in patterns:
        found = fnmatch.filter(known, pattern)
        if not found:
            raise UnknownMachine(f"No machine is named {pattern!r}: see `gan-lab machines`.")
        chosen |= dict.fromkeys(found)
    if not chosen:
        raise BadParameter("A fleet needs at least one machine.")
    return list(chosen)


# ---- by which notebook


def _notebook_path(notebook: Path, home: Path) -> Path:
    for path in (notebook.absolute(), home / notebook):
        if path.is_file():
            return path
    raise BadParameter(f"There is no notebook {notebook} here or in {home}.")


def check_parameters(notebook: Path, given: dict[str, dict[str, Any]]) -> None:
    """Compare the parameters of each machine with what the notebook's `parameters` cell names.

    papermill itself would warn of an unknown name and run with the default, and turn a value that
    is not JSON into text. Raises `RequestError` for the notebook, `BadParameter` for the rest.
    """
    known = notebook_parameters(notebook)
    for machine_id, values in given.items():
        for name, value in values.items():
            if name not in known:
                names = ", ".join(known)
                raise BadParameter(f"{notebook.name} has no parameter {name!r}, but: {names}.")
            what, default = f"Parameter {name} of {machine_id} is {value!r}", known[name]
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                raise BadParameter(
                    f"{what}, which JSON cannot hold: use numbers, texts, booleans, lists."
                ) from None
            number, text = isinstance(default, int | float), isinstance(value, str)
            if value is not None and default is not None and number == text:
                raise BadParameter(f"{what}; the notebook's own value is {default!r}.")


def notebook_parameters(notebook: Path) -> dict[str, Any]:
    """Return the names in a notebook's `parameters` cell with their defaults (None: no literal)."""
    import papermill

    try:
        found = papermill.inspect_notebook(notebook)
    except Exception as error:
        raise RequestError(f"{notebook} cannot be read as a notebook: {error}.") from None
    if "machine_id" not in found:
        raise RequestError(
            f"{notebook.name} has no cell tagged `parameters` that sets machine_id: each notebook "
            "of a fleet is told its machine by that name."
        )
    defaults: dict[str, Any] = dict.fromkeys(found)
    for name, each in found.items():
        with suppress(ValueError, SyntaxError):
            defaults[name] = ast.literal_eval(each["default"])
    return defaults
