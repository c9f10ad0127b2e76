"""What a result was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gan_lab.cluster.provenance import git_commit, package_versions


def test_a_commit_is_found_where_git_has_packed_its_branches(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "m"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    assert git_commit(tmp_path) == head.stdout.strip()
    subprocess.run([*git, "pack-refs", "--all"], check=True)
    assert git_commit(tmp_path) == head.stdout.strip()
    assert git_commit(tmp_path / "elsewhere") is None


def test_what_a_result_depends_on_has_a_version() -> None:
    assert {"gan-lab", "torch", "numpy", "pandas", "distributed"} <= set(package_versions())
