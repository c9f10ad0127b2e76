"""Workspaces without services, and tasks that are done in the process of the test."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_lab.schema import Kind, TaskSpec, configure
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run

MACHINE = "motor_abb_m3bp_002"
Record = Callable[..., RunFolder]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with machines and nothing else; no services."""
    (tmp_path / "data").mkdir()
    machines = Path(__file__).parents[2] / "data" / "machines"
    (tmp_path / "data" / "machines").symlink_to(machines)
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.delenv("GAN_LAB_FLEET_ID", raising=False)
    return tmp_path


def request(kind: Kind, machine_id: str = MACHINE, **options: Any) -> TaskSpec:
    """A request as it is recorded."""
    config = configure(kind, options).model_dump(mode="json")
    return TaskSpec(task_id=str(uuid.uuid4()), kind=kind, machine_id=machine_id, config=config)


@pytest.fixture
def record(bare: Path) -> Record:
    """Makes the run folder of a request; with a result, of a task that is done."""

    def record(spec: TaskSpec, result: dict[str, Any] | None = None, **made_with: Any) -> RunFolder:
        run = create_run(spec, bare)
        if made_with:
            run.record_environment(**made_with)
        if result is not None:
            run.finish(result)
        return run

    return record


@pytest.fixture
def run(record: Record) -> RunFolder:
    """A seed table's task that is recorded and has not begun."""
    return record(request("seed", rows=10))
