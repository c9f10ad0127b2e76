"""Which runs and fleets may go, and why the others stay: no model in use, nor what it made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gan_lab.cluster.models import levels_by_model, newest_good
from gan_lab.errors import RequestError
from gan_lab.workspace.files import folder_bytes
from gan_lab.workspace.fleet_folder import FleetFolder, fleet_folders
from gan_lab.workspace.profiles import profile_ids
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, remove_run, remove_what_is_left
from gan_lab.workspace.tables import manifest

Removable = RunFolder | FleetFolder


@dataclass(frozen=True)
class Sweep:
    """What would go, runs before fleets, and why others are not to; `sizes`: bytes of all, by
    id."""

    gone: list[Removable]
    kept: dict[str, str]
    sizes: dict[str, int]


def plan(home: Path, older_than_days: float) -> Sweep:
    """Say which ended runs and fleets may go: those asked for longer ago that are not in use.

    A fleet's folder has its plan, notebooks and report: it goes apart from its runs. A verdict
    goes only with the model it is on, which could be drawn from without it.
    """
    runs, fleets = all_runs(home), list(_readable(fleet_folders(home)))
    kept = reasons_to_stay(runs, fleets)
    latest = datetime.now(UTC) - timedelta(days=older_than_days)

    def may_go(one: Removable) -> bool:
        return one.path.name not in kept and _created(one) < latest

    stay = {run.task_id for run in runs if not may_go(run)}
    gone = [
        run
        for run in runs
        if may_go(run)
        and (run.spec.kind != "report" or run.environment().get("model_task_id") not in stay)
    ]
    everything: list[Removable] = [*runs, *fleets]
    sizes = {one.path.name: folder_bytes(one.path) for one in everything}
    return Sweep([*gone, *(one for one in fleets if may_go(one))], kept, sizes)


def carry_out(sweep: Sweep, home: Path) -> list[str]:
    """Remove what is to go, and what an earlier removal that was cut off has left."""
    stayed = []
    for one in sweep.gone:
        try:
            one.remove() if isinstance(one, FleetFolder) else remove_run(one)
        except RequestError as error:
            stayed.append(str(error))
    remove_what_is_left(home)
    return stayed


def reasons_to_stay(runs: Sequence[RunFolder], folders: Sequence[FleetFolder]) -> dict[str, str]:
    """Return why runs and fleets are in use, by id; of both all there are, newest first."""
    why: dict[str, str] = {}
    for run in runs:
        if not run.final:
            why[run.task_id] = "not ended"
            for named in (run.spec.after, run.spec.config.get("model_task_id")):
                if named:
                    why.setdefault(named, f"{run.spec.kind} {run.task_id[:8]} needs it")
    done = [run for run in runs if run.result_data() is not None]
    for machine_id in {*profile_ids(), *(run.spec.machine_id for run in runs)}:
        ours = [run for run in done if run.spec.machine_id == machine_id]
        models, reports = ([run for run in ours if run.spec.kind == k] for k in ("train", "report"))
        for name, newest in (("model", models[:1]), ("report", reports[:1])):
            for run in newest:
                why.setdefault(run.task_id, f"the newest {name} of {machine_id}")
        if models:
            used = newest_good(models, levels_by_model(reports))
            why.setdefault(used.task_id, f"the model that {machine_id} is drawn from")
        tables = manifest(machine_id) or {}
        for name in tables.keys() & {"task_id", "model"}:
            why.setdefault(tables[name], f"the synthetic tables of {machine_id}")
    ids = {one.fleet_id for one in folders} | {run.spec.fleet_id or "" for run in runs}
    fleets = {run.spec.fleet_id for run in runs if not run.final} | {max(ids, default="")}
    fleets |= {one.fleet_id for one in folders if one.alive}
    for one in folders:
        if one.fleet_id in fleets:
            why[one.fleet_id] = "the newest fleet, or still at work"
    for run in runs:
        if run.spec.fleet_id and run.spec.fleet_id in fleets:
            why.setdefault(run.task_id, f"fleet {run.spec.fleet_id}, the newest or still at work")
    return why


def _readable(folders: Sequence[FleetFolder]) -> Iterator[FleetFolder]:
    """Leave out fleets of another format."""
    for one in folders:
        with suppress(ValueError, OSError):
            _created(one)
            yield one


def what(one: Removable) -> str:
    """Say what a run or a fleet is."""
    if isinstance(one, FleetFolder):
        return f"fleet of {len(one.plan.machines)}"
    return f"{one.spec.kind} of {one.spec.machine_id}"


def _created(one: Removable) -> datetime:
    plan = one.plan if isinstance(one, FleetFolder) else one.spec
    return datetime.fromisoformat(plan.created)
