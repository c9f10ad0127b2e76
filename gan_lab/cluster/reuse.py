"""Take up tasks that a fleet's notebook had asked for before, instead of doing the same again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gan_lab.schema import State, TaskSpec
from gan_lab.workspace.fleet_folder import fleet_runs
from gan_lab.workspace.run_folder import RunFolder


def attach(specs: Sequence[TaskSpec], home: Path) -> tuple[list[RunFolder], list[TaskSpec]]:
    """Return the runs of a fleet that answer the first requests of a chain, and the other requests.

    A run answers a request of its kind, machine and configuration, whether it is done, at work or
    waiting, not if it has failed or was cancelled.
    """
    if specs[0].fleet_id is None:
        return [], list(specs)
    earlier = fleet_runs(specs[0].fleet_id, home).get(specs[0].machine_id, [])
    attached: list[RunFolder] = []
    names: dict[str | None, str] = {}  # what the requests call a task: what it is
    for spec in specs:
        named = _named(spec, names)
        found = next((run for run in reversed(earlier) if _answers(run, named)), None)
        if found is None:
            break
        names[spec.task_id] = found.task_id
        attached.append(found)
    return attached, [_named(spec, names) for spec in specs[len(attached) :]]


def _named(spec: TaskSpec, names: dict[str | None, str]) -> TaskSpec:
    """Return a request that calls the training it draws from by the name it has."""
    model = spec.config.get("model_task_id")
    config = {**spec.config, "model_task_id": names[model]} if model in names else spec.config
    return spec.model_copy(update={"config": config})


def _answers(run: RunFolder, spec: TaskSpec) -> bool:
    same = (run.spec.kind, run.spec.config) == (spec.kind, spec.config)
    return same and run.status().state not in (State.FAILURE, State.REVOKED)
