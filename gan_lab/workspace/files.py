"""Files that no kill leaves half written: whole ones are moved into place, logs grow by lines."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an error of writing to it: the system's own says only why."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, where the group may write in the one above
    as the umask has it, else for the owner's eyes only: what is in a model is nobody else's."""
    if not path.is_dir():
        make_folder(path.parent)
        shared = path.parent.stat().st_mode & stat.S_IWGRP
        path.mkdir(mode=0o777 if shared else 0o700, exist_ok=True)


@contextmanager
def written_beside(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a path beside `path` to write to; the file takes its place when the block ends.

    So no reader sees half of a file, and an exception inside leaves what was there untouched.
    `durable`: also what a failure of the power does not take back.
    """
    make_folder(path.parent)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with naming(path):
            yield beside
            if durable:
                with beside.open("rb") as file:
                    os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_beside(path: Path, data: bytes | str, mode: int = 0o644, durable: bool = True) -> None:
    """Write a whole file as `written_beside` does."""
    with written_beside(path, durable) as beside:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)


def read_text(path: Path) -> str | None:
    """Return what a file holds, None where there is none."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def folder_bytes(folder: Path) -> int:
    """Return how much room the files of a folder take; what vanishes meanwhile counts nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(path) / name).lstat().st_size
    return total
