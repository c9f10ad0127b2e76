"""How training and drawing grow: rows, two machines at once, and what being watched costs.

`python -m bench.growth [--quick] [--only PART ...]`. Every figure is taken in a process of its own,
from a simulated motor of the catalogue; ratios are of one run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

MACHINE = "motor_siemens_001"
MODELS = ("tabular", "sequential")
TURNS = 5


def motor(rows: int) -> tuple[pd.DataFrame, Any]:
    """Return so many rows of simulated lives, and their roles."""
    from gan_lab.schema import SeedConfig
    from gan_lab.synth.simulator.simulate import simulate
    from gan_lab.workspace.profiles import load_profile

    profile = load_profile(MACHINE)
    return simulate(profile, SeedConfig(rows=rows)).head(rows), profile.roles


def peak_b(anew: bool = False) -> int:
    """Return the most memory this process has held (bytes); `anew`: counted from now on."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def alone(function: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Call a function in a fresh process and return what it measured."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


# ---- rows


def fitted(model: str, rows: int, epochs: int) -> dict[str, float]:
    """Fit and return the seconds of it all, and the memory beyond what the table itself took."""
    from gan_lab.cluster.models import model_class
    from gan_lab.schema import TrainConfig

    table, roles = motor(rows)
    config = TrainConfig(epochs=epochs, decoder="network", early_stopping=False)
    fit = model_class(model).fit
    fit(
        table.head(1000), roles, TrainConfig(epochs=2, decoder="network", early_stopping=False)
    )  # the imports
    before, start = peak_b(anew=True), time.perf_counter()
    fit(table, roles, config)
    seconds = time.perf_counter() - start
    cells_b = 4 * table.shape[0] * table.shape[1]
    return {
        "rows": rows,
        "s": round(seconds, 2),
        "us_per_row": round(1e6 * seconds / rows, 1),
        "memory_over_float32_table": round((peak_b() - before) / cells_b, 1),
    }


def rows(quick: bool) -> dict[str, Any]:
    """Seconds for each row, and memory, of tables that grow."""
    sizes = (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000)
    found: dict[str, Any] = {}
    for model in MODELS:
        found[model] = [alone(fitted, model, size, 4) for size in sizes]
        each = [one["us_per_row"] for one in found[model]]
        found[f"{model}: time for each row, largest over smallest table"] = each[-1] / each[0]
    return found


# ---- two at once


def at_once(quick: bool) -> dict[str, Any]:
    """Throughput of two trainings on two cores over that of one."""
    work = ("tabular", 10_000, 8 if quick else 30)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(fitted, [work, work])  # both processes have imported
        ratios = []
        for _ in range(TURNS):
            one = pool.apply(fitted, work)["s"]
            two = [answer["s"] for answer in pool.starmap(fitted, [work, work])]
            ratios.append(2 * one / max(two))
    return {"throughput, at least 1.8": sorted(ratios)[TURNS // 2], "turns": ratios}


# ---- drawing


def drawn(engine: str, rows: int) -> dict[str, float]:
    """Fit a little, then draw and return the seconds and the memory of that."""
    from gan_lab.cluster.models import model_class
    from gan_lab.schema import TrainConfig

    table, roles = motor(10_000)
    if engine == "SDV":
        from sdv.metadata import Metadata
        from sdv.single_table import TVAESynthesizer

        table = table.drop(columns=[roles.life, roles.time])
        metadata = Metadata.detect_from_dataframes({"table": table})
        synthesizer = TVAESynthesizer(metadata, epochs=2)
        synthesizer.fit({"table": table})
        draw: Callable[[int], Any] = synthesizer.sample
    else:
        config = TrainConfig(epochs=4, early_stopping=False)
        model = model_class(engine).fit(table, roles, config)

        def draw(rows: int) -> int:
            return sum(len(chunk) for chunk in model.sample(rows=rows, seed=1))

    draw(1000)
    before, start = peak_b(anew=True), time.perf_counter()
    draw(rows)
    seconds = time.perf_counter() - start
    return {"rows": rows, "s": round(seconds, 1), "grown_mb": round((peak_b() - before) / 1e6)}


def drawing(quick: bool) -> dict[str, Any]:
    """A million rows by SDV and by ours: seconds, and whether memory grows with them."""
    few, many = (10_000, 100_000) if quick else (100_000, 1_000_000)
    found = {engine: [alone(drawn, engine, n) for n in (few, many)] for engine in MODELS}
    found["SDV"] = [alone(drawn, "SDV", many)]
    ratio = found["tabular"][1]["s"] / found["SDV"][0]["s"]
    return found | {"tabular over SDV, at most 1/3": ratio}


# ---- being watched


def metered(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Return a function that also notes the processor time it took: machines are shared."""

    def call(*arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        answer = function(*arguments, **options)
        spent.append(time.process_time() - start)
        return answer

    return call


def watched(quick: bool) -> dict[str, Any]:
    """Processor seconds that events, cancel checks and checkpoints take of a short training."""
    from gan_lab.cluster import services
    from gan_lab.cluster.models import model_class
    from gan_lab.cluster.progress import TrainingProgress
    from gan_lab.cluster.work import Work
    from gan_lab.schema import TaskSpec, TrainConfig
    from gan_lab.settings import load_settings
    from gan_lab.workspace.runs import create_run

    services.ensure_services()
    table, roles = motor(2_160)
    config = TrainConfig(epochs=30 if quick else 120, decoder="network")
    fit = model_class("tabular").fit
    fit(table, roles, TrainConfig(epochs=2, decoder="network"))
    whole_s: list[float] = []
    shares = []
    for _ in range(TURNS):
        spec = TaskSpec(task_id=str(uuid.uuid4()), kind="train", machine_id=MACHINE,
                        config=config.model_dump(mode="json"))  # fmt: skip
        run = create_run(spec)
        run.lease.take("bench", 600)
        progress = TrainingProgress(Work(run, load_settings(), "bench", 1), config.epochs)
        spent: list[float] = []
        hooks = {
            "on_epoch": metered(progress.on_epoch, spent),
            "on_checkpoint": metered(progress.on_checkpoint, spent),
        }
        metered(fit, whole_s)(table, roles, config, **hooks)
        shares.append(sum(spent) / whole_s[-1])
    share = sorted(shares)[TURNS // 2]
    return {"s": whole_s, "share of a training that is spent on it, at most 0.02": share}


PARTS = {"rows": rows, "at_once": at_once, "drawing": drawing, "watched": watched}


def main() -> None:
    """Measure in a workspace of its own."""
    import shutil

    from gan_lab.cluster import services

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    machines = Path(__file__).parents[1] / "data" / "machines"
    with tempfile.TemporaryDirectory() as home:
        shutil.copytree(machines, Path(home) / "data" / "machines")
        (Path(home) / "runs").mkdir()
        (Path(home) / "notebooks").mkdir()
        os.environ["GAN_LAB_HOME"] = home
        try:
            for name in given.only:
                print(name, json.dumps(PARTS[name](given.quick), indent=2), flush=True)
        finally:
            services.stop_services()


if __name__ == "__main__":
    main()
