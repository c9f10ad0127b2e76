"""How long a task will take and how much memory it needs, before it is started."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from gan_lab.cluster.recipe import MEMORY_SHARE
from gan_lab.errors import TooMuchMemory
from gan_lab.schema import (
    CONFIGS,
    Config,
    GenerateConfig,
    ReportConfig,
    SeedConfig,
    TaskSpec,
    TrainConfig,
)
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs

MOST_REMEMBERED = 20  # the newest runs of a kind
# Before there is a history: measured on two cores of a shared server of 2024, see bench/server.py.
START_S = {"tabular": (1.0, 4e-6), "sequential": (1.5, 4e-6)}  # and per cell of the table
STEP_S = {"tabular": (3e-3, 1e-6), "sequential": (3e-3, 6e-7)}  # and per cell of the batch
USUAL_STEPS = {"tabular": math.inf, "sequential": 1200}  # after which held-out lives say enough
ROWS_PER_S = {"seed": 40_000, "generate": 40_000}
REPORT_S = 30.0
# Peaks of resident memory, measured on tables of 1,000 to 300,000 rows and 12 to 42 columns, all
# continuous, which need most. A run records its own peak (`peak_memory_mb`).
PROCESS_B = 500e6  # a worker with all it imports
SEED_CELL_B = 50
REPORT_B = (1500, 1.4e9)  # per cell of the seed table, up to what its samples need; scikit-learn's
TABLE_CELL_B = 25  # of the two tables a report reads
FIT_B = {"tabular": (120e6, 80), "sequential": (200e6, 120)}  # and per cell of the table
WEIGHT_B = 45  # with its gradient, Adam's two moments and the copies that go into a checkpoint
UNIT_B = 10  # per unit of the network and row of a batch
CELLS = 11  # of a continuous column in the network


@dataclass(frozen=True)
class Past:
    """What one finished training tells, beside what was expected of it without any history."""

    machine_id: str
    model: str
    steps: int
    stopped_early: bool
    start: float  # seconds, divided by those expected
    step: float


def estimate_minutes(spec: TaskSpec) -> float:
    """Return how long a task will take once a worker has it (minutes)."""
    config: Any = CONFIGS[spec.kind].model_validate(spec.config)
    if isinstance(config, TrainConfig):
        seconds = _train_s(spec.machine_id, config)
    elif isinstance(config, SeedConfig):
        seconds = _rows_s("seed", config.rows)
    elif isinstance(config, GenerateConfig):
        seconds = _rows_s("generate", sum(config.splits.values()))
    else:
        seconds = _usual("report", _report_s) or REPORT_S
    return seconds / 60


def _train_s(machine_id: str, config: TrainConfig) -> float:
    """Correct what is expected by the trainings most like it: of the machine, else of the model."""
    model = config.kind(load_profile(machine_id).roles)
    rows, columns = _seed_size(machine_id)
    rows = math.ceil(rows * (1 - config.holdout) * (1 - config.validation))
    alike = [past for past in _pasts() if past.model == model]
    alike = [past for past in alike if past.machine_id == machine_id] or alike
    steps: float = config.epochs * math.ceil(rows / config.batch_size)
    if model == "tabular":
        steps = min(steps, config.max_steps or steps)
    elif config.early_stopping:
        early = [past.steps for past in alike if past.stopped_early]
        steps = min(steps, median(early) if early else USUAL_STEPS[model])
    start = _start_s(model, rows * columns) * median([p.start for p in alike] or [1])
    step = _step_s(model, min(rows, config.batch_size) * columns)
    return start + steps * step * median([p.step for p in alike] or [1])


def _pasts() -> list[Past]:
    found = [_past(run.path) for run in _done("train")]
    return [past for past in found if past is not None]


def _done(kind: str) -> list[RunFolder]:
    runs = (run for run in all_runs() if run.spec.kind == kind and run.result_data())
    return [run for _, run in zip(range(MOST_REMEMBERED), runs, strict=False)]


@lru_cache(maxsize=1000)
def _past(path: Path) -> Past | None:
    """What a training that is done tells; what is done does not change."""
    run = RunFolder(path)
    config = TrainConfig.model_validate(run.spec.config)
    losses, columns = run.losses(), _seed_size(run.spec.machine_id)[1]
    if losses.empty or not columns:
        return None
    rows = round(float((losses["rows_per_second"] * losses["seconds"]).median()))
    steps = len(losses) * math.ceil(rows / config.batch_size)
    model = config.kind(load_profile(run.spec.machine_id).roles)
    learning = float(losses["seconds"].sum())
    start = max(0.1, (run.result_data() or {})["training_time_seconds"] - learning)
    expected = steps * _step_s(model, min(rows, config.batch_size) * columns)
    return Past(
        machine_id=run.spec.machine_id,
        model=model,
        steps=steps,
        stopped_early=len(losses) < config.epochs,
        start=start / _start_s(model, rows * columns),
        step=learning / expected,
    )


def _start_s(model: str, cells: int) -> float:
    constant, per_cell = START_S[model]
    return constant + cells * per_cell


def _step_s(model: str, cells: int) -> float:
    constant, per_cell = STEP_S[model]
    return constant + cells * per_cell


def _seed_size(machine_id: str) -> tuple[int, int]:
    """Rows and columns of a machine's seed table; of one that is still to be made, as is usual.

    What cannot be read counts as one to be made: the task that needs it will say so.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gan_lab.workspace.tables import seed_path

    try:
        about = pq.read_metadata(seed_path(machine_id))
    except (OSError, pa.ArrowInvalid):
        columns = len(load_profile(machine_id).sensors) + 5
        return int(SeedConfig.model_fields["rows"].default), columns
    return about.num_rows, about.num_columns


def _rows_s(kind: str, rows: int) -> float:
    """Seconds for so many rows, at the speed of late."""
    return 1.0 + rows / (_usual(kind, _rows_per_s) or ROWS_PER_S[kind])


def _usual(kind: str, measure: Any) -> float | None:
    found = [value for run in _done(kind) if (value := measure(run.path))]
    return median(found) if found else None


@lru_cache(maxsize=1000)
def _rows_per_s(path: Path) -> float | None:
    run = RunFolder(path)
    result, events = run.result_data() or {}, run.events()
    rows = result.get("samples_generated")
    if rows is None:
        rows = sum(facts.get("rows", 0) for facts in result["file_statistics"].values())
    seconds = result.get("generation_time_seconds") or _between(events[0], events[-1])
    return rows / max(0.1, seconds - 1.0) if rows else None


def _report_s(path: Path) -> float | None:
    return (RunFolder(path).result_data() or {}).get("report_time_seconds")


def _between(first: Any, last: Any) -> float:
    from datetime import datetime

    ends = [datetime.fromisoformat(event.timestamp) for event in (first, last)]
    return (ends[1] - ends[0]).total_seconds()


# ---- memory


def refuse_what_does_not_fit(specs: Sequence[TaskSpec], limits: Sequence[float]) -> None:
    """Raise `TooMuchMemory` where a task of a chain needs more than any worker may use (bytes)."""
    if not limits or not all(limits):  # 0: no limit
        return
    most, rows, drawn = MEMORY_SHARE * max(limits), None, None
    for spec in specs:
        config = CONFIGS[spec.kind].model_validate(spec.config)
        if isinstance(config, SeedConfig):
            rows = _rows_of_lives(spec.machine_id, config.lives) or config.rows
        elif isinstance(config, GenerateConfig):
            drawn = config.splits.get("train", 0)
        needed, why = estimate_memory(spec.machine_id, config, rows, drawn)
        if needed > most:
            raise TooMuchMemory(
                f"Cannot {spec.kind} {spec.machine_id}: it needs about {needed / 1e9:.1f} GB for "
                f"{why}, and no worker may use more than {most / 1e9:.1f} GB. Use fewer rows, a "
                "smaller batch_size or network, or fewer and larger workers (GAN_LAB_WORKERS)."
            )


def _rows_of_lives(machine_id: str, lives: int | None) -> int:
    """Return how many rows so many simulated lives have, about; 0 where none are asked for."""
    profile = load_profile(machine_id)
    if not lives or profile.life is None or profile.interval_s is None:
        return 0
    return round(lives * profile.life.mean_h * 3600 / profile.interval_s)


def estimate_memory(
    machine_id: str, config: Config, rows: int | None = None, drawn: int | None = None
) -> tuple[float, str]:
    """Return the bytes that a worker will use at most, and what for.

    `rows`: of a seed table that is still to be made; `drawn`: of a train table. Drawing works on
    pieces that always fit: for it only what every worker needs.
    """
    from gan_lab.workspace.tables import manifest

    known, columns = _seed_size(machine_id)
    rows = rows or known
    table = f"{rows:,} rows of {columns} columns"
    if isinstance(config, SeedConfig):
        return PROCESS_B + rows * columns * SEED_CELL_B, table
    if isinstance(config, ReportConfig):
        if drawn is None:
            drawn = int((manifest(machine_id) or {}).get("rows", {}).get("train", 0))
        per_cell, most = REPORT_B
        needed = PROCESS_B + min(most, rows * columns * per_cell)
        needed += (rows + drawn) * columns * TABLE_CELL_B
        return needed, f"a report on {drawn:,} rows drawn from {table}"
    if not isinstance(config, TrainConfig):
        return PROCESS_B, table
    constant, per_cell = FIT_B[config.kind(load_profile(machine_id).roles)]
    encoder = [columns * CELLS, *config.compress_dims, 2 * config.embedding_dim]
    decoder = [config.embedding_dim, *config.decompress_dims, columns * CELLS]
    weights = sum(a * b for sizes in (encoder, decoder) for a, b in pairwise(sizes))
    batch, units = min(rows, config.batch_size), sum(encoder) + sum(decoder)
    needed = PROCESS_B + constant + rows * columns * per_cell
    needed += weights * WEIGHT_B + batch * units * UNIT_B
    return needed, f"{table}, {weights / 1e6:.1f} million weights and batches of {batch:,}"
