"""The embedded services from outside: their supervisor is found, started and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from gan_lab.cluster.services.scheduler import listens
from gan_lab.errors import ServiceUnreachable
from gan_lab.schema import ServiceRecord
from gan_lab.settings import Settings
from gan_lab.store import StorePath
from gan_lab.workspace import service_record

START_S = 60.0  # how long a supervisor may take on a busy host
END_S = 20.0
LOOK_EVERY_S = 0.05
SUPERVISOR = "gan_lab.cluster.services.supervisor"
BUSY = 3  # the supervisor's exit status where another keeps this workspace


def find_supervisor(settings: Settings) -> ServiceRecord | None:
    """Return the record of a supervisor that lives and answers; a stale record is no supervisor."""
    record = service_record.read_services(settings.home)
    if record is None or not _is_ours(record, settings.home):
        return None
    return record if listens(record.scheduler_address, settings) else None


def services_have_died(settings: Settings) -> bool:
    """Whether there are embedded services that nobody ended: killed, they leave their record."""
    there = not settings.scheduler_address and service_record.read_services(settings.home)
    return bool(there) and find_supervisor(settings) is None


def start_supervisor(settings: Settings) -> ServiceRecord:
    """Start a supervisor and wait for its record; the lock of the services is held."""
    stale = service_record.read_services(settings.home)
    if stale is not None:  # alive and deaf, or long dead
        end_supervisor(stale, settings)
        service_record.forget_services(settings.home)
    process, waiter, deadline = _spawn(settings), threading.Event(), time.monotonic() + START_S
    import_module("distributed")  # meanwhile: whoever starts services connects to them next
    # A busy one leaves the workspace to a supervisor whose starter died before it was ready.
    while time.monotonic() < deadline and process.poll() in (None, BUSY):
        if record := find_supervisor(settings):
            return record
        waiter.wait(LOOK_EVERY_S)
    raise ServiceUnreachable(
        f"The embedded services did not start; {log_path(settings.home)} says why."
    )


def end_supervisor(record: ServiceRecord, settings: Settings) -> bool:
    """End the recorded supervisor if it is still that one; returns whether it was."""
    import psutil

    if not _is_ours(record, settings.home):
        return False
    process = psutil.Process(record.pid)
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(END_S)
    return True


def log_path(home: Path) -> Path:
    """Where the supervisor writes what it does."""
    return service_record.services_folder(home) / "supervisor.log"


def _spawn(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a supervisor in a session of its own, so that it outlives whoever started it."""
    in_store = isinstance(settings.home, StorePath)
    with log_path(settings.home).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", SUPERVISOR, str(settings.home)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "GAN_LAB_HOME": str(settings.home)},
            cwd=log_path(settings.home).parent if in_store else settings.home,
        )
    # Reaped whenever it ends, so that it never lies there as a zombie of a long-lived notebook.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def _is_ours(record: ServiceRecord, home: Path) -> bool:
    """Whether the recorded process is still that supervisor, not another that got its number."""
    import psutil

    try:
        process = psutil.Process(record.pid)
        words = process.cmdline()
        return SUPERVISOR in words and str(home) in words and process.status() != "zombie"
    except psutil.Error:
        return False
