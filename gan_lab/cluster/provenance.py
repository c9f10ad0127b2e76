"""What a result was made with: versions, commit, host and the hash of its seed table."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_lab.cluster.work import Work


def record_environment(work: Work, **facts: Any) -> None:
    """Record what the result depends on, for whoever asks later how it came to be."""
    import socket

    from gan_lab.workspace.tables import seed_path, table_sha256

    path = seed_path(work.spec.machine_id)
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # of nested levels
    work.run.record_environment(
        host=socket.gethostname(),
        threads=int(first) if first.isdigit() else os.cpu_count(),
        seed_sha256=table_sha256(path) if path.exists() and work.spec.kind != "seed" else None,
        versions=package_versions(),
        **facts,
    )


def package_versions() -> dict[str, str]:
    """Return the versions of what a result depends on, and the commit where there is one."""
    commit = git_commit(Path(__file__).parent.parent.parent)
    return {**_installed_versions(), **({"commit": commit} if commit else {})}


@cache
def _installed_versions() -> dict[str, str]:
    found = {}
    for name in ("gan-lab", "torch", "ctgan", "sdv", "rdt", "numpy", "pandas", "distributed"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def git_commit(folder: Path) -> str | None:
    """Return the commit a checkout stands on, read from its files; None where it is no checkout."""
    git = folder / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        if (git / name).exists():
            return (git / name).read_text().strip()
        packed = [line.split(" ") for line in (git / "packed-refs").read_text().splitlines()]
        return next((line[0] for line in packed if line[1:] == [name]), None)
    except OSError:
        return None
