"""Take up tasks that were asked for before, instead of doing the same again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gan_lab.errors import GanLabError
from gan_lab.schema import State, TaskSpec
from gan_lab.workspace.fleet_folder import FleetRuns
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs


def attach(
    specs: Sequence[TaskSpec], home: Path, reuse: bool = False
) -> tuple[list[RunFolder], list[TaskSpec]]:
    """Return the runs that answer the first requests of a chain, and the other requests.

    A run answers a request of its kind, machine and configuration: in a fleet one of the same
    fleet, whether it is done, at work or waiting, not if it has failed or was cancelled. With
    `reuse` any that is done on the seed table as it is now. Otherwise nothing is attached to.
    """
    attached: list[RunFolder] = []
    earlier: list[RunFolder] = []
    if specs[0].fleet_id is not None:
        fleet = FleetRuns(specs[0].fleet_id, home)
        earlier = fleet.by_machine().get(specs[0].machine_id, [])
    if reuse:
        earlier = [*_done_on_this_seed(specs[0].machine_id, home), *earlier]
    names: dict[str | None, str] = {}  # what the requests call a task: what it is
    for spec in specs:
        found = next((run for run in reversed(earlier) if _answers(run, _named(spec, names))), None)
        if found is None:
            break
        names[spec.task_id] = found.task_id
        attached.append(found)
    return attached, [_named(spec, names) for spec in specs[len(attached) :]]


def _done_on_this_seed(machine_id: str, home: Path) -> list[RunFolder]:
    """Return the machine's runs that are done, and were made of its seed table as it is now."""
    from gan_lab.workspace.tables import manifest, seed_path, table_sha256

    path, tables = seed_path(machine_id), manifest(machine_id)
    if not path.exists():
        return []
    now = table_sha256(path)
    return [
        run
        for run in reversed(all_runs(home))
        if run.spec.machine_id == machine_id
        and run.result_data() is not None
        and run.environment().get("seed_sha256") == now
        # Tables that were drawn since have taken the place of the older ones, and of their report.
        and (run.spec.kind != "generate" or (tables or {}).get("task_id") == run.task_id)
        and (run.spec.kind != "report" or (tables or {}).get("task_id") == run.spec.after)
    ]


def _named(spec: TaskSpec, names: dict[str | None, str]) -> TaskSpec:
    model = spec.config.get("model_task_id")
    config = {**spec.config, "model_task_id": names[model]} if model in names else spec.config
    return spec.model_copy(update={"config": config})


def _answers(run: RunFolder, spec: TaskSpec) -> bool:
    try:
        same = (run.spec.kind, run.spec.config) == (spec.kind, spec.config)
        return same and run.status().state not in (State.FAILURE, State.REVOKED)
    except GanLabError:
        return False
