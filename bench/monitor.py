"""What our page on the dashboard costs: its answers over a long history, and the scheduler's CPU.

`python -m bench.monitor [--quick]`. A scheduler of its own process serves the page. First over
10,000 runs that have ended: how long an answer takes for one who looks each second, as the page
does. Then with 500 tasks that wait: how much of a core the scheduler takes without our page, with
it when nobody looks, and with the page open.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil

from gan_lab.cluster.services.valkey import ValkeyChild
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import run_paths, runs_folder
from tests.cluster.history import make_history, serve_dashboard

ENDED = ("success", "success", "success", "failure", "revoked", "success")
WAITING = ("pending",)


def main() -> None:
    """Measure and print one line of JSON for each figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--plain", action="store_true", help="with --serve: without our page")
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, options.plain)
    seconds = 15 if options.quick else 60
    with tempfile.TemporaryDirectory(prefix="gan-lab-bench-") as name:
        (Path(name) / "valkey").mkdir()
        valkey = ValkeyChild(Path(name) / "valkey")
        valkey.start()
        os.environ["GAN_LAB_REDIS_URL"] = valkey.url
        for label, tasks, states in (
            ("history", 1_000 if options.quick else 10_000, ENDED),
            ("queue", 500, WAITING),
        ):
            home = Path(name) / label
            make_history(home, tasks, states)
            measure(label, home, tasks, seconds)
        valkey.stop()
    return None


def serve(home: Path, plain: bool) -> None:
    """Serve the dashboard of a history until standard input ends."""
    runs = [RunFolder(path) for path in run_paths(runs_folder(home))]
    waiting = [run for run in runs if not run.final]
    with serve_dashboard(home, waiting, plain) as url:
        print(url, flush=True)
        sys.stdin.read()


def measure(label: str, home: Path, tasks: int, seconds: int) -> None:
    """Look at one history for so long, after as long without a look."""
    with served(home, "--plain") as (_, process):
        plain = busy(process, seconds)
    with served(home) as (url, process), httpx.Client(base_url=url, timeout=30) as page:
        alone = busy(process, seconds)
        began = time.perf_counter()
        page.get("/lab/tasks.json").raise_for_status()
        show(f"{label}: seconds until all {tasks} runs are known", time.perf_counter() - began)
        before, took = cpu_s(process), look(page, seconds)
        watched = (cpu_s(process) - before) / seconds
    p50, p95 = np.percentile(took, [50, 95])
    show(f"{label}: answer in ms, median and 95th percentile", [1e3 * p50, 1e3 * p95])
    show(f"{label}: the scheduler's CPU in % of a core, without our page", 100 * plain)
    show(f"{label}: with it, nobody looks", 100 * alone)
    show(f"{label}: what the page adds", 100 * (watched - alone))


@contextmanager
def served(home: Path, *options: str) -> Iterator[tuple[str, psutil.Process]]:
    """Serve a history from a process of its own; gives its address and that process."""
    command = [sys.executable, "-m", "bench.monitor", "--serve", str(home), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), psutil.Process(server.pid)
        server.communicate()


def look(page: httpx.Client, seconds: int) -> list[float]:
    """Ask as the page does, each second; return the seconds it took."""
    took, began = [], time.perf_counter()
    for number in range(seconds):
        time.sleep(max(0.0, began + number - time.perf_counter()))
        asked = time.perf_counter()
        page.get("/lab/tasks.json").raise_for_status()
        took.append(time.perf_counter() - asked)
    return took


def busy(process: psutil.Process, seconds: int) -> float:
    """Return the CPU seconds a process takes in each second of so many."""
    before = cpu_s(process)
    time.sleep(seconds)
    return (cpu_s(process) - before) / seconds


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def show(what: str, value: float | list[float]) -> None:
    """Print one figure."""
    print(json.dumps({what: np.round(value, 2).tolist()}), flush=True)


if __name__ == "__main__":
    main()
