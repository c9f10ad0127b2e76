"""How long a task will take, and whether any worker has the memory for it, before it is started."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from statistics import median

from gan_lab.cluster.catalogue import Machine
from gan_lab.errors import TooLittleDisk, TooMuchMemory
from gan_lab.schema import GenerateConfig, SeedConfig, TaskSpec, configure
from gan_lab.workspace.profiles import Profile
from gan_lab.workspace.runs import all_runs

USUAL_S = 30.0  # of a task where no other of its kind was done here
REMEMBERED_RUNS = 20
# Peaks of resident memory, measured on tables of 1,000 to 300,000 rows and 12 to 42 continuous
# columns, which need most. A run records its own peak (`peak_memory_mb`).
MEMORY_SHARE = 0.9  # of a worker's limit; Dask holds new tasks back at 0.8 of it
PROCESS_B = 500e6  # a worker with all it imports
DISK_CELL_B = 5  # of a cell in Parquet, packed: 3 to 8
CELL_B = {"seed": 50, "train": 120}  # other tasks pass over a table in parts


def estimate_minutes(spec: TaskSpec) -> float:
    """Return how long a task will take once a worker has it: as long as others of its kind took,
    of the same machine where there are any (minutes)."""
    runs = (run for run in all_runs() if run.spec.kind == spec.kind and run.result_data())
    newest = list(islice(runs, REMEMBERED_RUNS))
    alike = [run for run in newest if run.spec.machine_id == spec.machine_id] or newest
    results = [(run.result_data() or {}).items() for run in alike]
    took_s = [value for one in results for name, value in one if name.endswith("_time_seconds")]
    return float(median(took_s or [USUAL_S])) / 60


def refuse_what_does_not_fit(
    machine: Machine, specs: Sequence[TaskSpec], limits: Sequence[float]
) -> None:
    """Raise `TooMuchMemory` where a seed table or a training of a chain needs more than any worker
    may use (bytes; 0: no limit)."""
    if not limits or not all(limits):
        return
    allowed, shape = MEMORY_SHARE * max(limits), None
    for spec in specs:
        if spec.kind == "seed":
            shape = _simulated(machine.profile, SeedConfig.model_validate(spec.config))
        if spec.kind not in CELL_B:
            continue
        shape = shape or machine.seed_shape  # a damaged table can be simulated anew
        if shape is None:
            continue
        needed = PROCESS_B + CELL_B[spec.kind] * shape[0] * shape[1]
        if needed > allowed:
            raise TooMuchMemory(
                f"Cannot {spec.kind} {spec.machine_id}: it needs about {needed / 1e9:.1f} GB for "
                f"{shape[0]:,} rows of {shape[1]} columns, and no worker may use more than "
                f"{allowed / 1e9:.1f} GB. Use fewer rows, or fewer and larger workers "
                "(GAN_LAB_WORKERS)."
            )


def refuse_what_no_disk_holds(machine: Machine, specs: Sequence[TaskSpec], free: float) -> None:
    """Raise `TooLittleDisk` where the tables of a chain need more than is free (bytes)."""
    shape, needed = None, 0.0
    for spec in specs:
        config = configure(spec.kind, spec.config)
        if isinstance(config, SeedConfig):
            shape = _simulated(machine.profile, config)
            needed += DISK_CELL_B * shape[0] * shape[1]
        elif isinstance(config, GenerateConfig) and not config.lives:
            shape = shape or machine.seed_shape or (0, 0)
            needed += DISK_CELL_B * sum(config.splits.values()) * shape[1]
    if needed > free:
        raise TooLittleDisk(
            f"{machine.machine_id}: the tables would take about {needed / 1e9:,.1f} GB, and "
            f"{free / 1e9:,.1f} GB are free. Ask for fewer rows, or make room."
        )


def _simulated(profile: Profile, config: SeedConfig) -> tuple[int, int]:
    """Return about how many rows and columns a simulated seed table will have."""
    rows, columns = config.rows, len(profile.sensors) + 5
    if config.lives and profile.life and profile.interval_s:
        rows = round(config.lives * profile.life.mean_h * 3600 / profile.interval_s)
    return rows, columns
