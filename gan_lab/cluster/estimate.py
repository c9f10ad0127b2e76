"""How long a task will take and how much memory it needs, before it is started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from statistics import median

from gan_lab.cluster.catalogue import Machine
from gan_lab.errors import GanLabError, TooMuchMemory
from gan_lab.schema import (
    CONFIGS,
    Config,
    GenerateConfig,
    ReportConfig,
    SeedConfig,
    TaskSpec,
    TrainConfig,
)
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs

# Seconds, measured on two cores of a shared server of 2024, see bench/server.py.
START_S = 1.5
ROW_S = 1 / 40_000  # simulated or drawn
LEARNED_CELL_S = 4e-6  # of the table, once
STEP_S, BATCH_CELL_S = 3e-3, 8e-7  # a step, and each cell of its batch
USUAL_STEPS = 1_200  # of lives, after which held-out lives say that it is enough
REPORT_S = 30.0
REMEMBERED_RUNS = 20
# Peaks of resident memory, measured on tables of 1,000 to 300,000 rows and 12 to 42 continuous
# columns, which need most. A run records its own peak (`peak_memory_mb`).
MEMORY_SHARE = 0.9  # of a worker's limit; Dask holds new tasks back at 0.8 of it
PROCESS_B = 500e6  # a worker with all it imports
SEED_CELL_B = 50
FIT_B, FIT_CELL_B = 200e6, 120
REPORT_CELL_B, REPORT_SAMPLES_B = 1_500, 1.4e9  # of the seed table, up to what samples of it need
READ_CELL_B = 25  # of the two tables a report reads


def estimate_minutes(spec: TaskSpec) -> float:
    """Return how long a task will take once a worker has it (minutes)."""
    runs = (run for run in all_runs() if run.spec.kind == spec.kind and run.result_data())
    newest = list(islice(runs, REMEMBERED_RUNS))
    alike = [run for run in newest if run.spec.machine_id == spec.machine_id] or newest
    paces = [pace for run in alike if (pace := _pace(run.path)) is not None]
    return _expected_s(spec) * median(paces or [1.0]) / 60


@lru_cache(maxsize=1000)
def _pace(path: Path) -> float | None:
    """Return how much longer a task that is done took than expected, None where it is unknown."""
    run = RunFolder(path)
    times = (run.result_data() or {}).items()
    took_s = next((value for name, value in times if name.endswith("_time_seconds")), None)
    with suppress(GanLabError):  # its machine is gone
        return None if took_s is None else took_s / _expected_s(run.spec)
    return None


def _expected_s(spec: TaskSpec) -> float:
    """Return the seconds that a task takes where nothing is known of the computer."""
    machine, config = Machine(spec.machine_id), CONFIGS[spec.kind].model_validate(spec.config)
    rows, columns = _shape(machine, config)
    if isinstance(config, ReportConfig):
        return REPORT_S
    if isinstance(config, GenerateConfig):
        rows = sum(config.splits.values())
    if not isinstance(config, TrainConfig):
        return START_S + ROW_S * rows
    batch = min(rows, config.batch_size)
    steps = config.epochs * rows / batch
    if config.kind(machine.profile.roles) == "tabular":
        steps = min(steps, config.max_steps or steps) if config.embedding_dim else 0
    elif config.early_stopping:
        steps = min(steps, USUAL_STEPS)
    learned_s = LEARNED_CELL_S * rows * columns
    return START_S + learned_s + steps * (STEP_S + BATCH_CELL_S * batch * columns)


def _shape(machine: Machine, config: Config) -> tuple[int, int]:
    """Return rows and columns of the seed table: asked for, there, or as usual."""
    usual = SeedConfig().rows, len(machine.profile.sensors) + 5
    if not isinstance(config, SeedConfig):
        return machine.seed_shape or usual
    life, interval_s = machine.profile.life, machine.profile.interval_s
    if config.lives is None or life is None or interval_s is None:
        return config.rows, usual[1]
    return round(config.lives * life.mean_h * 3600 / interval_s), usual[1]


# ---- memory


def refuse_what_does_not_fit(
    machine: Machine, specs: Sequence[TaskSpec], limits: Sequence[float]
) -> None:
    """Raise `TooMuchMemory` where a task of a chain needs more than any worker may use (bytes)."""
    if not limits or not all(limits):  # 0: no limit
        return
    allowed, shape = MEMORY_SHARE * max(limits), None
    drawn = int((machine.manifest or {}).get("rows", {}).get("train", 0))
    for spec in specs:
        config = CONFIGS[spec.kind].model_validate(spec.config)
        if isinstance(config, GenerateConfig):
            drawn = config.splits.get("train", 0)
        if shape is None or isinstance(config, SeedConfig):
            shape = _shape(machine, config)
        needed = _memory_b(config, shape, drawn)
        if needed > allowed:
            drew = f" and {drawn:,} that were drawn" if isinstance(config, ReportConfig) else ""
            raise TooMuchMemory(
                f"Cannot {spec.kind} {spec.machine_id}: it needs about {needed / 1e9:.1f} GB for "
                f"{shape[0]:,} rows of {shape[1]} columns{drew}, and no worker may use more than "
                f"{allowed / 1e9:.1f} GB. Use fewer rows, or fewer and larger workers "
                "(GAN_LAB_WORKERS)."
            )


def _memory_b(config: Config, shape: tuple[int, int], drawn: int) -> float:
    """Return the bytes that a worker will use at most."""
    rows, columns = shape
    cells = rows * columns
    match config:
        case SeedConfig():
            return PROCESS_B + cells * SEED_CELL_B
        case TrainConfig():
            return PROCESS_B + FIT_B + cells * FIT_CELL_B
        case ReportConfig():
            samples = min(REPORT_SAMPLES_B, cells * REPORT_CELL_B)
            return PROCESS_B + samples + (rows + drawn) * columns * READ_CELL_B
    return PROCESS_B  # what is drawn, or answered, goes through memory in parts
