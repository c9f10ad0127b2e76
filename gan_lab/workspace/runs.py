"""The runs of a workspace: made, found by their id, listed, removed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from gan_lab.errors import DamagedFile, RequestError, UnknownTask
from gan_lab.schema import State, TaskSpec
from gan_lab.settings import find_workspace
from gan_lab.store import Conflict, StorePath, of_each
from gan_lab.workspace.files import make_folder, write_beside
from gan_lab.workspace.run_folder import SPEC, RunFolder

REMOVED = ".{}.removed"  # a run or a fleet, moved aside to be removed


def runs_folder(home: Path | None = None) -> Path:
    """Return the workspace's `runs/`."""
    return (home or find_workspace()) / "runs"


def local_folder(home: Path | None = None) -> Path:
    """Return the folder of what has to lie on this host: `runs/`, or of a workspace in a store one
    in the user's state folder. Services and fleets are there."""
    home = home or find_workspace()
    if not isinstance(home, StorePath):
        return runs_folder(home)
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    # Two stores may have buckets of one name.
    place = f"{home} {os.environ.get('AWS_ENDPOINT_URL_S3') or os.environ.get('AWS_ENDPOINT_URL')}"
    key = hashlib.sha256(place.encode()).hexdigest()[:8]
    folder = state / "gan_lab" / f"{home.name}-{key}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def disk_of(home: Path) -> Path:
    """Return a folder on the disk that fills up here: of what is on its way to a store."""
    return Path(tempfile.gettempdir()) if isinstance(home, StorePath) else home


def workspace_mark(home: Path, make: bool = False) -> str | None:
    """Return what tells this workspace from others, under whatever path it is seen.

    None where it has none yet, unless it is to be made, or cannot be read.
    """
    path = runs_folder(home) / ".workspace"
    try:
        if isinstance(path, StorePath):
            if make and not path.exists():
                path.parent.check_guards()
                with suppress(Conflict):  # with whoever made it just now
                    path.put(uuid.uuid4().hex.encode(), over=None)
            return path.read_text()
        if make and not path.exists():  # where it is, nothing is written: it may be read-only
            make_folder(path.parent)
            with FileLock(path.with_name(".workspace.lock")):
                if not path.exists():
                    write_beside(path, uuid.uuid4().hex)
        return path.read_text()
    except OSError:
        return None


def create_run(spec: TaskSpec, home: Path | None = None) -> RunFolder:
    """Make the folder of a new task with its request."""
    run = RunFolder(runs_folder(home) / spec.task_id)
    write_beside(run.path / SPEC, spec.model_dump_json(indent=2))
    run.append_log(state=State.PENDING, message="Asked for")
    return run


def discard_run(task_id: str, home: Path) -> None:
    """Remove what was made of a run that nobody knows of yet."""
    path = runs_folder(home) / task_id
    if isinstance(path, StorePath):
        path.remove_below()
    else:
        shutil.rmtree(path, ignore_errors=True)


def open_run(task_id: str, home: Path | None = None) -> RunFolder:
    """Take hold of a task by its id or an unambiguous beginning of it (8 characters or more)."""
    folder = runs_folder(home)
    try:
        uuid.UUID(task_id)
        run = RunFolder(folder / task_id)
    except ValueError:
        matches = [path for path in run_paths(folder) if path.name.startswith(task_id)]
        if len(task_id) < 8 or len(matches) != 1:
            raise UnknownTask(f"No task {task_id!r} under {folder}: see `gan-lab tasks`.") from None
        run = RunFolder(matches[0])
    _ = run.spec
    return run


def run_paths(folder: Path) -> list[Path]:
    """Return the folders under `runs/` that bear a task's id."""
    if isinstance(folder, StorePath):
        return [path for path in folder.glob("*") if len(path.name) == 36]
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if len(entry.name) == 36 and entry.is_dir()]


def when_changed(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folders of runs under `runs/` and when anything in each was last written (ns)."""
    if isinstance(folder, StorePath):
        newest: dict[str, int] = {}
        for path, _, changed_ns in folder.walk():
            task_id = path.relative_to(folder).parts[0]
            newest[task_id] = max(changed_ns, newest.get(task_id, 0))
        yield from ((folder / name, at) for name, at in newest.items() if len(name) == 36)
        return
    for path in run_paths(folder):
        with suppress(OSError):  # removed meanwhile
            yield path, path.stat().st_mtime_ns


def all_runs(home: Path | None = None) -> list[RunFolder]:
    """Return every run of the workspace, newest first; folders of another format are left out.

    One whose request is damaged is of no machine and of the kind `damaged`; its status says more.
    """
    folder = runs_folder(home)
    found = of_each(run_in, run_paths(folder))
    return sorted(
        (run for run in found if run is not None), key=lambda run: run.spec.created, reverse=True
    )


def run_in(path: Path) -> RunFolder | None:
    """Return the run in a folder as lists show it, None where it is of another format."""
    run = RunFolder(path)
    try:
        _ = run.spec
    except UnknownTask:
        return None
    except DamagedFile:
        born = datetime.fromtimestamp((path / SPEC).stat().st_mtime, UTC).isoformat()
        facts: dict[str, Any] = {"kind": "damaged", "machine_id": "", "config": {}}
        run.spec = TaskSpec.model_construct(task_id=run.task_id, created=born, **facts)
    return run


def done_runs(machine_id: str, kind: str, home: Path | None = None) -> Iterator[RunFolder]:
    """Yield the runs of this kind that are done for a machine, newest first."""
    for run in all_runs(home):
        if (run.spec.machine_id, run.spec.kind) == (machine_id, kind) and run.result_data():
            yield run


def remove_run(run: RunFolder) -> None:
    """Remove a run that has ended; moved aside first, so that nobody meets half of it."""
    aside = run.path.with_name(REMOVED.format(run.task_id))
    with run.lease.claim():
        if not run.final or run.lease.held:
            raise RequestError(f"Task {run.task_id} has not ended: `gan-lab cancel` stops it.")
        if isinstance(run.path, StorePath):
            cast(StorePath, aside).write_bytes(b"")
            (run.path / SPEC).unlink()  # without which it is no run
        else:
            run.path.rename(aside)
    _remove_aside(aside)


def _remove_aside(aside: Path) -> None:
    """Remove what was moved aside, or in a store marked."""
    if isinstance(aside, StorePath):
        run = aside.with_name(aside.name[1:].removesuffix(".removed"))
        if not (run / SPEC).exists():  # else the removal was cut off before it began
            run.remove_below()
        aside.unlink()
    else:
        shutil.rmtree(aside, ignore_errors=True)


def remove_what_is_left(home: Path) -> None:
    """Remove what an earlier removal that was cut off has left."""
    for folder in {runs_folder(home), local_folder(home)}:
        for aside in folder.glob(REMOVED.format("*")):
            _remove_aside(aside)


def newest_run(machine_id: str, kind: str, home: Path | None = None) -> RunFolder | None:
    """Return the newest run of this kind that is done for a machine."""
    return next(done_runs(machine_id, kind, home), None)
