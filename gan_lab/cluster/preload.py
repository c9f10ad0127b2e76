"""What every worker does at its start: import torch while it is already ready.

The import holds the interpreter for seconds; inside a task it would stop the worker's heartbeat.
"""

from __future__ import annotations

import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Begin the import in a thread, so that the worker is ready at once."""
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()


def _warm_up() -> None:
    from importlib import import_module

    for module in ("gan_lab.cluster.tasks", "gan_lab.synth.tables", "torch"):
        import_module(module)
