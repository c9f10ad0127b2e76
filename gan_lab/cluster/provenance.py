"""What a result was made with: versions, commit, host and the hash of its seed table."""

from __future__ import annotations

import os
import subprocess
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


PACKAGES = (
    "gan-lab", "torch", "ctgan", "sdv", "rdt", "numpy", "pandas", "pyarrow", "pydantic", "dask",
    "distributed",
)  # fmt: skip


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of what a result depends on, and the commit where there is one."""
    found = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    with suppress(OSError, subprocess.CalledProcessError):  # no git, or no checkout
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout
        found["commit"] = commit.strip()
    return found
