"""A task's process as the notebook layer sees it: a real writer of a real run folder and wire."""

from __future__ import annotations

import math
import sys
import time

from gan_lab.events import Announcer
from gan_lab.runs import RunFolder, open_run
from gan_lab.schema import Epoch
from gan_lab.settings import load_settings


def train(run: RunFolder, epochs: int, epoch_s: float, pause_s: float = 0.0) -> None:
    """Write what a training writes: events, epochs, result."""
    announcer = Announcer(run, load_settings())
    announcer.say("initializing", 0, epochs, "Reading the seed table")
    for number in range(1, epochs + 1):
        time.sleep(epoch_s)
        loss = 1 + 9 * math.exp(-number / 20)
        epoch = Epoch(number, epochs, loss, loss * 0.7, loss * 0.3, loss + 0.2, 0.05, 20_000.0)
        run.append_epoch(epoch)
        announcer.say(
            "training",
            number,
            epochs,
            f"Epoch {number}/{epochs}, Loss: {loss:.4f}",
            epoch=number,
            loss=loss,
        )
    result = {
        "machine_id": run.spec.machine_id,
        "model_path": str(run.path / "model.safetensors"),
        "epochs_completed": epochs,
        "training_time_seconds": epochs * epoch_s,
        "final_loss": loss,
    }
    run.finish(result)
    announcer.say("completed", epochs, epochs, "Done")
    announcer.close()


if __name__ == "__main__":
    train(open_run(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
