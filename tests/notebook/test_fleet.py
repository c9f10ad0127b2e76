"""Fleets with real kernels: what goes wrong in a night, and what is left of it in the morning."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import psutil
import pytest

import gan_lab as lab
from gan_lab.errors import RequestError
from gan_lab.notebook.card import number
from gan_lab.notebook.fleet.execute import NotebookFailed, execute
from gan_lab.notebook.fleet.fleet import Fleet
from gan_lab.notebook.fleet.process import write_report
from gan_lab.schema import TaskSpec
from gan_lab.task_states import AMBER, GREEN
from gan_lab.workspace.fleet_folder import FleetFolder, FleetPlan, NotebookRecord, find_fleet
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run
from gan_lab.workspace.service_record import read_services

ROOT = Path(__file__).parent.parent.parent
FIXTURES = Path(__file__).parent / "fixtures"
GOOD, GATE = FIXTURES / "good.ipynb", FIXTURES / "waits_at_a_gate.ipynb"
MOTORS = ["motor_abb_m3bp_002", "motor_siemens_001", "motor_siemens_1la7_001", "motor_weg_w22_003"]
FAN = "fan_howden_buffalo_008"
PATIENCE_S = 140  # a busy machine starts kernels slowly


def made_fleet(home: Path, records: dict[str, NotebookRecord | None]) -> Fleet:
    """A fleet's folder as its process would have left it."""
    folder = FleetFolder(home / "runs" / "fleets" / "20261124-010203-abcd")
    machines: dict[str, dict[str, Any]] = {machine_id: {"epochs": 2} for machine_id in records}
    folder.write_plan(FleetPlan(fleet_id=folder.fleet_id, notebook=str(GOOD), machines=machines))
    for machine_id, record in records.items():
        if record:
            folder.write_record(machine_id, record)
    return Fleet(folder)


def failed(error: str) -> NotebookRecord:
    return NotebookRecord(outcome="failed", error=error, ended="2026-11-24T01:03:00.000Z")


def done(seconds: float = 10.0) -> NotebookRecord:
    return NotebookRecord(outcome="done", seconds=seconds, ended="2026-11-24T01:03:00.000Z")


def texts(notebook: Path) -> str:
    """All that a notebook's cells printed."""
    cells = nbformat.read(notebook, 4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def wait_until(fleet: Fleet, true: Callable[[Fleet], bool]) -> None:
    for _ in fleet.follow():
        if true(fleet):
            return
    raise AssertionError(f"never came true: {fleet}, {(fleet.folder / 'fleet.log').read_text()}")


def open_gate(gate: Path) -> None:
    gate.write_text("go")  # returns when somebody has read it


# ---- the record


def test_the_state_follows_from_record_and_lock(home: Path) -> None:
    begun = NotebookRecord(cell=2)
    fleet = made_fleet(
        home, dict(zip(MOTORS, [done(), failed("In [2]: x"), begun, None], strict=True))
    )
    assert fleet.counts() == {
        "machines": 4, "done": 1, "waiting": 1, "failed": 1, "interrupted": 1,
    }  # fmt: skip
    lock = FleetFolder(fleet.folder).take()
    try:
        assert fleet.running
        assert [row.state for row in fleet.rows()] == ["done", "failed", "running", "waiting"]
        with pytest.raises(RequestError, match="still at work"):
            lab.resume_fleet(fleet.fleet_id)
    finally:
        os.close(lock)
    assert not fleet.running


def test_a_fleet_is_found_by_the_beginning_of_its_id(home: Path) -> None:
    fleet = made_fleet(home, {"motor_siemens_001": done()})
    for fleet_id in ("last", "20261124", fleet.fleet_id):
        assert find_fleet(fleet_id).path == fleet.folder
    with pytest.raises(RequestError, match=fleet.fleet_id):
        lab.fleet("2027")


def test_the_first_line_says_what_needs_a_person(home: Path) -> None:
    why = "{} has no seed data"
    records = {name: failed(f"In [4]: {why.format(name)}") for name in MOTORS[:2]}
    records |= {MOTORS[3]: done()}
    fleet = made_fleet(home, records)
    named = "; ".join(f"{name} ({why.format(name)})" for name in MOTORS[:2])
    assert fleet.headline() == f"2 of 3 machines need attention: {named}"
    five = made_fleet(home, {name: failed("x") for name in "abcde"})
    named = "a (x); b (x); c (x); d (x); and 1 more"
    assert five.headline() == f"5 of 5 machines need attention: {named}"
    assert made_fleet(home, {MOTORS[0]: done()}).headline().endswith("none needs attention.")


def test_rows_to_be_used_with_care_are_no_green_done(home: Path) -> None:
    fleet = made_fleet(home, {MOTORS[0]: done(), MOTORS[1]: done()})
    for machine, level in ((MOTORS[0], "good"), (MOTORS[1], "care")):
        reported(fleet, home, machine, level=level, verdict="Look.")
    assert fleet.headline() == f"All 2 machines are done; use with care: {MOTORS[1]}."
    page = fleet.html()
    assert f'color:{GREEN}">good</b>' in page and f'color:{AMBER}">care</b>' in page
    assert page.count(f"color:{GREEN}") == 2 and "memory: share of rows" in page


def reported(fleet: Fleet, home: Path, machine_id: str, **result: Any) -> None:
    """Give a machine of a fleet the result of a report."""
    spec = TaskSpec(
        task_id=str(uuid.uuid4()), kind="report", machine_id=machine_id, config={},
        fleet_id=fleet.fleet_id,
    )  # fmt: skip
    create_run(spec, home).finish(result)


def test_rows_that_a_report_calls_bad_need_attention(home: Path) -> None:
    fleet = made_fleet(home, {MOTORS[0]: done(), MOTORS[1]: done()})
    reported(fleet, home, MOTORS[1], quality=0.8, memory=0.7, level="bad", verdict="It memorises.")
    assert fleet.headline() == (
        f"1 of 2 machines needs attention: {MOTORS[1]} (report: do not use)"
    )
    row = fleet.status().set_index("machine_id").loc[MOTORS[1]]
    assert row[["quality", "memory", "finding"]].tolist() == [0.8, 0.7, "It memorises."]
    assert "report: bad" in repr(fleet.watch())


def test_links_lead_from_where_the_report_is_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home / "notebooks")
    fleet = made_fleet(home, {MOTORS[0]: done()})
    (fleet.folder / f"{MOTORS[0]}.ipynb").touch()
    (link,) = re.findall("href='(.*?)'", fleet.html())
    assert Path(link).exists()
    write_report(FleetFolder(fleet.folder))
    assert f"href='{MOTORS[0]}.ipynb'" in fleet.report.read_text()


def test_bad_ends_come_first_and_errors_are_shown_as_text(home: Path) -> None:
    good, broken = MOTORS[:2]
    records = {good: done(), broken: failed("In [2]: ValueError: <script>alert(1)</script>")}
    page = made_fleet(home, records).html()
    assert page.index(f">{broken}</td>") < page.index(f">{good}</td>")
    assert "<script>" not in page


# ---- one notebook


@pytest.mark.parametrize(
    ("notebook", "line"),
    [
        ("fails_in_a_cell", "In [4]: ValueError: motor_siemens_001 has no bearings, look"),
        ("kernel_exits", "In [4]: DeadKernelError: Kernel died"),
    ],
)
@pytest.mark.slow
def test_a_notebook_that_fails_is_kept_up_to_there(home: Path, notebook: str, line: str) -> None:
    output, here = home / "out.ipynb", Path.cwd()
    with pytest.raises(NotebookFailed) as failure:
        execute(FIXTURES / f"{notebook}.ipynb", output, {"machine_id": "motor_siemens_001"})
    assert str(failure.value).startswith(line)
    assert "\n" not in str(failure.value)
    counts = [cell.get("execution_count") for cell in nbformat.read(output, 4).cells]
    assert {1, 2, 3} <= set(counts) and "behind" not in texts(output)
    assert Path.cwd() == here
    assert sorted(FIXTURES.glob("kernel*")) == [FIXTURES / "kernel_exits.ipynb"]  # no sockets


@pytest.mark.slow
def test_a_kernel_that_does_not_start_is_tried_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, marker = home / "kernels" / "flaky", home / "tried"
    spec.mkdir(parents=True)
    kernel = f"{sys.executable} -m ipykernel_launcher -f {{connection_file}}"
    script = f"if [ -e {marker} ]; then exec {kernel}; fi; touch {marker}; exit 1"
    argv = ["/bin/sh", "-c", script]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "flaky", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(home))
    notebook = nbformat.read(GATE, 4)
    notebook.metadata.kernelspec.name = "flaky"
    nbformat.write(notebook, home / "flaky.ipynb")
    execute(home / "flaky.ipynb", home / "out.ipynb", {"number": 7})
    assert marker.exists()
    assert texts(home / "out.ipynb") == "motor_siemens_001 has number 7\n"


# ---- fleets


@pytest.mark.slow
def test_one_failure_stops_nobody_and_is_mended_in_the_morning(home: Path) -> None:
    notebook = home / "notebooks" / "mine.ipynb"
    shutil.copy(FIXTURES / "fails_in_a_cell.ipynb", notebook)
    fleet = lab.run_fleet(["motor_siemens_001", FAN], notebook, at_once=2).wait(PATIENCE_S)
    assert fleet.counts() == {"machines": 2, "done": 1, "failed": 1}
    rows = pd.read_csv(fleet.folder / "fleet.csv").set_index("machine_id")
    assert rows.loc["motor_siemens_001", "error"].startswith("In [4]: ValueError: motor_siemens")
    assert "behind" in texts(fleet.folder / f"{FAN}.ipynb")
    page = fleet.report.read_text()
    assert "1 of 2 machines needs attention: motor_siemens_001 (ValueError" in page
    assert "http" not in page  # needs no network
    assert not list(Path("/tmp").glob(f"gan-lab-{fleet.fleet_id}-*"))
    assert not kernels_of(fleet)

    before = FleetFolder(fleet.folder).record(FAN)
    shutil.copy(GOOD, notebook)
    again = lab.resume_fleet("last").wait(PATIENCE_S)
    assert again.counts() == {"machines": 2, "done": 2}
    assert FleetFolder(fleet.folder).record(FAN) == before  # was not run again
    assert "All 2 machines are done; none needs attention." in again.report.read_text()


def kernels_of(fleet: Fleet) -> list[psutil.Process]:
    """The kernels that a fleet's processes have started, whoever their parent is by now."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(fleet.fleet_id in part for part in process.info["cmdline"] or [])
    ]


def kill(fleet: Fleet) -> int:
    """Kill the fleet's process and return how many processes came to their end by that."""
    processes = kernels_of(fleet)
    assert fleet._process is not None
    os.kill(fleet._process.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert not left
    return len(processes)


@pytest.mark.slow
def test_a_killed_fleet_is_resumed_where_it_was(home: Path) -> None:
    gate = home / "gate"
    os.mkfifo(gate)
    gates = ["", str(home / "absent"), str(gate), ""]
    own = {
        name: {"gate": gate, "number": n}
        for n, (name, gate) in enumerate(zip(MOTORS, gates, strict=True), 1)
    }
    fleet = lab.run_fleet(own, GATE, at_once=1)
    wait_until(fleet, lambda fleet: fleet.rows()[2].message == "cell 3 of 4")
    before = FleetFolder(fleet.folder).record(MOTORS[0])
    assert kill(fleet) == 3  # the fleet, the process of one notebook, its kernel
    assert not fleet.running
    assert fleet.counts() == {
        "machines": 4, "done": 1, "waiting": 1, "failed": 1, "interrupted": 1,
    }  # fmt: skip
    assert f"{MOTORS[2]} (cut off in cell 3)" in fleet.headline()

    again = lab.resume_fleet(fleet.fleet_id)
    open_gate(gate)
    again.wait(PATIENCE_S)
    assert again.counts() == {"machines": 4, "done": 3, "failed": 1}
    assert FleetFolder(fleet.folder).record(MOTORS[0]) == before  # was not run again
    said = {name: texts(fleet.folder / f"{name}.ipynb") for name in MOTORS}
    expected = {name: f"{name} has number {n}\n" for n, name in enumerate(MOTORS, start=1)}
    assert said == expected | {MOTORS[1]: ""}


def watcher(fleet: Fleet) -> subprocess.Popen[str]:
    """The command that shows a fleet, of which the standard error can be read."""
    command = [sys.executable, "-c", "from gan_lab.cli import main; main()", "watch"]
    command.append(fleet.fleet_id)
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def read_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"ended without saying {words!r}")


@pytest.mark.slow
def test_after_ctrl_c_a_fleet_goes_on(home: Path) -> None:
    gate = home / "gate"
    os.mkfifo(gate)
    fleet = lab.run_fleet(MOTORS[:1], GATE, {"gate": str(gate)}, at_once=1)
    with watcher(fleet) as process:
        read_until(process, "cell 3 of 4")
        process.send_signal(signal.SIGINT)
        read_until(process, f"Come back with `gan-lab watch {fleet.fleet_id}`")
    assert process.returncode == 130
    assert fleet.running
    open_gate(gate)
    assert fleet.wait(PATIENCE_S).counts() == {"machines": 1, "done": 1}


# ---- fleets that train


PIPELINE = FIXTURES / "pipeline.ipynb"


def runs_of(fleet: Fleet, machine_id: str) -> list[RunFolder]:
    return fleet.runs().get(machine_id, [])


def task_ids(fleet: Fleet, machine_id: str) -> list[str]:
    return [run.task_id for run in runs_of(fleet, machine_id)]


def trains(fleet: Fleet, machine_id: str) -> bool:
    """Whether a machine's training has begun, or ended by now."""
    return any(run.spec.kind == "train" and run.last_event() for run in runs_of(fleet, machine_id))


@pytest.mark.slow
def test_a_notebook_attaches_to_the_tasks_it_had_asked_for(lab_home: Path) -> None:
    gate = lab_home / "gate"
    os.mkfifo(gate)
    machine_id = "motor_siemens_001"
    settings = {"epochs": 40, "rows": 800, "model": "sequential", "gate": str(gate)}
    fleet = lab.run_fleet([machine_id], PIPELINE, settings)
    wait_until(fleet, lambda fleet: trains(fleet, machine_id))
    for _ in range(2):  # once while it trains, once while it waits to draw its pictures
        kill(fleet)
        before = task_ids(fleet, machine_id)
        fleet = lab.resume_fleet(fleet.fleet_id)
        for task_id in before:
            lab.task(task_id).wait()
    open_gate(gate)
    fleet.wait(PATIENCE_S)
    assert fleet.counts() == {"machines": 1, "done": 1}
    assert task_ids(fleet, machine_id) == before
    assert [run.spec.kind for run in runs_of(fleet, machine_id)] == [
        "seed",
        "train",
        "generate",
    ]
    assert all(run.status().metadata["attempt"] == 1 for run in runs_of(fleet, machine_id))
    row = fleet.status().iloc[0]
    assert math.isfinite(row["final_loss"]) and row["train_seconds"] > 0
    assert number(row["final_loss"]) in fleet.report.read_text()


@pytest.mark.slow
def test_services_that_are_killed_over_night_are_started_again(lab_home: Path) -> None:
    machine_id = "motor_abb_m3bp_002"
    settings = {"epochs": 40, "rows": 800, "model": "sequential"}
    fleet = lab.run_fleet([machine_id], PIPELINE, settings)
    wait_until(fleet, lambda fleet: trains(fleet, machine_id))
    before = read_services()
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    fleet.wait(PATIENCE_S)
    assert fleet.counts() == {"machines": 1, "done": 1}, fleet.status().to_dict("records")
    after = read_services()
    assert after is not None and after.pid != before.pid


@pytest.mark.slow
def test_a_fleet_that_is_cancelled_leaves_nothing_at_work(
    lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_CANCEL_GRACE_S", "0.5")
    stuck = lab_home / "stuck"
    os.mkfifo(stuck)
    own: dict[str, dict[str, Any]] = {name: {} for name in MOTORS[:3]}
    own[MOTORS[0]] = {"gate_before": str(stuck)}
    fleet = lab.run_fleet(own, PIPELINE, {"epochs": 100_000, "rows": 800}, at_once=2)
    with watcher(fleet) as process:
        read_until(process, "Epoch ")
        lab.fleet().cancel()
        read_until(process, "Report:")
    assert process.returncode == 1
    assert fleet.counts() == {"machines": 3, "cancelled": 3}
    assert not kernels_of(fleet)
    assert task_ids(fleet, MOTORS[1])
    assert all(run.final for found in fleet.runs().values() for run in found)
