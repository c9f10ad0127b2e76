"""The versions that a result was made with, and the commit."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

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
