"""How soon one sees an epoch: from publish to the widget's trait, and to the pixel in a browser."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
import uuid
from datetime import datetime
from pathlib import Path

from gan_lab.notebook import widgets
from gan_lab.schema import Epoch, TaskSpec
from gan_lab.settings import load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run

ROOT = Path(__file__).parents[1]
PUBLISH_TO_TRAIT_P95_MS = 20
EPOCH_TO_PIXEL_P95_MS = 300
EPOCHS = 60
EPOCH_S = 0.45  # not a multiple of the 0.2 s between redraws


def write(run: RunFolder, epochs: int) -> None:
    """Write a training whose loss is the moment its epoch ended, in milliseconds."""
    announcer = Announcer(run, load_settings())
    for number in range(1, epochs + 1):
        time.sleep(EPOCH_S)
        ended = time.time() * 1000
        run.append_epoch(Epoch(number, epochs, ended, 1.0, 1.0, None, EPOCH_S, 1000.0))
        announcer.say("training", number, epochs, f"{ended:.3f}", epoch=number, loss=ended)
    run.finish({"epochs_completed": epochs})
    announcer.say("completed", epochs, epochs, "Done")


def new_run() -> RunFolder:
    """Make the folder of a task of nobody."""
    task_id = str(uuid.uuid4())
    return create_run(
        TaskSpec(task_id=task_id, kind="train", machine_id="motor_siemens_001", config={})
    )


def start_writer(run: RunFolder, epochs: int) -> subprocess.Popen[bytes]:
    """Let another process write the training."""
    return subprocess.Popen([sys.executable, "-m", "bench.watching", run.task_id, str(epochs)])


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


def publish_to_trait(epochs: int = EPOCHS) -> list[float]:
    """Return the milliseconds from saying each epoch to the bar's new value."""
    run, over = new_run(), threading.Event()
    view = widgets.watch(run)
    view.box()
    seen: list[float] = []

    def moved(change: dict[str, float]) -> None:
        event = run.last_event()
        if event is not None and 0 < change["new"] < 1:
            said = datetime.fromisoformat(event.timestamp).timestamp()
            seen.append((time.time() - said) * 1000)

    view._panels[0].bar.observe(moved, "value")

    def live() -> None:
        view.live()
        over.set()

    threading.Thread(target=live, daemon=True).start()
    with start_writer(run, epochs):
        over.wait(epochs * EPOCH_S + 60)
    return seen


def epoch_to_pixel(epochs: int = EPOCHS) -> float:
    """Return the 95th percentile, in milliseconds, from an epoch's end to a page in Chromium."""
    env = os.environ | {"GAN_LAB_BENCH_EPOCHS": str(epochs)}
    env.pop("GAN_LAB_HOME", None)
    test = ["-m", "pytest", "-q", "tests/browser/test_latency.py"]
    subprocess.run([sys.executable, *test], cwd=ROOT, env=env, check=True, stdout=sys.stderr)
    record = json.loads((ROOT / "test-output" / "browser" / "latency.json").read_text())
    return float(record["p95_ms"])


def bench(quick: bool = False) -> list[dict[str, object]]:
    """Measure and return the figures with their bounds; needs the services of the workspace."""
    from gan_lab.cluster.services.connection import ensure_services

    ensure_services()
    epochs = 20 if quick else EPOCHS
    warm = publish_to_trait(epochs)[2:]  # behind the first imports
    figures = [
        ("publish to trait, p95", p95(warm), PUBLISH_TO_TRAIT_P95_MS),
        ("epoch end to pixel, p95", epoch_to_pixel(epochs), EPOCH_TO_PIXEL_P95_MS),
    ]
    return [
        {"what": what, "value": round(value, 1), "unit": "ms", "bound": bound, "ok": value < bound}
        for what, value, bound in figures
    ]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        from gan_lab.workspace.runs import open_run

        write(open_run(sys.argv[1]), int(sys.argv[2]))
    else:
        for line in bench("--quick" in sys.argv):
            print(line)
