"""What a worker sees, and which of them cannot work here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from gan_lab.cluster import sight
from gan_lab.workspace.runs import workspace_mark


def commit(repository: Path) -> None:
    """Commit all that is there and not ignored."""
    git = ["git", "-C", str(repository), "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "All"]):
        subprocess.run([*git, *words], check=True)


def test_code_is_told_by_the_packages_folder_and_not_by_the_repository_around_it(
    tmp_path: Path,
) -> None:
    def state() -> tuple[str | None, str | None]:
        sight.committed_code.cache_clear()
        return sight.committed_code(tmp_path / "lab"), sight.committed_code(tmp_path / ".venv/lab")

    for package in (tmp_path / "lab", tmp_path / ".venv" / "lab"):
        package.mkdir(parents=True)
        (package / "code.py").write_text("1")
    (tmp_path / ".gitignore").write_text(".venv\n")
    assert state() == (None, None)
    commit(tmp_path)
    before = state()
    assert before[0] and before[1] is None
    (tmp_path / "notebook.ipynb").write_text("{}")
    commit(tmp_path)
    assert state() == before
    (tmp_path / "lab" / "code.py").write_text("2")
    commit(tmp_path)
    assert state()[0] not in (None, before[0])


def test_a_worker_of_other_code_is_refused_and_one_without_a_checkout_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace_mark(tmp_path, make=True)
    there = sight.look_around(str(tmp_path))
    monkeypatch.setattr(sight, "committed_code", lambda: "ours")
    assert sight.trouble(there | {"code": "ours"}, tmp_path) is None
    assert sight.trouble(there | {"code": None}, tmp_path) is None
    assert "has other code" in str(sight.trouble(there | {"code": "theirs"}, tmp_path))
    other = there | {"versions": {"gan-lab": "0.0.9"}}
    assert "has gan_lab 0.0.9" in str(sight.trouble(other, tmp_path))
    earlier = {name: what for name, what in there.items() if name != "versions"}
    assert "has other code" in str(sight.trouble(earlier | {"code": "theirs"}, tmp_path))


def test_a_worker_that_fails_to_look_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        monkeypatch.setattr(shutil, "disk_usage", fail)
        workers = list(cluster.scheduler.workers)
        silent = "redis://127.0.0.1:9"
        (seen,) = sight.sights(client, tmp_path, workers, redis_url=silent).values()
        assert seen["free"] == 0 and sight.trouble(seen, tmp_path) is None
        assert not seen["redis"]
        monkeypatch.setattr(sight, "runs_folder", fail)
        (seen,) = sight.sights(client, tmp_path, workers).values()
        assert "PermissionError" in str(sight.trouble(seen, tmp_path))


def test_a_worker_that_is_stopped_keeps_nobody_waiting(tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        processes = client.run(os.getpid)
        stopped, other = processes
        sight.sights(client, tmp_path, [other], patience_s=60)  # imports what it needs
        os.kill(processes[stopped], signal.SIGSTOP)
        try:
            seen = sight.sights(client, tmp_path, list(processes), patience_s=5)
        finally:
            os.kill(processes[stopped], signal.SIGCONT)
        assert "does not answer" in str(sight.trouble(seen[stopped], tmp_path))
        assert seen[other]["home"]
