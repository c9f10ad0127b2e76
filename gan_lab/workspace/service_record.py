"""Where the embedded services of a workspace are recorded, for the owner's eyes only."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from gan_lab.schema import ServiceRecord
from gan_lab.workspace.files import read_text, write_beside
from gan_lab.workspace.runs import local_folder

SERVICES = ".services"


def services_folder(home: Path | None = None) -> Path:
    """Return the folder, for its owner's eyes only, of this user's services on this host."""
    folder = _place(home)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _place(home: Path | None) -> Path:
    return local_folder(home) / SERVICES / f"{os.getuid()}@{socket.gethostname()}"


def read_services(home: Path | None = None) -> ServiceRecord | None:
    """Return what the supervisor recorded, whether or not it is still alive."""
    text = read_text(_place(home) / "record.json")  # nothing is made: a disk may be read-only
    return None if text is None else ServiceRecord.model_validate_json(text)


def write_services(record: ServiceRecord, home: Path | None = None) -> None:
    """Record the services, for the owner's eyes only."""
    write_beside(services_folder(home) / "record.json", record.model_dump_json(), mode=0o600)


def forget_services(home: Path | None = None) -> None:
    """Remove the record of services that have ended, perhaps because the workspace is gone."""
    (_place(home) / "record.json").unlink(missing_ok=True)


@contextmanager
def services_lock(home: Path | None = None) -> Iterator[None]:
    """Hold the lock under which services are started and stopped."""
    with FileLock(services_folder(home) / "lock"):
        yield
