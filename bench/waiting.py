"""What a person waits for, each in a process of its own, beside a fixed piece of work.

`python -m bench.waiting [--quick] [--only NAME ...] [--keep]` prints seconds, and their ratio to
the seconds of a fixed piece of work, measured just before and behind: ratios compare between
machines. Beside each stand the ratio that `bench/last.json` keeps, and a mark where it is a fifth
slower now. `--keep` writes the ratios there. `--quick` leaves out what takes a minute.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LAST = Path(__file__).with_name("last.json")
ROOT = Path(__file__).parents[1]
MACHINE = "motor_siemens_001"
SLOWER = 1.2
TURNS = 3  # of what takes less than a second; the median counts
Times = dict[str, float]


def fixed_work() -> float:
    """Return the seconds of arithmetic and Python that never change."""
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    matrix = rng.normal(size=(500, 500))
    for _ in range(60):
        matrix = np.tanh(matrix @ matrix / 500)
    sum(len(str(number)) for number in range(1_500_000))
    return time.perf_counter() - start


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median(call: Callable[[], Any]) -> float:
    """Return how long a call takes, the median of some turns."""
    return sorted(seconds(call) for _ in range(TURNS))[TURNS // 2]


def command(*arguments: str) -> Callable[[], Any]:
    """Return a call of our command line as a shell makes it."""
    line = [str(Path(sys.executable).with_name("gan-lab")), *arguments]
    return lambda: subprocess.run(line, check=True, capture_output=True)


def python(code: str) -> Callable[[], Any]:
    """Return a call of a fresh interpreter."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def start_up() -> Times:
    """Seconds to import the package, beyond a bare interpreter, and of the command's help."""
    bare = median(python("pass"))
    return {
        "import gan_lab": median(python("import gan_lab")) - bare,
        "gan-lab --help": median(command("--help")),
    }


def services() -> Times:
    """Seconds until services run, until a notebook has joined them, and until an idle worker has
    said the first epoch of a training."""
    from gan_lab.cluster import submit
    from gan_lab.cluster.services.connection import get_client
    from gan_lab.wire.follow import follow

    found = {"gan-lab up": seconds(command("up"))}
    found["joining"] = seconds(get_client)
    submit.seed(MACHINE, rows=2_160).result()
    submit.train(MACHINE, epochs=5).result()  # the worker has imported what it needs
    waits = []
    for _ in range(TURNS):
        start = time.perf_counter()
        run = submit.train(MACHINE, epochs=500)
        next(event for event in follow(run) if event.epoch)
        waits.append(time.perf_counter() - start)
        run.cancel()
        run.wait()
    found["submit to first epoch"] = sorted(waits)[TURNS // 2]
    return found


def lists() -> Times:
    """Seconds of what lists 2,000 runs."""
    from tests.cluster.history import make_history

    logging.disable(logging.WARNING)  # of a Redis that is not there
    make_history(Path(os.environ["GAN_LAB_HOME"]), 2_000)
    command("tasks")()
    return {
        "gan-lab status, 2,000 runs": median(command("status")),
        "gan-lab tasks, 2,000 runs": median(command("tasks")),
    }


def lives() -> Times:
    """Seconds of the model of lives, of ten and of eighty, and of drawing 300."""
    from bench.made_up import two_modes
    from gan_lab.schema import TrainConfig
    from gan_lab.synth.lives.sequential import SequentialTVAE

    found = {}
    for count in (10, 80):
        table, roles = two_modes(count, sensors=20)
        models = []
        found[f"fit of {count} lives"] = seconds(
            lambda t=table, r=roles, m=models: m.append(SequentialTVAE.fit(t, r, TrainConfig()))
        )
        if count == 10:
            found["drawing 300 lives"] = seconds(
                lambda m=models: list(m[0].sample(lives=300, seed=1))
            )
    return found


def reports() -> Times:
    """Seconds of the report of plain rows, wide and long, and of lives."""
    from bench import made_up, made_up_rows
    from gan_lab.schema import Roles
    from gan_lab.synth.report.evaluate import evaluate

    found = {}
    cases: dict[str, tuple[Any, Any]] = {
        "report of 1,760 x 56": made_up_rows.tied(4_400),
        "report of 8,000 x 19": made_up_rows.rare(20_000),
        "report of 80 lives": made_up.two_modes(200),
    }
    for name, (table, roles) in cases.items():
        roles = roles if isinstance(roles, Roles) else Roles()
        by = table[roles.life] if roles.life else np.arange(len(table))
        part = np.unique(by, return_inverse=True)[1] % 5
        sides = [table[np.isin(part, some)] for some in ((0, 1), (2, 3), (4,))]
        found[name] = seconds(lambda s=sides, r=roles: evaluate(*s, r))
    return found


def demo() -> Times:
    """Seconds of what `make demo` runs once everything is installed, services and all."""
    return {"make demo: the job": seconds(command("fleet", MACHINE))}


PARTS = {
    "start-up": start_up,
    "services": services,
    "lists": lists,
    "lives": lives,
    "reports": reports,
    "demo": demo,
}
QUICK = ("start-up", "services", "lists", "lives")


def measured(name: str) -> Times:
    """Measure a part in a workspace of its own; the fixed work is among what it found."""
    with tempfile.TemporaryDirectory() as home:
        for folder in ("data/machines", "notebooks"):
            shutil.copytree(ROOT / folder, Path(home) / folder)
        (Path(home) / "runs").mkdir()
        os.environ["GAN_LAB_HOME"] = home
        before = fixed_work()
        try:
            found = PARTS[name]()
        finally:
            if name in ("services", "demo"):
                command("down")()
        return {**found, "fixed work": (before + fixed_work()) / 2}


def main() -> None:
    """Print a line for each wait."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(PARTS))
    parser.add_argument("--keep", action="store_true", help="write the ratios to bench/last.json")
    options = parser.parse_args()
    last = json.loads(LAST.read_text()) if LAST.exists() else {}
    now = dict(last)
    print(f"{'':32}{'seconds':>9}{'ratio':>8}{'last':>8}")
    for name in options.only or (QUICK if options.quick else PARTS):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measured, (name,))
        work = found.pop("fixed work")
        for what, took in found.items():
            now[what] = round(took / work, 2)
            mark = "  SLOWER" if what in last and now[what] > SLOWER * last[what] else ""
            kept = f"{last[what]:8.2f}" if what in last else f"{'':8}"
            print(f"{what:32}{took:9.2f}{now[what]:8.2f}{kept}{mark}", flush=True)
    if options.keep:
        LAST.write_text(json.dumps(now, indent=2) + "\n")


if __name__ == "__main__":
    main()
