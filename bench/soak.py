"""Random faults for a given time, on real services: what was injected, what finished or was lost.

`python -m bench.soak --minutes 10` works in a temporary workspace of its own. Exit status 1 if a
run was lost, done twice, has a gap in its events or losses, or left another model than undisturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
MACHINE = "motor_siemens_001"
TRAINING = {
    "model": "tabular",
    "decoder": "network",
    "epochs": 600,  # long enough to be met by a fault
    "batch_size": 200,
    "compress_dims": [16],
    "decompress_dims": [16],
}
AT_ONCE = 6  # trainings that are queued or running at any time
PAUSE_S = (5.0, 20.0)  # between two faults
SEEDS = 4  # one undisturbed training each comes first: all later ones must leave the same


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    home = Path(tempfile.mkdtemp(prefix="gan-lab-soak-"))
    shutil.copytree(ROOT / "data" / "machines", home / "data" / "machines")
    os.environ |= {"GAN_LAB_HOME": str(home), "GAN_LAB_CHECKPOINT_EVERY_EPOCHS": "5"}
    # Faults come thicker than in life, and are to meet work, not pauses.
    os.environ |= {"GAN_LAB_RETRIES": "20", "GAN_LAB_RETRY_PAUSE_S": "0.1"}
    from gan_lab.cluster import services

    try:
        return soak(given.minutes, random.Random(given.seed))
    finally:
        services.stop_services()
        shutil.rmtree(home, ignore_errors=True)


def soak(minutes: float, chance: random.Random) -> int:
    import gan_lab as lab
    from gan_lab.cluster.resume import resume

    lab.seed(MACHINE, rows=800).result()
    models = [lab.train(MACHINE, seed=seed, **TRAINING) for seed in range(SEEDS)]
    undisturbed = [left(run.wait()) for run in models]
    runs, injected = [], Counter[str]()
    faults: dict[str, Callable[[random.Random], bool]] = {
        "worker killed": kill_worker,
        "redis killed": kill_redis,
        "supervisor killed": kill_supervisor,
    }
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        while sum(not run.final for run in runs) < AT_ONCE:
            runs.append(lab.train(MACHINE, seed=len(runs) % SEEDS, **TRAINING))
        time.sleep(chance.uniform(*PAUSE_S))
        name = chance.choices(list(faults), weights=[6, 3, 1])[0]
        if faults[name](chance):
            injected[name] += 1
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        if name == "supervisor killed":
            print(f"  {len(resume())} runs resumed", flush=True)
    for run in runs:
        with suppress(TimeoutError):  # then it is lost, as the report says
            run.wait(timeout=900)
    return report(runs, injected, undisturbed)


def report(runs: list, injected: Counter[str], undisturbed: list) -> int:
    """Print what was injected, what finished and what is wrong; returns the exit status."""
    ends = Counter(str(run.status().state) for run in runs)
    attempts = sum(max(event.attempt for event in run.events()) for run in runs)
    wrong = [problem for run in runs for problem in problems(run)]
    altered = [
        run.task_id
        for number, run in enumerate(runs)
        if run.result_data() and left(run) != undisturbed[number % SEEDS]
    ]
    print(f"injected: {dict(injected)}")
    print(f"{len(runs)} trainings in {attempts} attempts ended: {dict(ends)}")
    print(f"lost: {sum(not run.final for run in runs)}; wrong: {wrong or 'nothing'}")
    print(f"rows or losses other than undisturbed, bit for bit: {altered or 'none'}")
    return 1 if wrong or altered or ends["SUCCESS"] < len(runs) else 0


def left(run) -> tuple[list, list]:
    """Return what a training left: some rows of its model, and its losses."""
    from gan_lab.cluster.models import load_model

    rows = [chunk.to_csv() for chunk in load_model(run).sample(rows=400, seed=3)]
    losses = run.losses()[["epoch", "loss", "reconstruction", "kl"]]
    return rows, losses.values.tolist()


def problems(run) -> list[str]:
    """Return what is wrong with the record of one run."""
    events, losses = run.events(), run.losses()["epoch"].tolist()
    found = []
    if [event.seq for event in events] != list(range(1, len(events) + 1)):
        found.append(f"{run.task_id}: its events have a gap or a repeat")
    if losses != list(range(1, len(losses) + 1)) or len(losses) != TRAINING["epochs"]:
        found.append(f"{run.task_id}: its losses have a gap or a repeat")
    if sum(event.stage == "completed" for event in events) > 1:
        found.append(f"{run.task_id}: done twice")
    return found


def kill_worker(chance: random.Random) -> bool:
    """Kill a worker that holds a lease."""
    from gan_lab.workspace.runs import all_runs

    leases = [run.lease.read() for run in all_runs() if run.lease.held]
    pids = [lease["pid"] for lease in leases if lease]
    return bool(pids) and kill(chance.choice(pids))


def kill_redis(chance: random.Random) -> bool:
    """Kill the Valkey server, which its supervisor starts again."""
    from gan_lab.workspace.service_record import read_services

    record = read_services()
    return record is not None and kill(record.redis_pid)


def kill_supervisor(chance: random.Random) -> bool:
    """Kill the scheduler and everything with it, and start it anew."""
    from gan_lab.cluster import services
    from gan_lab.workspace.service_record import read_services

    record = read_services()
    done = record is not None and kill(record.pid)
    services.ensure_services()
    return done


def kill(pid: int) -> bool:
    """Kill a process without warning; False if it was gone."""
    try:
        process = psutil.Process(pid)
        process.kill()
        process.wait(30)  # until nobody takes it for one that lives
    except psutil.NoSuchProcess:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
