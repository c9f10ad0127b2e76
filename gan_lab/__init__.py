"""gan_lab: whole lives of machines that wear out, learned from few, with an honest report.

The public names are loaded on first use (PEP 562), so that `import gan_lab` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "machines": "gan_lab.cluster.catalogue",
    "machine": "gan_lab.notebook.machine",
    "import_machine": "gan_lab.cluster.catalogue",
    "seed": "gan_lab.notebook.run",
    "train": "gan_lab.notebook.run",
    "generate": "gan_lab.notebook.run",
    "pipeline": "gan_lab.notebook.run",
    "prognose": "gan_lab.notebook.prognosis",
    "prognose_task": "gan_lab.notebook.run",
    "use": "gan_lab.cluster.services",
    "task": "gan_lab.notebook.run",
    "tasks": "gan_lab.cluster.submit",
    "get_task_status": "gan_lab.cluster.submit",
    "get_machine_status": "gan_lab.cluster.catalogue",
    "Run": "gan_lab.notebook.run",
    "watch": "gan_lab.notebook.widgets",
    "compare": "gan_lab.notebook.compare",
    "report": "gan_lab.notebook.report",
    "run_fleet": "gan_lab.notebook.fleet.start",
    "resume_fleet": "gan_lab.notebook.fleet.start",
    "fleet": "gan_lab.notebook.fleet.fleet",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gan_lab' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
