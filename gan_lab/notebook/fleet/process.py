"""The process of a fleet: it keeps so many notebooks going, each in a process of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import stat
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from gan_lab.errors import GanLabError
from gan_lab.notebook.fleet.execute import execute_machine
from gan_lab.notebook.fleet.fleet import Fleet, cancel_tasks
from gan_lab.notebook.fleet.report import page, report_html
from gan_lab.notify import LONG_S, notify
from gan_lab.schema import utc_now
from gan_lab.settings import load_settings
from gan_lab.workspace import fleet_folder
from gan_lab.workspace.files import write_beside
from gan_lab.workspace.fleet_folder import FleetFolder, NotebookRecord

log = logging.getLogger(__name__)

LOOK_S = 0.5  # how late a flag or a time limit may be seen
OVERTIME_S = 30.0  # by which a notebook's process may be late to notice its own time limit
TERMINATE_S = 8.0  # what its process then has to put its kernel away


@dataclass
class _Running:
    """One notebook's process and when it must have ended (monotonic seconds)."""

    process: ForkProcess
    deadline: float


def main() -> None:
    """Run the fleet whose folder and number of notebooks at once stand on the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("papermill").setLevel(logging.WARNING)
    folder, at_once = FleetFolder(Path(sys.argv[1])), int(sys.argv[2])
    sockets = _sockets_folder(folder.fleet_id)
    os.environ |= {"JUPYTER_RUNTIME_DIR": str(sockets), "GAN_LAB_HOME": str(folder.home)}
    try:
        run_notebooks(folder, at_once)
        in_child(write_report, folder)
        in_child(tell_the_end, folder)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _sockets_folder(fleet_id: str) -> Path:
    """Make a folder for the kernels' sockets, whose names Linux cuts off at 107 characters."""
    folder = Path(tempfile.gettempdir()) / f"gan-lab-{os.getuid()}-{fleet_id}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise GanLabError(f"{folder} belongs to somebody else: remove it and resume the fleet.")
    return folder


def run_notebooks(folder: FleetFolder, at_once: int) -> None:
    """Execute every notebook that waits, until all have ended or somebody asks to stop."""
    notebook = Path(folder.plan.notebook)
    waiting = deque(machine for machine, state in folder.states().items() if state == "waiting")
    import papermill  # noqa: F401  # once for all that are forked

    log.info("fleet %s: %d notebooks, %d at once", folder.fleet_id, len(waiting), at_once)
    running: dict[str, _Running] = {}
    cancelled = False
    while running or (waiting and not folder.stop_requested):
        while waiting and len(running) < at_once and not folder.stop_requested:
            machine_id = waiting.popleft()
            running[machine_id] = _start(folder, machine_id, notebook)
        wait([one.process.sentinel for one in running.values()], timeout=LOOK_S)
        for machine_id in [name for name, one in running.items() if not one.process.is_alive()]:
            _take_note(folder, machine_id, running.pop(machine_id).process)
        if folder.stop_requested == "cancel" and not cancelled:
            cancelled = True
            _cancel(folder, running)
        _end_overdue(folder, running)
    if folder.stop_requested == "cancel":
        in_child(cancel_tasks, folder)  # what a notebook has asked for since
        for machine_id in waiting:
            never = NotebookRecord(ended=utc_now(), outcome="cancelled", error="It had not begun.")
            folder.write_record(machine_id, never)


def _start(folder: FleetFolder, machine_id: str, notebook: Path) -> _Running:
    limit_s = folder.plan.time_limit_s
    process = _fork(execute_machine, folder, machine_id, notebook, os.getpid())
    log.info("%s: started as process %s", machine_id, process.pid)
    deadline = time.monotonic() + (limit_s + OVERTIME_S if limit_s else float("inf"))
    return _Running(process, deadline)


def _fork(function: Callable[..., None], *arguments: Any) -> ForkProcess:
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def in_child(function: Callable[..., None], *arguments: Any) -> None:
    """Call something that may load, thread or fail as it likes, in a process of its own."""
    process = _fork(function, *arguments)
    process.join()
    if process.exitcode:
        log.warning("%s ended with status %s", function.__name__, process.exitcode)
    process.close()


def _take_note(folder: FleetFolder, machine_id: str, process: ForkProcess) -> None:
    """Put away a notebook's process that has ended, and speak for it where it could not."""
    record = folder.record(machine_id) or NotebookRecord()
    if record.outcome is None:
        cancelled = folder.stop_requested == "cancel"
        record.outcome, record.ended = ("cancelled" if cancelled else "failed"), utc_now()
        how = "Cancelled" if cancelled else f"The notebook's process ended ({process.exitcode})"
        record.error = f"{how} in cell {record.cell}."
        folder.write_record(machine_id, record)
    log.info("%s: %s %s", machine_id, record.outcome, record.error or "")
    process.close()
    limit_s = folder.plan.time_limit_s
    if record.outcome == "failed" and limit_s and record.seconds >= limit_s:
        in_child(cancel_tasks, folder, machine_id)  # else what never ends keeps its worker


def _cancel(folder: FleetFolder, running: dict[str, _Running]) -> None:
    log.info("cancelling")
    for one in running.values():
        one.deadline = min(one.deadline, time.monotonic() + load_settings().cancel_grace_s)
    in_child(cancel_tasks, folder)


def _end_overdue(folder: FleetFolder, running: dict[str, _Running]) -> None:
    for machine_id, one in running.items():
        if time.monotonic() > one.deadline:
            log.warning("%s: does not end by itself, is ended", machine_id)
            one.process.terminate()
            one.process.join(TERMINATE_S)
            if one.process.is_alive():
                one.process.kill()


def write_report(folder: FleetFolder) -> None:
    """Write the fleet's table and its report, as one page."""
    fleet = Fleet(folder)
    write_beside(folder.path / fleet_folder.TABLE, fleet.status().to_csv(index=False))
    html = page(f"Fleet {folder.fleet_id}", report_html(fleet))
    write_beside(folder.path / fleet_folder.REPORT_HTML, html)


def tell_the_end(folder: FleetFolder) -> None:
    """Tell whoever GAN_LAB_NOTIFY names that the fleet has ended."""
    fleet = Fleet(folder)
    if fleet.seconds >= LONG_S:
        notify(fleet.headline(), f"{fleet.summary()}\nReport: {fleet.report}", load_settings())


if __name__ == "__main__":
    main()
