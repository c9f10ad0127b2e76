"""One notebook, executed by papermill in a process of its own.

A kernel that dies ends as a failing cell does: the notebook is kept up to there, and one sentence
goes to whoever keeps the list.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gan_lab import errors
from gan_lab.errors import GanLabError
from gan_lab.workspace.fleet_folder import FleetFolder, NotebookRecord

KERNEL_STARTS = 3  # on a busy host about one in twenty does not come up
KERNEL_START_S = 60
PR_SET_PDEATHSIG = 1
MAX_LETTERS = 300  # of an error


class NotebookFailed(GanLabError):
    """A notebook did not reach its end; the text is one line: which cell and why."""


def execute(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    on_cell: Callable[[int], None] = lambda cell: None,
) -> None:
    """Execute a notebook in its own folder and leave it at `output`, also where it fails.

    Kernels are reached over `ipc`, which no other user can. `on_cell` gets the number of each code
    cell as it begins. Raises `NotebookFailed`.
    """
    import papermill
    from traitlets.config import Config

    begun = 0

    def began(*_: Any, **__: Any) -> None:
        nonlocal begun
        begun += 1
        on_cell(begun)

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
            )
            return
        except papermill.PapermillExecutionError as error:
            ours = hasattr(errors, error.ename)  # a sentence that needs no name of a class
            what = error.evalue if ours else f"{error.ename}: {error.evalue}"
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
        if begun:
            raise NotebookFailed(f"In [{begun}]: {_one_line(what)}")
    raise NotebookFailed(f"The kernel did not start in {KERNEL_STARTS} attempts: {_one_line(what)}")


def _private_sockets() -> dict[str, str]:
    """Return the options of a kernel reached over sockets of its own."""
    from jupyter_core.paths import jupyter_runtime_dir

    folder = Path(jupyter_runtime_dir())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {"transport": "ipc", "connection_file": str(folder / f"kernel-{uuid.uuid4()}.json")}


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_LETTERS else line[: MAX_LETTERS - 1] + "…"


def execute_machine(folder: FleetFolder, machine_id: str, notebook: Path, parent: int) -> None:
    """Execute one machine's notebook and keep its record: what a fleet's child process does."""
    # Linux ends this process when the fleet's ends, however that ends; its kernel follows.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    cells = json.loads(notebook.read_text())["cells"]
    code = [
        cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]
    record = NotebookRecord(cells=len(code) + 1)  # papermill adds one that sets the parameters
    os.environ["GAN_LAB_FLEET_ID"] = folder.fleet_id  # marks the tasks that the notebook submits

    def keep(cell: int) -> None:
        record.cell = cell
        folder.write_record(machine_id, record)

    keep(0)
    parameters = folder.plan.machines[machine_id] | {"machine_id": machine_id}
    error = None
    try:
        execute(notebook, folder.notebook(machine_id), parameters, keep)
    except NotebookFailed as failure:
        error = str(failure)
    folder.write_end(machine_id, record, error)
