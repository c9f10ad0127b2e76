"""How far it scales: measured pieces, a simulation of a whole cluster, and what it predicts.

`python -m bench.scale [--quick]`, in a workspace of its own with two workers. It measures some
chains (seed, train, generate), fits the time that a task costs beyond its work, simulates many more
chains and runs these too, to see whether the prediction holds within a fifth. Then it simulates
10,000 machines of 50,000 rows on 100 workers, by one such machine that it measures.
"""

from __future__ import annotations

import heapq
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

import gan_lab as lab
from bench.fleet import make_machines
from gan_lab.cluster import services
from gan_lab.cluster.queue import PRIORITY
from gan_lab.cluster.submit import Run
from gan_lab.schema import TaskSpec
from gan_lab.settings import load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.runs import create_run
from gan_lab.workspace.service_record import read_services
from tests.conftest import store_at

ROOT = Path(__file__).parents[1]
PROFILE = ROOT / "data" / "machines" / "motor_siemens_001.yaml"
ONE = "bench_motor_000"  # of the machines that are made
FOLLOW = """
import sys
from gan_lab.wire.follow import follow
from gan_lab.workspace.runs import open_run
for event in follow(open_run(sys.argv[1])):
    if event.seq == 1:
        print("follows", flush=True)
"""
WORKERS = 2
SMALL: dict[str, Any] = {"seed": {"rows": 1_000}, "model": "tabular", "report": False}
LARGE_MACHINES, LARGE_WORKERS, LARGE_ROWS = 10_000, 100, 50_000
WITHIN = 0.2


@dataclass(frozen=True)
class Task:
    """One task of a chain: its kind, and the seconds of its work."""

    kind: str
    work_s: float


def simulate(
    chains: Sequence[Sequence[Task]], workers: int, task_s: float, submit_s: float
) -> float:
    """Return the seconds until all chains have ended.

    One client hands over a chain each `submit_s`; a free worker takes the waiting task of the
    highest priority, the oldest first, as Dask does, and each costs `task_s` beyond its work.
    """
    ready: list[tuple[int, int, int]] = []  # priority, chain, place in it
    events = [(place * submit_s, -1, place, 0) for place in range(len(chains))]  # a chain arrives
    heapq.heapify(events)
    free, now = workers, 0.0
    while events:
        now, worker, chain, place = heapq.heappop(events)
        free += worker >= 0
        if place < len(chains[chain]):
            heapq.heappush(ready, (-PRIORITY[chains[chain][place].kind], chain, place))
        while free and ready:
            _, chain, place = heapq.heappop(ready)
            free -= 1
            ends = now + task_s + chains[chain][place].work_s
            heapq.heappush(events, (ends, 0, chain, place + 1))
    return now


def work_of(run: Run) -> Task:
    """Return what a task took, from the first word that it said to the last."""
    events = run.events()
    first, last = (datetime.fromisoformat(events[place].timestamp) for place in (0, -1))
    return Task(run.spec.kind, (last - first).total_seconds())


def run_chains(names: Sequence[str]) -> dict[str, Any]:
    """Run a chain for each machine; return the seconds, those of submitting, the work done, and
    what the scheduler grew by a task that waits."""
    record = read_services()
    assert record is not None
    keeper = psutil.Process(record.pid)
    before, started = keeper.memory_info().rss, time.perf_counter()
    chains = [lab.pipeline(name, **SMALL) for name in names]
    submitted_s = time.perf_counter() - started
    grown = keeper.memory_info().rss - before
    for runs in chains:
        runs[-1].result()
    return {
        "wall_s": time.perf_counter() - started,
        "submit_s": submitted_s / len(names),
        "chains": [[work_of(run) for run in runs] for runs in chains],
        "bytes_a_task": grown / sum(len(runs) for runs in chains),
    }


def fitted_overhead(measured: dict[str, Any]) -> float:
    """Return the seconds beyond its work for which the simulation takes as long as was measured."""
    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        took = simulate(measured["chains"], WORKERS, middle, measured["submit_s"])
        low, high = (middle, high) if took < measured["wall_s"] else (low, middle)
    return low


def events_a_second(number: int) -> float:
    """Return how many events a second go from a task over Redis and disk to another process, which
    follows it."""
    settings = load_settings()
    run = create_run(TaskSpec(task_id=str(uuid.uuid4()), kind="train", machine_id=ONE, config={}))
    reader = subprocess.Popen([sys.executable, "-c", FOLLOW, run.task_id], stdout=subprocess.PIPE)
    assert reader.stdout is not None
    announcer = Announcer(run, settings)
    announcer.say("initializing", current=0, total=number, message="Begun")
    reader.stdout.readline()
    started = time.perf_counter()
    for place in range(number):
        announcer.say("training", current=place, total=number, message="an epoch")
    run.finish({})
    announcer.say("completed", current=number, total=number, message="Done")
    announcer.close()
    reader.wait(600)
    return number / (time.perf_counter() - started)


@contextmanager
def counted_store() -> Iterator[Counter[str]]:
    """A workspace in a store of S3's protocol, and a count of what it is asked."""
    import boto3
    from moto.server import ThreadedMotoServer
    from werkzeug.serving import WSGIRequestHandler

    asked: Counter[str] = Counter()
    WSGIRequestHandler.log_request = (  # type: ignore[method-assign]
        lambda self, *_: asked.update([self.command])
    )
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=True)
    server.start()
    os.environ |= store_at(server.get_host_and_port()[1])
    boto3.client("s3").create_bucket(Bucket="bench")
    before = os.environ["GAN_LAB_HOME"]
    os.environ["GAN_LAB_HOME"] = "s3://bench/lab"
    try:
        yield asked
    finally:
        os.environ["GAN_LAB_HOME"] = before
        server.stop()


def requests_of_a_chain() -> dict[str, int]:
    """Return how often a chain asks a store, by method, its tasks done by this process."""
    from gan_lab.cluster.tasks import TASKS
    from gan_lab.schema import configure
    from gan_lab.workspace.files import write_beside

    # A run of this process, not of the cluster: counted is what the tasks themselves ask.
    with counted_store() as asked:
        settings = load_settings()
        home = settings.home
        text = PROFILE.read_text().replace(PROFILE.stem, ONE)
        write_beside(home / "data" / "machines" / f"{ONE}.yaml", text)
        asked.clear()
        wanted: dict[Any, dict[str, Any]] = {
            "seed": SMALL["seed"], "train": {"model": "tabular"}, "generate": {}
        }  # fmt: skip
        for kind, options in wanted.items():
            config = configure(kind, options).model_dump(mode="json")
            spec = TaskSpec(task_id=str(uuid.uuid4()), kind=kind, machine_id=ONE, config=config)
            create_run(spec, home)
            TASKS[kind](spec.task_id, settings)
        return dict(asked)


def large() -> tuple[list[Task], int, int]:
    """Run a whole chain of one large machine; return its tasks, its files and their bytes."""
    runs = lab.pipeline(ONE, seed={"rows": LARGE_ROWS})
    runs[-1].result()
    files = [path for run in runs for path in run.path.rglob("*") if path.is_file()]
    return [work_of(run) for run in runs], len(files), sum(path.stat().st_size for path in files)


def bench(quick: bool = False) -> dict[str, Any]:
    """Measure, simulate, and hold the one against the other."""
    some, many = (6, 20) if quick else (20, 200)
    folder = Path(tempfile.mkdtemp())
    for name in ("data/machines", "runs", "notebooks"):
        (folder / name).mkdir(parents=True)
    shutil.copy(PROFILE, folder / "data" / "machines")
    os.environ |= {"GAN_LAB_HOME": str(folder), "GAN_LAB_WORKERS": str(WORKERS)}
    os.environ["GAN_LAB_WORKER_NICE"] = "0"  # they and the client share two cores
    try:
        services.get_client().wait_for_workers(WORKERS)
        run_chains(make_machines(WORKERS, rows=0))  # the first imports
        first = run_chains(make_machines(some, 100, rows=0))
        task_s = fitted_overhead(first)
        typical = [
            Task(kind, statistics.mean(task.work_s for task in tasks))
            for kind, tasks in by_kind(first["chains"]).items()
        ]
        predicted = simulate([typical] * many, WORKERS, task_s, first["submit_s"])
        second = run_chains(make_machines(many, 1_000, rows=0))
        print(
            f"{many} machines: predicted {predicted:.1f} s, took {second['wall_s']:.1f} s",
            flush=True,
        )
        smallest = [Task("seed", 0.0)] * many
        found: dict[str, Any] = {
            "tasks": {task.kind: round(task.work_s, 3) for task in typical},
            "a task beyond its work (s)": round(task_s, 3),
            "submitting a chain (s)": round(first["submit_s"], 3),
            "most tasks a second of 2 workers": round(
                many / simulate([[task] for task in smallest], WORKERS, task_s, 0), 1
            ),
            f"{many} machines": {
                "predicted (s)": round(predicted, 1),
                "measured (s)": round(second["wall_s"], 1),
                "off by": round(predicted / second["wall_s"] - 1, 3),
                "bound": WITHIN,
            },
            "the scheduler's memory for a task that waits (kB)": round(
                second["bytes_a_task"] / 1e3, 1
            ),
            "events a second, end to end": round(events_a_second(2_000 if quick else 20_000)),
            "requests of a chain in a store": requests_of_a_chain(),
        }
        if not quick:
            tasks, files, size = large()
            chains = [tasks] * LARGE_MACHINES
            total_s = simulate(chains, LARGE_WORKERS, task_s, first["submit_s"])
            waiting = LARGE_MACHINES * len(tasks)
            found[
                f"{LARGE_MACHINES:,} machines of {LARGE_ROWS:,} rows, {LARGE_WORKERS} workers"
            ] = {
                "tasks (s)": {task.kind: round(task.work_s, 1) for task in tasks},
                "hours": round(total_s / 3600, 1),
                "hours of submitting, by one client": round(
                    LARGE_MACHINES * first["submit_s"] / 3600, 2
                ),
                "the scheduler holds (MB)": round(waiting * second["bytes_a_task"] / 1e6),
                "files": files * LARGE_MACHINES,
                "GB of runs": round(size * LARGE_MACHINES / 1e9, 1),
            }
        return found
    finally:
        services.stop_services()
        shutil.rmtree(folder, ignore_errors=True)


def by_kind(chains: Sequence[Sequence[Task]]) -> dict[str, list[Task]]:
    """Return the tasks of all chains by their kind, in the order of a chain."""
    kinds: dict[str, list[Task]] = {}
    for chain in chains:
        for task in chain:
            kinds.setdefault(task.kind, []).append(task)
    return kinds


if __name__ == "__main__":
    print(json.dumps(bench("--quick" in sys.argv), indent=2))
