"""Fleets are started and resumed: what is wrong is refused before anything runs."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_lab.errors import BadParameter, RequestError, UnknownMachine
from gan_lab.notebook.fleet.fleet import Fleet
from gan_lab.notebook.fleet.rows import BAD_ENDS
from gan_lab.settings import Settings, load_settings
from gan_lab.store import StorePath
from gan_lab.workspace import fleet_folder
from gan_lab.workspace.fleet_folder import FleetFolder, FleetPlan, find_fleet, new_fleet_id
from gan_lab.workspace.profiles import profile_ids
from gan_lab.workspace.runs import local_folder

NOTEBOOK = "notebooks/machine.ipynb"
KERNEL_BYTES = 400_000_000  # what a notebook's kernel and the process that executes it may need


def run_fleet(
    machines: Sequence[str] | Mapping[str, dict[str, Any]],
    notebook: str | Path = NOTEBOOK,
    parameters: dict[str, Any] | None = None,
    at_once: int | None = None,
) -> Fleet:
    """Execute a notebook for each of many machines and return at once with the fleet.

    `machines`: ids and patterns (`motor_*`); of a mapping each has parameters of its own, which go
    before `parameters`, and a later pattern's before an earlier one's. `at_once`: notebooks at the
    same time; by default the cluster's workers + 1. Raises `RequestError` before anything runs.
    """
    settings = load_settings()
    path = _notebook_path(Path(notebook), settings.home)
    wanted = choose_machines(machines, parameters)
    if at_once is not None and at_once <= 0:
        raise BadParameter(f"at_once={at_once} must be greater than 0.")
    check_parameters(path, wanted)
    folder = FleetFolder(local_folder(settings.home) / fleet_folder.FLEETS / new_fleet_id())
    kernels = at_once or kernels_at_once(settings)
    folder.write_plan(
        FleetPlan(
            fleet_id=folder.fleet_id,
            notebook=str(path),
            machines=wanted,
            at_once=at_once,
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
        folder.clear_cancel()
        for machine_id in folder.plan.machines:
            if folder.state(folder.record(machine_id), alive=False) in BAD_ENDS:
                folder.forget_record(machine_id)
        with (folder.path / fleet_folder.LOG).open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gan_lab.notebook.fleet.process"),
                    *(str(folder.path), str(kernels)),
                ],
                cwd=folder.path if isinstance(folder.home, StorePath) else folder.home,
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


def choose_machines(
    machines: Sequence[str] | Mapping[str, dict[str, Any]], parameters: dict[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the machines that ids and patterns name, each once, in order, with its parameters."""
    if isinstance(machines, str):
        raise BadParameter(f"Give the machines of a fleet as a list: [{machines!r}].")
    own = machines if isinstance(machines, Mapping) else {name: {} for name in machines}
    known, chosen = profile_ids(), dict[str, dict[str, Any]]()
    for pattern, values in own.items():
        found = fnmatch.filter(known, pattern)
        if not found:
            raise UnknownMachine(f"No machine is named {pattern!r}: see `gan-lab machines`.")
        for name in found:
            chosen[name] = {**chosen.get(name, parameters or {}), **values}
    if not chosen:
        raise BadParameter("A fleet needs at least one machine.")
    return chosen


# ---- by which notebook


def _notebook_path(notebook: Path, home: Path) -> Path:
    homes = [] if isinstance(home, StorePath) else [home]  # notebooks lie where they are run
    for path in (notebook.absolute(), *(each / notebook for each in homes)):
        if path.is_file():
            return path
    raise BadParameter(f"There is no notebook {notebook} here{f' or in {home}' if homes else ''}.")


def check_parameters(notebook: Path, given: dict[str, dict[str, Any]]) -> None:
    """Compare the parameters of each machine with what the notebook's `parameters` cell names;
    papermill itself would warn of an unknown name and run with the default.

    Raises `RequestError` for the notebook, `BadParameter` for the rest.
    """
    import papermill

    try:
        known = papermill.inspect_notebook(notebook)
    except Exception as error:
        raise RequestError(f"{notebook} cannot be read as a notebook: {error}.") from None
    if "machine_id" not in known:
        raise RequestError(
            f"{notebook.name} has no cell tagged `parameters` that sets machine_id: each notebook "
            "of a fleet is told its machine by that name."
        )
    for name in {name: None for values in given.values() for name in values}:
        if name not in known:
            names = ", ".join(known)
            raise BadParameter(f"{notebook.name} has no parameter {name!r}, but: {names}.")
