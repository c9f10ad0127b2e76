"""Which runs may go, and why the others stay: a model in use and what it made are never removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gan_lab.errors import BadParameter
from gan_lab.machines import profile_ids
from gan_lab.runs import RunFolder, all_runs, folder_bytes
from gan_lab.synth.tables import manifest

NEWEST_KEPT = {"train": "the model of {}", "report": "the report of {}"}


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
    the runs that stay may take. Raises `BadParameter` where none of the three is given.
    """
    if older_than_days is None and keep is None and most_bytes is None:
        raise BadParameter("Say what may go: --older-than DAYS, --keep RUNS or --max-gb GB.")
    runs = all_runs(home)
    sizes = {run.task_id: folder_bytes(run.path) for run in runs}
    kept, total = reasons_to_stay(runs), sum(sizes.values())
    removed = []
    for place, run in reversed(list(enumerate(runs))):
        too_old = older_than_days is not None and _age_days(run) > older_than_days
        too_large = most_bytes is not None and total > most_bytes
        wanted = too_old or too_large or (older_than_days is None and most_bytes is None)
        if wanted and place >= (keep or 0) and run.task_id not in kept:
            removed.append(run)
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
    for machine_id in {*profile_ids(), *(run.spec.machine_id for run in runs)}:
        for name in ("task_id", "model"):
            if (tables := manifest(machine_id)) is not None:
                why.setdefault(tables[name], f"the synthetic tables of {machine_id}")
    return why


def _age_days(run: RunFolder) -> float:
    age = datetime.now(UTC) - datetime.fromisoformat(run.spec.created)
    return age.total_seconds() / 86_400
