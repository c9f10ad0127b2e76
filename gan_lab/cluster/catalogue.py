"""The machines there are, where each stands, and how a user's own becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_lab.cluster.models import newest_good, verdict_levels
from gan_lab.workspace.profiles import load_profile, profile_ids
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, done_runs

if TYPE_CHECKING:
    import pandas as pd


class Machine:
    """What is known of a machine before a task starts; each of its files is read once."""

    def __init__(self, machine_id: str) -> None:
        self.machine_id = machine_id
        self.profile = load_profile(machine_id)

    @property
    def seed_path(self) -> Path:
        """Where its seed table lies, whether it exists or not."""
        from gan_lab.workspace.tables import seed_path

        return seed_path(self.machine_id)

    @cached_property
    def seed_shape(self) -> tuple[int, int] | None:
        """Rows and columns of its seed table, None where there is none."""
        from gan_lab.workspace.tables import parquet_shape

        return parquet_shape(self.seed_path) if self.seed_path.exists() else None

    @cached_property
    def manifest(self) -> dict[str, Any] | None:
        """What is recorded of its synthetic tables, None where there are none."""
        from gan_lab.workspace.tables import manifest

        return manifest(self.machine_id)

    def check_has_seed(self) -> None:
        """Raise `NoSeedData` where there is no seed table, `BadTable` where it cannot be read."""
        from gan_lab.workspace.tables import no_seed_data

        if self.seed_shape is None:
            raise no_seed_data(self.machine_id)


def machines() -> pd.DataFrame:
    """Return one row per machine: what it is, and what there is of it."""
    import pandas as pd

    newest: dict[str, RunFolder] = {}
    trained = set()
    for run in all_runs():
        newest.setdefault(run.spec.machine_id, run)
        if run.spec.kind == "train" and run.result_data() is not None:
            trained.add(run.spec.machine_id)
    rows = []
    for machine_id in profile_ids():
        machine, last = Machine(machine_id), newest.get(machine_id)
        rows.append(
            {
                "machine_id": machine_id,
                "category": machine.profile.category,
                "sensors": len(machine.profile.sensors),
                "seed_rows": machine.seed_shape[0] if machine.seed_shape else 0,
                "model": machine_id in trained,
                "synthetic": machine.manifest is not None,
                "last_run": f"{last.spec.kind} {last.status().status}" if last else "",
            }
        )
    columns = ["machine_id", "category", "sensors", "seed_rows", "model", "synthetic", "last_run"]
    return pd.DataFrame(rows, columns=columns)


def get_machine_status(machine_id: str) -> dict[str, Any]:
    """Say where a machine stands: profile, seed, model, tables; raises `UnknownMachine`."""
    machine = Machine(machine_id)
    trained = list(done_runs(machine_id, "train"))
    model = newest_good(trained, verdict_levels(machine_id)) if trained else None
    last = next((run for run in all_runs() if run.spec.machine_id == machine_id), None)
    seed = {"path": str(machine.seed_path), "rows": (machine.seed_shape or (0,))[0]}
    return {
        "machine_id": machine_id,
        "profile": machine.profile.model_dump(mode="json", exclude_defaults=True),
        "seed": seed if machine.seed_shape else None,
        "model": {"task_id": model.task_id, **(model.result_data() or {})} if model else None,
        "synthetic": machine.manifest,
        "last_task": last.status().model_dump(mode="json") if last else None,
        "can_train": machine.seed_shape is not None,
        "can_generate": model is not None,
    }


def import_machine(
    machine_id: str,
    files: str | Path | pd.DataFrame | Sequence[str | Path | pd.DataFrame],
    **roles: Any,
) -> Any:
    """Make a machine of the user's own table (CSV, Parquet, Excel, a data frame of any library).

    `life`, `time`, `rul`, `failure`, `failure_mode`: the columns that play these parts; each may be
    left out. `events`: a log of failures, a table too. `replace=True` replaces a machine that
    exists. All options are those of `gan_lab.schema.ImportConfig`. Returns what was found. Raises
    `BadTable` or `BadParameter`.
    """
    from gan_lab.synth.importing.importer import import_table

    several = files if isinstance(files, list | tuple) else [files]
    return import_table(machine_id, several, **roles)
