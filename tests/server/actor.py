"""A process that holds a task's lease and says what its standard input tells it to."""

from __future__ import annotations

import os
import sys

from gan_lab.errors import TaskFailed
from gan_lab.settings import load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.runs import open_run


def main() -> None:
    run = open_run(sys.argv[1])
    owner = f"actor:{os.getpid()}"
    run.lease.take(owner, lease_s=300)
    announcer = Announcer(run, load_settings())
    total = 1000
    for line in sys.stdin:
        word, *numbers = line.split()
        if word == "say":
            for _ in range(int(numbers[0])):
                epoch = (run.last_event().seq if run.last_event() else 0) + 1
                text = f"Epoch {epoch}/{total}, Loss: {1 / epoch:.4f}"
                announcer.say("training", epoch, total, text, epoch=epoch, loss=1 / epoch)
        elif word == "shout":
            for _ in range(int(numbers[0])):
                announcer.say("training", 1, total, "A" * int(numbers[1]))
        elif word == "end":
            run.finish({"machine_id": run.spec.machine_id})
            announcer.say("completed", total, total, "Done")
        elif word == "fail":
            run.fail(TaskFailed("It broke."))
            announcer.say("failed", 0, total, "It broke.")
        elif word == "revoke":
            run.cancelled()
            announcer.say("cancelled", 0, total, "Cancelled")
        print("done", flush=True)
    announcer.close()


if __name__ == "__main__":
    main()
