"""One notebook, executed by papermill in a process of its own.

A kernel that dies and a notebook that takes too long end as a failing cell does: the notebook is
kept up to there, says so in the cell, and one sentence goes to whoever keeps the list.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from gan_lab.errors import GanLabError
from gan_lab.schema import utc_now
from gan_lab.workspace.fleet_folder import FleetFolder, NotebookRecord

KERNEL_STARTS = 3  # on a busy host about one in twenty does not come up
KERNEL_START_S = 60
PR_SET_PDEATHSIG = 1


class NotebookFailed(GanLabError):
    """A notebook did not reach its end; the text is one line: which cell and why."""

    reason = "notebook_failed"


def execute(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    time_limit_s: float | None = None,
    on_cell: Callable[[int], None] = lambda cell: None,
) -> None:
    """Execute a notebook in its own folder and leave it at `output`, also where it fails.

    Kernels are reached over `ipc`, which no other user can. `on_cell` gets the number of each code
    cell as it begins. Raises `NotebookFailed`.
    """
    import papermill
    from traitlets.config import Config

    deadline = time.monotonic() + (time_limit_s or float("inf"))
    begun: list[int] = []  # indexes of the code cells that began

    def began(cell: Any, cell_index: int) -> None:
        begun.append(cell_index)
        on_cell(len(begun))

    for _ in range(KERNEL_STARTS):
        try:
            papermill.execute_notebook(
                notebook,
                output,
                parameters,
                progress_bar=False,
                cwd=notebook.parent,
                start_timeout=KERNEL_START_S,
                config=Config(KernelManager=_private_sockets()),
                on_cell_execute=began,
                timeout_func=lambda cell: _left_s(deadline),
            )
            return
        except papermill.PapermillExecutionError as error:
            raise NotebookFailed(_line(len(begun), error.ename, error.evalue)) from None
        except Exception as error:
            if begun:
                raise NotebookFailed(_mark(output, begun, error, time_limit_s)) from None
            reason = f"{type(error).__name__}: {error}"
    raise NotebookFailed(f"The kernel did not start in {KERNEL_STARTS} attempts: {_short(reason)}")


def _private_sockets() -> dict[str, str]:
    """Return the options of a kernel reached over sockets of its own."""
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {"transport": "ipc", "connection_file": str(folder / f"kernel-{uuid.uuid4()}.json")}


def _left_s(deadline: float) -> float | None:
    left_s = deadline - time.monotonic()
    return None if left_s == float("inf") else max(left_s, 0.1)


def _line(cell: int, name: str, value: str) -> str:
    return f"In [{cell}]: {name}: {_short(value)}"


def _short(text: str, most: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _mark(output: Path, begun: list[int], error: Exception, time_limit_s: float | None) -> str:
    """Write what happened into the cell, as if it had raised it, and return it as one line."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from nbformat.v4 import new_output
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import raise_for_execution_errors
    from papermill.iorw import load_notebook_node

    name, value = type(error).__name__, _short(str(error))
    if isinstance(error, CellTimeoutError):
        name, value = "TimeLimit", f"the notebook's {time_limit_s:g} s were over in this cell"
    elif isinstance(error, DeadKernelError):
        name, value = "DeadKernel", "the kernel died in this cell (out of memory, or it was ended)"
    node = load_notebook_node(str(output))
    failed = new_output("error", ename=name, evalue=value, traceback=[f"{name}: {value}"])
    node.cells[begun[-1]].setdefault("outputs", []).append(failed)
    node.cells[begun[-1]].execution_count = len(begun)
    with suppress(PapermillExecutionError):
        raise_for_execution_errors(node, str(output))  # it writes the notebook with signposts first
    return _line(len(begun), name, value)


# ---- one machine of a fleet


def execute_machine(folder: FleetFolder, machine_id: str, notebook: Path, parent: int) -> None:
    """Execute one machine's notebook and keep its record: what a fleet's child process does."""
    _die_with(parent)
    cells = json.loads(notebook.read_text())["cells"]
    plan, record = folder.plan, NotebookRecord(cells=_code_cells(cells))
    os.environ["GAN_LAB_FLEET_ID"] = folder.fleet_id  # marks the tasks that the notebook submits

    def keep(**changes: Any) -> None:
        for name, value in changes.items():
            setattr(record, name, value)
        folder.write_record(machine_id, record)

    keep()
    outcome, error = "done", None
    try:
        execute(
            notebook,
            folder.notebook(machine_id),
            plan.machines[machine_id] | {"machine_id": machine_id},
            plan.time_limit_s,
            on_cell=lambda cell: keep(cell=cell),
        )
    except NotebookFailed as failure:
        outcome, error = (
            "cancelled" if folder.stop_requested == "cancel" else "failed",
            str(failure),
        )
    ended = utc_now()
    spent = datetime.fromisoformat(ended) - datetime.fromisoformat(record.started)
    keep(ended=ended, seconds=spent.total_seconds(), outcome=outcome, error=error)


def _code_cells(cells: list[dict[str, Any]]) -> int:
    code = [
        cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]
    return len(code) + 1  # papermill adds one that sets the parameters


def _die_with(parent: int) -> None:
    """Have Linux end this process when the fleet's ends, however that ends; its kernel follows."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
