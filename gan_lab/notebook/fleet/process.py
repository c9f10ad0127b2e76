"""The process of a fleet: it keeps so many notebooks going, each in a process of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from gan_lab.cluster.services.embedded import services_have_died
from gan_lab.notebook.fleet.execute import execute_machine
from gan_lab.notebook.fleet.fleet import Fleet, cancel_tasks
from gan_lab.notify import LONG_S, notify
from gan_lab.settings import load_settings
from gan_lab.workspace import fleet_folder
from gan_lab.workspace.files import write_beside
from gan_lab.workspace.fleet_folder import FleetFolder, NotebookRecord

log = logging.getLogger(__name__)

LOOK_S = 0.5  # how late a flag may be seen
SERVICES_S, MAX_RESTARTS = 5.0, 5  # how often dead services are looked for, and started anew
TERMINATE_S = 8.0  # what a notebook's process has to put its kernel away


def main() -> None:
    """Run the fleet whose folder and number of notebooks at once stand on the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("papermill").setLevel(logging.WARNING)
    folder, at_once = FleetFolder(Path(sys.argv[1])), int(sys.argv[2])
    # The sockets of its kernels need a short path: Linux cuts their names off at 107 characters.
    sockets = tempfile.mkdtemp(prefix=f"gan-lab-{folder.fleet_id}-")
    os.environ |= {"JUPYTER_RUNTIME_DIR": sockets, "GAN_LAB_HOME": str(folder.home)}
    try:
        run_notebooks(folder, at_once)
        in_child(write_report, folder)
        in_child(tell_the_end, folder)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def run_notebooks(folder: FleetFolder, at_once: int) -> None:
    """Execute every notebook that waits, until all have ended or somebody cancels."""
    import papermill  # noqa: F401  # once for all that are forked

    notebook = Path(folder.plan.notebook)
    waiting = deque(machine for machine, state in folder.states().items() if state == "waiting")
    log.info("fleet %s: %d notebooks, %d at once", folder.fleet_id, len(waiting), at_once)
    running: dict[str, ForkProcess] = {}
    deadline = None  # by which notebooks must have ended, once cancelled (monotonic seconds)
    services = Services()
    while running or (waiting and not folder.cancelling):
        while waiting and len(running) < at_once and not folder.cancelling:
            machine_id = waiting.popleft()
            running[machine_id] = _fork(execute_machine, folder, machine_id, notebook, os.getpid())
            log.info("%s: started as process %s", machine_id, running[machine_id].pid)
        wait([process.sentinel for process in running.values()], timeout=LOOK_S)
        services.look()
        if folder.cancelling and deadline is None:
            deadline = time.monotonic() + load_settings().cancel_grace_s
            in_child(cancel_tasks, folder)
        for machine_id, process in list(running.items()):
            if deadline is not None and time.monotonic() > deadline and process.is_alive():
                process.terminate()
                process.join(TERMINATE_S)
                process.kill()
                process.join()
            if not process.is_alive():
                _put_away(folder, machine_id, running.pop(machine_id))
    if folder.cancelling:
        in_child(cancel_tasks, folder)  # what a notebook has asked for since
        for machine_id in waiting:
            folder.write_end(machine_id, NotebookRecord(), "It had not begun.")


class Services:
    """The services that notebooks wait for: killed, they are started again, at most so often."""

    def __init__(self) -> None:
        self._looked_at, self._restarts = time.monotonic(), 0

    def look(self) -> None:
        """Start them where they have died, and hand them over what they had."""
        if time.monotonic() - self._looked_at < SERVICES_S or self._restarts == MAX_RESTARTS:
            return
        self._looked_at = time.monotonic()
        if services_have_died(load_settings()):
            self._restarts += 1
            log.warning("The services have died and are started again (%d).", self._restarts)
            in_child(_resume)


def _resume() -> None:
    from gan_lab.cluster.resume import resume

    resume()


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


def _put_away(folder: FleetFolder, machine_id: str, process: ForkProcess) -> None:
    """Close a notebook's process that has ended, and speak for it where it could not."""
    record = folder.record(machine_id) or NotebookRecord()
    if record.outcome is None:
        ended = f"The notebook's process ended ({process.exitcode})"
        how = "Cancelled" if folder.cancelling else ended
        record = folder.write_end(machine_id, record, f"{how} in cell {record.cell}.")
    log.info("%s: %s %s", machine_id, record.outcome, record.error or "")
    process.close()


def write_report(folder: FleetFolder) -> None:
    """Write the fleet's table and its report: a page that needs no other file and no network."""
    fleet = Fleet(folder)
    write_beside(folder.path / fleet_folder.TABLE, fleet.status().to_csv(index=False))
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Fleet {fleet.fleet_id}</title><style>:root {{ color-scheme: light dark }}</style>"
        f"</head><body><a href='{fleet_folder.TABLE}'>{fleet_folder.TABLE}</a>"
        f"{fleet.html(fleet.folder)}</body></html>"
    )
    write_beside(folder.path / fleet_folder.REPORT_HTML, page)


def tell_the_end(folder: FleetFolder) -> None:
    """Tell whoever GAN_LAB_NOTIFY names that the fleet has ended."""
    fleet = Fleet(folder)
    if fleet.seconds >= LONG_S:
        notify(fleet.headline(), f"{fleet.summary()}\nReport: {fleet.report}", load_settings())


if __name__ == "__main__":
    main()
