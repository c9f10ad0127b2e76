"""Logs, status, doctor and clean, over a history of every state; no services run."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster
from rich.console import Console

from gan_lab import terminal
from gan_lab.cli import main
from gan_lab.cluster import services
from gan_lab.cluster.queue import statuses
from gan_lab.cluster.recipe import perform
from gan_lab.schema import TaskSpec
from gan_lab.settings import load_settings
from gan_lab.wire import follow
from gan_lab.workspace.fleet_folder import FleetFolder, FleetPlan, fleet_folders
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, create_run
from gan_lab.workspace.tables import SplitWriter
from tests.cluster.history import FLEETS, SENTENCE, STATES, make_history

Command = Callable[..., tuple[int, str]]
IDS = [f"00000000-0000-0000-0000-{number:012x}" for number in range(1, 25)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("data", "runs", "notebooks"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    for name in ("GAN_LAB_REDIS_URL", "DASK_SCHEDULER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def gan_lab(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command here; returns its exit status and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return int(end.value.code or 0), told.out + told.err

    return run


# ---- logs


def test_the_log_of_a_failure_ends_in_its_traceback(home: Path, gan_lab: Command) -> None:
    spec = TaskSpec(
        task_id=IDS[0], kind="seed", machine_id="press", config={}, fleet_id="20261124-010000-beef"
    )
    create_run(spec)

    def body(work: Any) -> dict[str, Any]:
        work.say("sampling", 1, 100, "Drawing")
        work.say("sampling", 2, 100, "Drawing")  # no change of state: no line
        logging.getLogger("some.library").warning("A column is constant")
        return {"rows": 1 // 0}

    perform(IDS[0], load_settings(), (), body)
    status, text = gan_lab("logs", IDS[0][:8])
    assert status == 0
    # A Redis that nobody has is found out beside the work, and stands wherever that was.
    lines = [line for line in text.splitlines() if "Redis does not answer" not in line]
    assert lines[-1] == "ZeroDivisionError: integer division or modulo by zero"
    assert any("WARNING some.library" in line and "A column is constant" in line for line in lines)
    assert "in body" in text and "seed press" in lines[1]

    told = [json.loads(line) for line in gan_lab("logs", IDS[0], "--json")[1].splitlines()]
    changes = [line.get("stage", line["state"]) for line in told if "state" in line]
    assert changes == ["PENDING", "sampling", "failed"]
    about = {(line["task_id"], line["machine_id"], line["fleet_id"]) for line in told}
    assert about == {(IDS[0], "press", "20261124-010000-beef")}
    assert all(line["worker"] == f"{socket.gethostname()}:{os.getpid()}" for line in told[1:])


def test_a_log_tells_of_each_time_a_task_was_taken_up(home: Path, gan_lab: Command) -> None:
    failed = make_history(home, 2)[1]
    failed.reopen()
    assert "RESUMED" in gan_lab("logs", failed.task_id)[1].splitlines()[-1]
    assert gan_lab("logs", "ffffffff")[0] == 2


# ---- status and doctor


def test_status_tells_of_queue_and_room_without_services(home: Path, gan_lab: Command) -> None:
    make_history(home, 12)
    status, text = gan_lab("status", "--json")
    facts = json.loads(text)
    assert status == 0
    assert {"redis_url", "scheduler_address", "dashboard_link", "workers"} <= facts.keys()
    assert (facts["redis_url"], facts["scheduler_address"]) == (None, None)
    assert (facts["runs"], len(facts["running"]), facts["lost"], facts["queued"]) == (12, 2, 4, 0)
    assert facts["running"][0]["message"]
    in_runs = sum(path.stat().st_size for path in home.glob("runs/**/*") if path.is_file())
    assert facts["runs_bytes"] == pytest.approx(in_runs, rel=0.1)
    text = gan_lab("status")[1]
    assert "2 running, 0 waiting, 4 lost" in text and "gan-lab resume --all" in text
    told = [
        task for task in json.loads(gan_lab("tasks", "--json")[1]) if task["state"] == "UNKNOWN"
    ]
    assert len(told) == 4
    for task in told:
        assert f"`gan-lab resume {task['task_id']}`" in task["message"]
        assert json.loads(gan_lab("task", task["task_id"], "--json")[1]) == task
    assert "4 tasks are lost" in troubles(gan_lab)["tasks"]


def test_several_tasks_those_of_a_machine_or_all_are_cancelled(
    home: Path, gan_lab: Command
) -> None:
    make_history(home, 24, ("lost", "success"))
    waiting = [run for run in all_runs() if not run.final]
    first, second, third = (run.task_id for run in waiting[:3])
    assert gan_lab("cancel")[0] == 2
    status, text = gan_lab("cancel", first, second, "--json")
    assert status == 0 and [one["task_id"] for one in json.loads(text)] == [first, second]
    assert {one["status"] for one in json.loads(text)} == {"revoked"}
    assert json.loads(gan_lab("cancel", third, "--json")[1])["task_id"] == third
    machine_id = next(run for run in waiting if not run.final).spec.machine_id
    assert gan_lab("cancel", "--machine", machine_id)[0] == 0
    left = [run for run in waiting if not run.final]
    assert left and all(run.spec.machine_id != machine_id for run in left)
    assert gan_lab("cancel", "--all")[1].count("is cancelled: Cancelled") == len(left)
    assert "Nothing is at work." in gan_lab("cancel", "--all")[1]


def test_a_workspace_that_is_not_there_is_not_made(
    tmp_path: Path, gan_lab: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path / "typo"))
    status, text = gan_lab("status")
    assert status == 2 and f"GAN_LAB_HOME names {tmp_path / 'typo'}" in text
    assert not (tmp_path / "typo").exists()


def troubles(gan_lab: Command) -> dict[str, str]:
    """What the doctor finds wrong, by check, each with what to do."""
    status, text = gan_lab("doctor", "--json")
    found = json.loads(text)
    assert all(finding["says"] for finding in found)
    assert status == (0 if all(finding["ok"] for finding in found) else 1)
    return {one["check"]: f"{one['says']} {one['advice']}" for one in found if not one["ok"]}


def test_the_doctor_marks_what_is_wrong(home: Path, gan_lab: Command) -> None:
    (home / "notebooks").rmdir()
    assert "notebooks" in troubles(gan_lab)["workspace"]
    status, text = gan_lab("doctor")
    assert status == 1 and text.startswith("trouble workspace")


@pytest.fixture
def stranger() -> Iterator[int]:
    """A port where something greets whoever comes, and then says nothing."""

    class Greets(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                while self.request.recv(4096):
                    pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greets) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.timeout(30)
def test_what_is_no_scheduler_and_no_redis_is_told_soon(
    home: Path, gan_lab: Command, monkeypatch: pytest.MonkeyPatch, stranger: int
) -> None:
    make_history(home, 12)
    monkeypatch.setenv("GAN_LAB_CONNECT_TIMEOUT_S", "0.5")
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", f"tcp://127.0.0.1:{stranger}")
    monkeypatch.setenv("GAN_LAB_REDIS_URL", f"redis://127.0.0.1:{stranger}")
    began = time.monotonic()
    found = troubles(gan_lab)
    status, text = gan_lab("status")
    assert time.monotonic() - began < 10  # each asks both services once
    assert f"Something listens at tcp://127.0.0.1:{stranger}" in found["scheduler"]
    assert "DASK_SCHEDULER_ADDRESS" in found["scheduler"] and "No Redis answers" in found["redis"]
    assert status == 0 and f"Something listens at tcp://127.0.0.1:{stranger}" in text
    assert "2 running, 4 waiting or lost" in text  # nobody knows which
    nobody_works_on = all_runs(home)[STATES.index("lost")]
    assert "waiting" in gan_lab("task", nobody_works_on.task_id)[1]
    assert statuses([nobody_works_on])[0].status == "pending"  # what the REST interface says


def test_only_what_is_there_is_linked_and_only_what_is_wrong_is_blamed(
    home: Path,
    gan_lab: Command,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("GAN_LAB_REDIS_URL", "redis://127.0.0.1:9")
    address: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=0, **address) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
        status, text = gan_lab("status", "--json")
        facts, found = json.loads(text), troubles(gan_lab)
        assert status == 0 and facts["scheduler_answers"] and not facts["redis_answers"]
        assert facts["links"].keys() - {"jupyter"} == {"dashboard"}
        assert "127.0.0.1:9" in found["redis"]
        door = "runs code as you"  # of a scheduler without a certificate, wherever it is named
        assert door in found["scheduler"] and door in gan_lab("status")[1] and door in caplog.text
        services.forget_client()


# ---- clean


@pytest.fixture
def past(home: Path) -> list[RunFolder]:
    """Runs an hour apart, newest first; the tables of a machine come from old ones."""
    runs = make_history(home, 24)
    rest = {"machine_id": "press", "task_id": runs[12].task_id, "model": runs[14].task_id}
    with SplitWriter(**rest):
        pass
    return runs


def left() -> list[int]:
    return sorted(int(run.task_id[:8], 16) - 1 for run in all_runs())


def test_clean_names_what_would_go_and_removes_it_only_when_told(
    home: Path, gan_lab: Command, past: list[RunFolder]
) -> None:
    old = ("--older-than", str(5.5 / 24))
    status, text = gan_lab("clean", *old, "--json")
    plan = json.loads(text)
    assert (status, plan["done"], len(left())) == (0, False, 24)
    named = {run["id"] for run in plan["removed"]}
    ended = {run.task_id for run in past[5:] if run.final}
    in_use = {run.task_id for run in past if run.spec.fleet_id == FLEETS[0]}
    in_use |= {past[0].task_id, past[14].task_id, past[12].task_id}
    in_use |= {run.task_id for run in past if run.spec.kind == "report" and run.result_data()}
    assert named == ended - in_use and len(named) >= 2
    assert f"Would remove {len(named)} of 24" in gan_lab("clean", *old)[1]

    status, text = gan_lab("clean", *old, "--yes")
    assert status == 0 and f"Removed {len(named)} of 24" in text
    assert left() == [number for number, run in enumerate(past) if run.task_id not in named]
    assert sorted(path.name for path in home.glob("runs/.*")) == []


def test_clean_says_why_the_rest_stays(home: Path, gan_lab: Command, past: list[RunFolder]) -> None:
    all_named = json.loads(gan_lab("clean", "--older-than", "0", "--json")[1])
    assert all_named["kept"][past[14].task_id] == "the synthetic tables of press"
    assert all_named["kept"][past[1].task_id] == f"fleet {FLEETS[0]}, the newest or still at work"
    assert all_named["kept"][past[4].task_id] == "not ended"
    by_age = json.loads(gan_lab("clean", "--older-than", str(14.5 / 24), "--json")[1])
    assert {run["id"] for run in by_age["removed"]} == {
        run["id"] for run in all_named["removed"] if int(run["id"][:8], 16) > 14
    }


def test_clean_takes_old_fleets_that_have_ended(
    home: Path, gan_lab: Command, past: list[RunFolder]
) -> None:
    at_work, of_the_past, newest = "20260101-000000-aaaa", "20260102-000000-aaaa", FLEETS[0]
    for fleet_id in (at_work, of_the_past, str(newest)):
        folder = FleetFolder(home / "runs" / "fleets" / fleet_id)
        created = f"2026-01-{fleet_id[6:8]}T00:00:00.000Z"
        folder.write_plan(
            FleetPlan(fleet_id=fleet_id, created=created, notebook="", machines={"press": {}})
        )
        folder.notebook("press").write_text("x" * 50_000)
    (home / "runs" / "fleets" / "half made").mkdir()
    lock = FleetFolder(home / "runs" / "fleets" / at_work).take()

    def clean(*options: str) -> dict[str, Any]:
        plan = json.loads(gan_lab("clean", *options, "--json")[1])
        assert (at_work in plan["kept"], str(newest) in plan["kept"]) == (True, True)
        return plan

    def fleets(plan: dict[str, Any]) -> list[str]:
        return [one["id"] for one in plan["removed"] if one["what"] == "fleet of 1"]

    plan = clean("--older-than", "1")
    assert fleets(plan) == [of_the_past]
    assert plan["bytes"] >= 50_000
    assert "of 27 runs and fleets" in gan_lab("clean", "--older-than", "1")[1]
    assert len(fleet_folders(home)) == 3
    clean("--older-than", "1", "--yes")
    assert {one.fleet_id for one in fleet_folders(home)} == {at_work, newest}
    os.close(lock)
    run = create_run(
        TaskSpec(task_id=IDS[0], kind="seed", machine_id="press", config={}, fleet_id=at_work)
    )
    assert fleets(clean("--older-than", "1")) == []  # one of its runs has not ended
    run.cancelled()
    assert len(fleets(json.loads(gan_lab("clean", "--older-than", "1", "--json")[1]))) == 1
    assert sorted(path.name for path in home.glob("runs/.*")) == []


def test_a_task_that_waits_says_so_where_there_is_no_terminal(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "CHECK_FOLDER_S", 0.01)
    run = create_run(TaskSpec(task_id=IDS[0], kind="seed", machine_id="press", config={}))

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting for a worker" in text:
                run.cancelled()  # or it would be watched for ever
            return super().write(text)

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    terminal.watch([run], Console(file=io.StringIO()))
    assert screen.getvalue() == "seed press: waiting for a worker\n"
    terminal.watch([run], Console(file=io.StringIO()))
    assert screen.getvalue().count("waiting") == 1  # it has ended


def test_clean_wants_to_be_told_what(home: Path, gan_lab: Command) -> None:
    status, text = gan_lab("clean", "--yes")
    assert status == 2 and "--older-than" in text
    assert gan_lab("clean", "--older-than", "nan")[0] == 2


def test_the_sentence_of_a_failure_is_no_markup_in_a_terminal(home: Path, gan_lab: Command) -> None:
    failed = make_history(home, 2)[1]
    assert SENTENCE in gan_lab("logs", failed.task_id)[1]
