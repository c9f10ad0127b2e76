"""Fleets: what the notebooks cost beside the trainings, what SDV in a loop costs, and what leaks.

`python -m bench.fleet [--quick] [--only cost sdv leaks overhead]`, in a workspace of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "tests" / "notebook" / "fixtures" / "pipeline.ipynb"
ROWS = 2_160
EPOCHS = 240  # of five batches: what a table of so many rows trains by default
ENOUGH = 60  # with which our rows are at least as good as SDV's after its 300
SCORED = 2  # machines whose rows are scored, SDV's and ours
SDV = """
import sys, time, warnings
warnings.filterwarnings("ignore")
import pandas as pd, torch
torch.set_num_threads(1)
from sdv.metadata import Metadata
from sdv.single_table import TVAESynthesizer
table = pd.read_parquet(sys.argv[1]).drop(columns=["life", "timestamp"])
metadata = Metadata.detect_from_dataframes({"table": table})
synthesizer = TVAESynthesizer(metadata, epochs=int(sys.argv[2]))
start = time.perf_counter()
synthesizer.fit({"table": table})
seconds = time.perf_counter() - start
synthesizer.sample(1000)["table"].to_parquet(sys.argv[3])
print(seconds)
"""


def make_machines(number: int, first: int = 0, rows: int = ROWS) -> list[str]:
    """Make so many motors, each with a seed table of so many rows or none, and return their ids."""
    from gan_lab.schema import SeedConfig
    from gan_lab.synth.simulator.simulate import simulate
    from gan_lab.workspace.profiles import load_profile, write_profile
    from gan_lab.workspace.tables import write_seed

    profile = load_profile("motor_siemens_001")
    names = [f"bench_motor_{place:03d}" for place in range(first, first + number)]
    for place, name in enumerate(names):
        mine = profile.model_copy(update={"machine_id": name})
        write_profile(mine)
        if rows:
            write_seed(name, simulate(mine, SeedConfig(rows=rows, seed=place)).head(rows))
    return names


def score(name: str, rows: pd.DataFrame) -> float:
    """Return SDMetrics' quality of rows against as many of the same machine that nobody learned."""
    from sdmetrics.reports.single_table import QualityReport
    from sdv.metadata import Metadata

    from gan_lab.schema import SeedConfig
    from gan_lab.synth.simulator.simulate import simulate
    from gan_lab.workspace.profiles import load_profile
    from gan_lab.workspace.tables import read_seed

    kept = [column for column in rows.columns if column not in ("life", "timestamp")]
    held = simulate(load_profile(name), SeedConfig(rows=ROWS, seed=1_000)).head(ROWS)
    learned = Metadata.detect_from_dataframes({"table": read_seed(name)[kept]}).to_dict()
    report = QualityReport()
    report.generate(held[kept], rows[kept], learned["tables"]["table"], verbose=False)
    return float(report.get_score())


def trainings(fleet: Any) -> list[float]:
    """Return the seconds of each training, as the training itself counted them."""
    return [float(value) for value in fleet.status()["train_seconds"]]


def fleet_of(number: int, epochs: int) -> tuple[Any, list[str], float]:
    """Run a fleet of so many machines to its end; return it, its machines, and seconds with the
    report."""
    import gan_lab as lab

    names = make_machines(number)
    start = time.perf_counter()
    options = {"epochs": epochs, "rows": 0, "model": "tabular"}
    fleet = lab.run_fleet(names, NOTEBOOK, options).wait()
    return fleet, names, time.perf_counter() - start


def cost(quick: bool) -> dict[str, Any]:
    """Run machines as a fleet does by itself; hold wall time against trainings' seconds by
    cores."""
    number = 6 if quick else 20
    fleet, _, with_report = fleet_of(number, 30 if quick else EPOCHS)
    work, cores = sum(trainings(fleet)), os.cpu_count() or 1
    return {
        "machines": number,
        "done": fleet.counts().get("done"),
        "wall_s": fleet.seconds,
        "wall_with_report_s": with_report,
        "training_s": work,
        "wall / (training / cores), at most 1.25": fleet.seconds / (work / cores),
    }


def sdv(quick: bool) -> dict[str, Any]:
    """Run a fleet to the quality that SDV's own fit has, and that fit in a loop (on some of the
    tables, with one thread as a loop would)."""
    from gan_lab.workspace.tables import read_synthetic, seed_path

    number, measured = (6, 1) if quick else (20, SCORED)
    fleet, names, _ = fleet_of(number, ENOUGH)
    mine = 3600 * number / fleet.seconds
    spent, scores = [], []
    for name in names[:measured]:
        with tempfile.NamedTemporaryFile(suffix=".parquet") as drawn:
            command = [sys.executable, "-c", SDV, str(seed_path(name)), "300", drawn.name]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
            scores.append(score(name, pd.read_parquet(drawn.name)))
        spent.append(float(answer.stdout.split()[-1]))
    theirs = 3600 * measured / sum(spent)
    return {
        "machines_per_hour": {"ours": mine, "SDV": theirs, "ratio, at least 15": mine / theirs},
        "epochs": {"ours": ENOUGH, "SDV": 300},
        "quality": {
            "ours": [score(name, read_synthetic(name)) for name in names[:measured]],
            "SDV": scores,
        },
    }


def leaks(quick: bool) -> dict[str, Any]:
    """Run many short trainings and look at what the fleet's process holds as it goes."""
    import gan_lab as lab

    number = 12 if quick else 200
    names = make_machines(number)
    fleet = lab.run_fleet(names, NOTEBOOK, {"epochs": 2, "rows": 0, "model": "tabular"})
    head = psutil.Process(fleet._process.pid)
    seen: dict[int, tuple[float, int]] = {}
    for rows in fleet.follow():
        ended = sum(row.state in ("done", "failed") for row in rows)
        try:
            seen[ended] = (head.memory_info().rss / 1e6, head.num_fds())
        except psutil.NoSuchProcess:
            break
    left = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(fleet.fleet_id in part for part in process.info["cmdline"] or [])
    ]
    early, late = seen[min(ended for ended in seen if ended >= 2)], seen[max(seen)]
    return {
        "machines": number,
        "counts": fleet.counts(),
        "wall_s": fleet.seconds,
        "processes_left": len(left),
        "sockets_left": len(list(Path(tempfile.gettempdir()).glob(f"gan-lab-{fleet.fleet_id}-*"))),
        "memory_mb_after_2_and_all": [early[0], late[0]],
        "file_handles_after_2_and_all": [early[1], late[1]],
    }


def overhead(quick: bool) -> dict[str, Any]:
    """Run one machine by the pipeline in Python and by a fleet of one, in turns."""
    import gan_lab as lab

    (name,) = make_machines(1)
    train = {"epochs": 20, "model": "tabular"}
    draw = {"train": 1000, "val": 200, "test": 200}
    python, notebook, whole = [], [], []
    for _ in range(2 if quick else 5):
        start = time.perf_counter()
        [run.result() for run in lab.pipeline(name, train=train, generate=draw, report=False)]
        python.append(time.perf_counter() - start)
        start = time.perf_counter()
        fleet = lab.run_fleet([name], NOTEBOOK, {**train, "rows": 0}).wait()
        whole.append(time.perf_counter() - start)
        notebook.append(fleet.seconds)
    middle = [sorted(values)[len(values) // 2] for values in (python, notebook, whole)]
    return {
        "python_s": middle[0],
        "fleet_s": middle[1],
        "fleet_with_report_s": middle[2],
        "overhead_s, under 3": middle[1] - middle[0],
    }


PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "overhead": overhead,
    "cost": cost,
    "sdv": sdv,
    "leaks": leaks,
}


def main() -> None:
    """Measure in a fresh workspace with services of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer machines and epochs")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="these parts")
    args = parser.parse_args()
    from gan_lab.cluster import services

    with tempfile.TemporaryDirectory() as folder:
        for name in ("data/machines", "notebooks"):
            shutil.copytree(ROOT / name, Path(folder) / name)
        (Path(folder) / "runs").mkdir()
        os.environ["GAN_LAB_HOME"] = folder
        print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores")
        services.ensure_services()
        try:
            for name in args.only or PARTS:
                print(name, json.dumps(PARTS[name](args.quick), indent=2), flush=True)
        finally:
            services.stop_services()


if __name__ == "__main__":
    main()
