"""A training with its workspace in an object store, beside the same on local files.

`python -m bench.store [--quick]` trains a machine in turn on both, with one worker and a server of
S3's protocol (moto) on this host, and prints the seconds from asking to the end.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
from distributed import LocalCluster

import gan_lab as lab
from gan_lab.settings import find_workspace
from gan_lab.workspace.files import write_beside
from tests.conftest import store_at

MACHINE = "motor_siemens_001"
PROFILE = Path(__file__).parents[1] / "data" / "machines" / f"{MACHINE}.yaml"
MOST = 1.1  # times the seconds on local files
PORT = 5999
SERVER = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(PORT)]


def seconds(home: str, epochs: int) -> float:
    """Train once in this workspace and return the seconds from asking to the end."""
    os.environ["GAN_LAB_HOME"] = home
    started = time.perf_counter()
    lab.train(MACHINE, epochs=epochs, early_stopping=False).result()
    return time.perf_counter() - started


def bench(quick: bool = False) -> list[dict[str, object]]:
    """Measure and return the figures with their bound."""
    os.environ |= store_at(PORT)
    folder, epochs = tempfile.mkdtemp(), 30 if quick else 100
    homes = {"files": folder, "store": "s3://bench/lab"}
    server = subprocess.Popen(SERVER, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
            boto3.client("s3").create_bucket(Bucket="bench")
            lab.use(cluster)
            for home in homes.values():
                os.environ["GAN_LAB_HOME"] = home
                place = find_workspace() / "data" / "machines" / PROFILE.name
                write_beside(place, PROFILE.read_bytes())
                lab.seed(MACHINE, rows=2_000 if quick else 5_000).result()
                seconds(home, 2)  # the first imports
            took = {name: list[float]() for name in homes}
            for _ in range(1 if quick else 5):
                for name, home in homes.items():
                    took[name].append(seconds(home, epochs))
            lab.use(None)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)
    files, store = (statistics.median(took[name]) for name in homes)
    ratio = store / files
    return [
        {
            "what": f"a training of {epochs} epochs on files",
            "value": round(files, 1),
            "unit": "s",
        },
        {"what": "the same in a store", "value": round(store, 1), "unit": "s"},
        {"what": "store over files", "value": round(ratio, 3), "bound": MOST, "ok": ratio < MOST},
    ]


if __name__ == "__main__":
    for line in bench("--quick" in sys.argv):
        print(line)
