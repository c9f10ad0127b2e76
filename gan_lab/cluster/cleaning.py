"""Which runs may go, and why the others stay: a model in use and what it made are never removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gan_lab.cluster.tasks import levels_by_model, newest_good
from gan_lab.errors import BadParameter
from gan_lab.machines import profile_ids
from gan_lab.runs import RunFolder, all_runs, folder_bytes
from gan_lab.synth.tables import manifest

NEWEST_KEPT = {"train": "the newest model of {}", "report": "the newest report of {}"}


@dataclass(frozen=True)
class Sweep:
    """What would go, newest first, and why others are not to; `sizes`: bytes of every run."""

    removed: list[RunFolder]
    kept: dict[str, str]
    sizes: dict[str, int]

    @property
    def removed_bytes(self) -> int:
        """How much room the removal gives."""
        return sum(self.sizes[run.task_id] for run in self.removed)


def plan(
    home: Path,
    older_than_days: float | None = None,
    keep: int | None = None,
    most_bytes: float | None = None,
) -> Sweep:
    """Say which ended runs may go: older than so many days, or the oldest of all that is too large.

    `keep`: so many of the newest stay in any case; given alone, all others go. `most_bytes`: what
    the runs that stay may take. A verdict goes only with the model it is on, which could be drawn
    from without it. Raises `BadParameter` where none of the three is given, or one is below zero.
    """
    if older_than_days is None and keep is None and most_bytes is None:
        raise BadParameter("Say what may go: --older-than DAYS, --keep RUNS or --max-gb GB.")
    for name, value in (("older-than", older_than_days), ("keep", keep), ("max-gb", most_bytes)):
        if value is not None and not value >= 0:
            raise BadParameter(f"--{name} {value:g} is not a number from zero on.")
    runs = all_runs(home)
    sizes = {run.task_id: folder_bytes(run.path) for run in runs}
    kept, total = reasons_to_stay(runs), sum(sizes.values())
    removed: list[RunFolder] = []
    stays = {run.task_id for run in runs}
    for place, run in reversed(list(enumerate(runs))):
        too_old = older_than_days is not None and _age_days(run) > older_than_days
        too_large = most_bytes is not None and total > most_bytes
        wanted = too_old or too_large or (older_than_days is None and most_bytes is None)
        judged = _model_of(run) in stays  # the training, being older, has been decided on
        if wanted and place >= (keep or 0) and run.task_id not in kept and not judged:
            removed.append(run)
            stays.discard(run.task_id)
            total -= sizes[run.task_id]
    return Sweep(removed[::-1], kept, sizes)


def reasons_to_stay(runs: Sequence[RunFolder]) -> dict[str, str]:
    """Return why runs are in use, by task id; `runs`: all of them, newest first."""
    why: dict[str, str] = {}
    fleets = {run.spec.fleet_id for run in runs if run.spec.fleet_id and not run.final}
    fleets |= {max((run.spec.fleet_id or "" for run in runs), default="")}
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


def _model_of(run: RunFolder) -> str | None:
    """Return the training that a report is on."""
    return run.environment().get("model_task_id") if run.spec.kind == "report" else None


def _age_days(run: RunFolder) -> float:
    age = datetime.now(UTC) - datetime.fromisoformat(run.spec.created)
    return age.total_seconds() / 86_400
