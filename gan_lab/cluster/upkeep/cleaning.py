"""Which runs and fleets may go, and why the others stay: no model in use, nor what it made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gan_lab.cluster.models import levels_by_model, newest_good
from gan_lab.errors import BadParameter, RequestError
from gan_lab.workspace.files import folder_bytes
from gan_lab.workspace.fleet_folder import FleetFolder, fleet_folders
from gan_lab.workspace.profiles import profile_ids
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import REMOVED, all_runs, remove_run, runs_folder
from gan_lab.workspace.tables import manifest

Removable = RunFolder | FleetFolder

NEWEST_KEPT = {"train": "the newest model of {}", "report": "the newest report of {}"}


@dataclass(frozen=True)
class Sweep:
    """What would go, newest first, and why others are not to; `sizes`: bytes, by id."""

    removed: list[RunFolder]
    fleets: list[FleetFolder]
    kept: dict[str, str]
    sizes: dict[str, int]
    runs: int  # in all

    @property
    def removed_bytes(self) -> int:
        """How much room the removal gives."""
        gone: list[Removable] = [*self.removed, *self.fleets]
        return sum(self.sizes[one.path.name] for one in gone)


def plan(home: Path, older_than_days: float) -> Sweep:
    """Say which ended runs and fleets may go: those asked for longer ago that are not in use.

    A fleet's folder has its plan, notebooks and report: it goes apart from its runs. A verdict
    goes only with the model it is on, which could be drawn from without it. Raises `BadParameter`
    for days below zero.
    """
    if not older_than_days >= 0:
        raise BadParameter(f"--older-than {older_than_days:g} is not a number from zero on.")
    runs, fleets = all_runs(home), list(_readable(fleet_folders(home)))
    everything: list[Removable] = [*runs, *fleets]
    sizes = {one.path.name: folder_bytes(one.path) for one in everything}
    kept, gone = reasons_to_stay(runs, fleets), set[str]()
    for one in sorted(everything, key=_created):  # a training, older than its report, comes first
        age_days = (datetime.now(UTC) - _created(one)).total_seconds() / 86_400
        model = _model_of(one)
        reports_on_kept = model in sizes and model not in gone
        if age_days > older_than_days and one.path.name not in kept and not reports_on_kept:
            gone.add(one.path.name)
    gone_runs = [run for run in runs if run.task_id in gone]
    gone_fleets = [one for one in fleets if one.fleet_id in gone]
    return Sweep(gone_runs, gone_fleets, kept, sizes, len(runs))


def carry_out(sweep: Sweep, home: Path) -> list[str]:
    """Remove what is to go, and what an earlier removal that was cut off has left."""
    stayed = []
    gone: list[Removable] = [*sweep.fleets, *sweep.removed]
    for one in gone:
        try:
            one.remove() if isinstance(one, FleetFolder) else remove_run(one)
        except RequestError as error:
            stayed.append(str(error))
    for left in runs_folder(home).glob(REMOVED.format("*")):
        shutil.rmtree(left, ignore_errors=True)
    return stayed


def reasons_to_stay(
    runs: Sequence[RunFolder], folders: Sequence[FleetFolder] = ()
) -> dict[str, str]:
    """Return why runs and fleets are in use, by id; of both all there are, newest first."""
    fleets = {run.spec.fleet_id for run in runs if run.spec.fleet_id and not run.final}
    fleets |= {one.fleet_id for one in folders if one.alive}
    fleets |= {max((run.spec.fleet_id or "" for run in runs), default="")}
    fleets |= {one.fleet_id for one in folders[:1]}
    why = {
        one.fleet_id: "the newest fleet, or still at work"
        for one in folders
        if one.fleet_id in fleets
    }
    seen: set[tuple[str, str]] = set()
    for run in runs:
        spec = run.spec
        if spec.fleet_id and spec.fleet_id in fleets:
            why[run.task_id] = f"fleet {spec.fleet_id}, the newest or still at work"
        first = (spec.kind, spec.machine_id) not in seen
        if spec.kind in NEWEST_KEPT and first and run.result_data() is not None:
            seen.add((spec.kind, spec.machine_id))
            why[run.task_id] = NEWEST_KEPT[spec.kind].format(spec.machine_id)
        if not run.final:
            why[run.task_id] = "not ended"
            for named in (spec.after, spec.config.get("model_task_id")):
                if named:
                    why.setdefault(named, f"{spec.kind} {run.task_id[:8]} needs it")
    for machine_id, run in _models_in_use(runs).items():
        why.setdefault(run.task_id, f"the model that {machine_id} is drawn from")
    for machine_id in {*profile_ids(), *(run.spec.machine_id for run in runs)}:
        for name in ("task_id", "model"):
            if (tables := manifest(machine_id)) is not None:
                why.setdefault(tables[name], f"the synthetic tables of {machine_id}")
    return why


def _models_in_use(runs: Sequence[RunFolder]) -> dict[str, RunFolder]:
    """Return, for each machine, the training that `generate` would draw from."""
    done = [run for run in runs if run.result_data() is not None]
    levels = levels_by_model(run for run in done if run.spec.kind == "report")
    trained: dict[str, list[RunFolder]] = {}
    for run in done:
        if run.spec.kind == "train":
            trained.setdefault(run.spec.machine_id, []).append(run)
    return {machine_id: newest_good(models, levels) for machine_id, models in trained.items()}


def _model_of(one: Removable) -> str | None:
    """Return the training that a report is on."""
    if isinstance(one, FleetFolder) or one.spec.kind != "report":
        return None
    return one.environment().get("model_task_id")


def _readable(folders: Sequence[FleetFolder]) -> Iterator[FleetFolder]:
    """Leave out fleets of another format."""
    for one in folders:
        with suppress(ValueError, OSError):
            _created(one)
            yield one


def _created(one: Removable) -> datetime:
    plan = one.plan if isinstance(one, FleetFolder) else one.spec
    return datetime.fromisoformat(plan.created)
