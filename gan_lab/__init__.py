"""gan_lab: whole lives of machines that wear out, learned from few, with an honest report.

The public names are loaded on first use (PEP 562), so that `import gan_lab` stays quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "machines": "gan_lab.cluster.submit",
    "machine": "gan_lab.notebook.machine",
    "import_machine": "gan_lab.cluster.submit",
    "seed": "gan_lab.cluster.submit",
    "train": "gan_lab.cluster.submit",
    "generate": "gan_lab.cluster.submit",
    "pipeline": "gan_lab.cluster.submit",
    "task": "gan_lab.cluster.submit",
    "tasks": "gan_lab.notebook.overview",
    "get_task_status": "gan_lab.cluster.submit",
    "get_machine_status": "gan_lab.cluster.submit",
    "Run": "gan_lab.cluster.submit",
    "watch": "gan_lab.notebook.widgets",
    "compare": "gan_lab.notebook.compare",
    "report": "gan_lab.notebook.report",
    "leaderboard": "gan_lab.notebook.report",
    "run_fleet": "gan_lab.notebook.fleet",
    "resume_fleet": "gan_lab.notebook.fleet",
    "fleet": "gan_lab.notebook.fleet",
    "fleets": "gan_lab.notebook.fleet",
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


class _Package(ModuleType):
    """A package whose submodule `machines` does not hide the function of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
