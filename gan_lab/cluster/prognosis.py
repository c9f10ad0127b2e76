"""How long will running units last: answered in this process, or by a task where they are many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_lab.cluster import submit
from gan_lab.cluster.catalogue import Machine
from gan_lab.cluster.models import load_lives_model, training_run
from gan_lab.schema import Kind
from gan_lab.workspace.profiles import Profile
from gan_lab.workspace.run_folder import RUNNING

if TYPE_CHECKING:
    import pandas as pd

    from gan_lab.synth.lives.prognosis.prognosis import Prognosis


def prognose(
    machine_id: str, running: pd.DataFrame | str | Path, model_task_id: str | None = None
) -> Prognosis:
    """Answer in this process; see `gan_lab.prognose`."""
    machine = Machine(machine_id)
    model = load_lives_model(training_run(machine.machine_id, model_task_id))
    return model.prognose(read_running(machine.profile, running))


def prognose_task(
    machine_id: str, running: pd.DataFrame | str | Path, model_task_id: str | None = None
) -> submit.Run:
    """Start the same as a task on the cluster; its run folder gets `prognosis.parquet`, a row a
    unit.

    Raises what `prognose` raises, but for units that only the task can find wrong.
    """
    from gan_lab.workspace.tables import write_table

    machine = Machine(machine_id)
    source = training_run(machine.machine_id, model_task_id)
    load_lives_model(source)
    table = read_running(machine.profile, running)
    wanted: dict[Kind, dict[str, Any] | None] = {"prognose": {"model_task_id": source.task_id}}
    return submit.start(machine, wanted, lambda run: write_table(run / RUNNING, table))[0]


def read_running(profile: Profile, running: pd.DataFrame | str | Path) -> pd.DataFrame:
    """Return a table of units that run, its columns in types of their own, times read as they were
    when the machine was imported; raises `BadTable`."""
    from gan_lab.synth.importing.importer import read_table

    form = profile.imported.time_format if profile.imported else None
    return read_table(running, {str(profile.roles.time): form} if form else {})
