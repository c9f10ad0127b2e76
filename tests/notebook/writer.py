"""A task's process as the notebook layer sees it: a real writer of a real run folder and wire."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator

from gan_lab.schema import Epoch
from gan_lab.settings import load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import open_run


def training(run: RunFolder, epochs: int, asked: int | None = None) -> Iterator[int]:
    """Write what a training writes, yielding after each epoch; `asked`: for more epochs."""
    asked = asked or epochs
    announcer = Announcer(run, load_settings())
    announcer.say("initializing", 0, asked, "Reading the seed table")
    for number in range(1, epochs + 1):
        loss = 1 + 9 * math.exp(-number / 20)
        run.append_epoch(
            Epoch(number, epochs, loss, loss * 0.7, loss * 0.3, loss + 0.2, 0.05, 20_000.0)
        )
        message = f"Epoch {number}/{epochs}, Loss: {loss:.4f}"
        announcer.say("training", number, asked, message, epoch=number, loss=loss)
        yield number
    result = {
        "machine_id": run.spec.machine_id,
        "model_path": str(run.path / "model.safetensors"),
        "epochs_completed": epochs,
        "final_loss": loss,
    }
    run.finish(result)
    announcer.say("completed", epochs, asked, "Done")
    announcer.close()


def train(run: RunFolder, epochs: int, epoch_s: float = 0.0, asked: int | None = None) -> None:
    """Write a whole training, so many seconds an epoch."""
    for _ in training(run, epochs, asked):
        time.sleep(epoch_s)


if __name__ == "__main__":
    train(open_run(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
