"""Files that no kill leaves half written: whole ones are moved into place, logs grow by lines.

In an object store they are uploaded into place, from a file on this host.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gan_lab.store import StorePath

FOOTER_BYTES = 1 << 18  # of a Parquet file in a store: what is asked for before the size is known


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an error of writing to it: the system's own says only why."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing: for the owner, and where the group may
    write in the one above for the group. What is in a model is nobody else's."""
    if isinstance(path, StorePath) or path.is_dir():
        return
    make_folder(path.parent)
    above = path.parent.stat().st_mode
    with suppress(FileExistsError):  # made by another at the same moment
        path.mkdir(mode=0o700)
        if above & stat.S_IWGRP:
            path.chmod(0o700 | above & (stat.S_ISGID | stat.S_IRWXG))


@contextmanager
def written_beside(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a path beside `path` to write to; the file takes its place when the block ends.

    So no reader sees half of a file, and an exception inside leaves what was there untouched.
    `durable`: also what a failure of the power does not take back.
    """
    if isinstance(path, StorePath):
        with scratch_folder() as folder:
            yield folder / path.name
            path.upload(folder / path.name)
        return
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
    if isinstance(path, StorePath):
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return
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


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder on this host for what is on its way to a store; it goes at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gan-lab-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def to_be_read(path: Path) -> Path | io.BytesIO:
    """Return what libraries that know only files read this one from."""
    return path.open() if isinstance(path, StorePath) else path


def to_read_footer(path: Path) -> Path | io.BytesIO:
    """Return what a Parquet file's footer is read from: of one in a store only its end."""
    if not isinstance(path, StorePath):
        return path
    end = path.read_end(FOOTER_BYTES)
    size = int.from_bytes(end[-8:-4], "little") + 8
    return io.BytesIO(end if size <= FOOTER_BYTES else path.read_end(size))


def can_write(folder: Path) -> bool:
    """Whether one may write in a folder."""
    if not isinstance(folder, StorePath):
        return os.access(folder, os.W_OK | os.X_OK)
    try:
        (folder / ".writes").write_bytes(b"")
    except OSError:
        return False
    return True


def folder_bytes(folder: Path) -> int:
    """Return how much room the files of a folder take; what vanishes meanwhile counts nothing."""
    if isinstance(folder, StorePath):
        return sum(size for _, size, _ in folder.walk())
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(f"{path}/{name}").st_size  # a `Path` costs as much again
    return total
