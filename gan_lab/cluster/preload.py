"""What every worker does at its start: step back behind people, and import torch while it is
already ready.

The import holds the interpreter for seconds; inside a task it would stop the worker's heartbeat.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any

from gan_lab.errors import GanLabError
from gan_lab.settings import load_settings


def dask_setup(worker: Any) -> None:
    """Lower the worker's priority; begin the import in a thread, so that it is ready at once."""
    with suppress(GanLabError):  # a worker without a workspace is refused with a sentence, later
        os.nice(max(0, load_settings().worker_nice - os.nice(0)))
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()


def _warm_up() -> None:
    from importlib import import_module

    for module in ("gan_lab.cluster.tasks", "gan_lab.workspace.tables", "torch"):
        import_module(module)
