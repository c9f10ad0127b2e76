"""The folder of a fleet: its plan, where its notebooks stand, and whose it is."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from gan_lab.errors import RequestError
from gan_lab.schema import TaskSpec
from gan_lab.workspace.fleet_folder import (
    FLEETS,
    FleetFolder,
    FleetPlan,
    NotebookRecord,
    find_fleet,
    fleet_folders,
    fleet_runs,
)
from gan_lab.workspace.runs import create_run


def make_fleet(home: Path, fleet_id: str = "20260101-000000-abcd") -> FleetFolder:
    folder = FleetFolder(home / "runs" / FLEETS / fleet_id)
    machines = {"press": {"epochs": 3}, "pump": {}, "motor": {}}
    folder.write_plan(FleetPlan(fleet_id=fleet_id, notebook="machine.ipynb", machines=machines))
    return folder


def test_what_was_asked_for_and_where_it_stands(tmp_path: Path) -> None:
    folder = make_fleet(tmp_path)
    folder.write_record("press", NotebookRecord(outcome="failed", error="It broke."))
    folder.write_record("pump", NotebookRecord(cell=2, cells=9))
    assert folder.states() == {"press": "failed", "pump": "interrupted", "motor": "waiting"}
    lock = folder.take()
    assert folder.states()["pump"] == "running"
    os.close(lock)
    folder.forget_record("press")
    again = FleetFolder(folder.path)
    assert again.states()["press"] == "waiting"
    assert again.plan.machines["press"] == {"epochs": 3} and again.home == tmp_path


def test_a_fleet_has_one_process_and_only_without_it_can_go(tmp_path: Path) -> None:
    folder = make_fleet(tmp_path)
    lock = folder.take()
    assert folder.alive
    with pytest.raises(RequestError, match="still at work"):
        folder.remove()
    os.close(lock)
    assert not folder.alive
    folder.remove()
    assert fleet_folders(tmp_path) == []
    assert list((tmp_path / "runs" / FLEETS).iterdir()) == []


def test_a_fleet_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    ids = ["20260101-000000-aaaa", "20260102-000000-bbbb"]
    for fleet_id in ids:
        make_fleet(tmp_path, fleet_id)
    assert [folder.fleet_id for folder in fleet_folders(tmp_path)] == ids[::-1]
    assert find_fleet("last", tmp_path).fleet_id == ids[1]
    assert find_fleet("20260101", tmp_path).fleet_id == ids[0]
    for wrong in ("2026", "", "x"):
        with pytest.raises(RequestError, match=f"The newest are: {ids[1]}, {ids[0]}"):
            find_fleet(wrong, tmp_path)


def test_the_runs_of_a_fleet_are_found_by_machine_and_in_order(tmp_path: Path) -> None:
    def make(machine_id: str, fleet_id: str | None, created: str) -> str:
        task_id = str(uuid.uuid4())
        create_run(
            TaskSpec(
                task_id=task_id, kind="seed", machine_id=machine_id, config={},
                fleet_id=fleet_id, created=created,
            ),
            tmp_path,
        )  # fmt: skip
        return task_id

    (tmp_path / "runs" / str(uuid.uuid4())).mkdir(parents=True)  # just being made
    second = make("press", "mine", "2026-01-02T00:00:00Z")
    make("press", "other", "2026-01-01T00:00:00Z")
    first = make("press", "mine", "2026-01-01T00:00:00Z")
    pump = make("pump", "mine", "2026-01-03T00:00:00Z")
    runs = fleet_runs("mine", tmp_path)
    found = {name: [run.task_id for run in of] for name, of in runs.items()}
    assert found == {"press": [first, second], "pump": [pump]}
