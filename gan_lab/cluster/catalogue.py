"""The machines there are, where each stands, and how a user's own becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_lab.errors import NoModel, NoSeedData
from gan_lab.workspace.profiles import load_profile, profile_ids
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs

if TYPE_CHECKING:
    import pandas as pd


# ---- machines


def machines() -> pd.DataFrame:
    """Return one row per machine: what it is, and what there is of it."""
    import pandas as pd

    newest: dict[str, RunFolder] = {}
    trained = set()
    for run in all_runs():
        newest.setdefault(run.spec.machine_id, run)
        if run.spec.kind == "train" and run.result_data() is not None:
            trained.add(run.spec.machine_id)
    rows = [_machine_row(name, newest.get(name), name in trained) for name in profile_ids()]
    columns = ["machine_id", "category", "sensors", "seed_rows", "model", "synthetic", "last_run"]
    return pd.DataFrame(rows, columns=columns)


def _machine_row(machine_id: str, last: RunFolder | None, trained: bool) -> dict[str, Any]:
    from gan_lab.workspace.tables import synthetic_folder

    profile = load_profile(machine_id)
    return {
        "machine_id": machine_id,
        "category": profile.category,
        "sensors": len(profile.sensors),
        "seed_rows": _seed_rows(machine_id),
        "model": trained,
        "synthetic": (synthetic_folder(machine_id) / "manifest.json").exists(),
        "last_run": f"{last.spec.kind} {last.status().status}" if last else "",
    }


def _seed_rows(machine_id: str) -> int:
    from gan_lab.workspace.tables import parquet_rows, seed_path

    path = seed_path(machine_id)
    return parquet_rows(path) if path.exists() else 0


def get_machine_status(machine_id: str) -> dict[str, Any]:
    """Say where a machine stands: profile, seed, model, tables; raises `UnknownMachine`."""
    from gan_lab.cluster.models import training_run
    from gan_lab.workspace.tables import manifest, seed_path

    profile, path = load_profile(machine_id), seed_path(machine_id)
    trained: RunFolder | None = None
    with suppress(NoModel):
        trained = training_run(machine_id)
    mine = [run for run in all_runs() if run.spec.machine_id == machine_id]
    return {
        "machine_id": machine_id,
        "profile": profile.model_dump(mode="json", exclude_defaults=True),
        "seed": {"path": str(path), "rows": _seed_rows(machine_id)} if path.exists() else None,
        "model": {"task_id": trained.task_id, **(trained.result_data() or {})} if trained else None,
        "synthetic": manifest(machine_id),
        "last_task": mine[0].status().model_dump(mode="json") if mine else None,
        "can_train": path.exists(),
        "can_generate": trained is not None,
    }


def import_machine(machine_id: str, files: str | Path | Sequence[str | Path], **roles: Any) -> Any:
    """Make a machine of the user's own table (CSV or Parquet); returns what was understood.

    `life`, `time`, `rul`, `failure`, `failure_mode`: the columns that play these parts; each may be
    left out.
    `replace=True` replaces a machine that exists. Raises `BadTable` or `BadParameter`.
    """
    from gan_lab.synth.importing.importer import import_table

    paths = [files] if isinstance(files, str | Path) else list(files)
    return import_table(machine_id, [Path(path) for path in paths], **roles)


def has_seed(machine_id: str) -> bool:
    """Whether there is a seed table of a machine."""
    from gan_lab.workspace.tables import seed_path

    load_profile(machine_id)
    return seed_path(machine_id).exists()


def check_has_seed(machine_id: str) -> None:
    """Raise `NoSeedData` where there is no seed table to learn from."""
    if not has_seed(machine_id):
        raise NoSeedData(
            f"{machine_id} has no seed data. Make some with `gan-lab seed {machine_id}`, "
            f"or bring your own with `gan-lab import {machine_id} FILE --replace`."
        )
    _seed_rows(machine_id)
