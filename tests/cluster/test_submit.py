"""Asking for work: what is refused before it starts, what a chain does, what can be stopped."""

from __future__ import annotations

import logging
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

import gan_lab as lab
from gan_lab.cli import main
from gan_lab.cluster import queue as handover
from gan_lab.cluster import submit, task_names
from gan_lab.cluster.provenance import package_versions
from gan_lab.cluster.resume import resume
from gan_lab.cluster.services import connection as services
from gan_lab.cluster.submit import get_task_status
from gan_lab.errors import (
    BadParameter,
    NoModel,
    NoSeedData,
    RequestError,
    TaskFailed,
    UnknownMachine,
)
from gan_lab.schema import (
    SeedConfig,
    State,
    TaskSpec,
    TrainConfig,
    configure,
)
from gan_lab.settings import load_settings
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.wire.follow import follow
from gan_lab.workspace import run_folder
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.run_folder import MODEL, RunFolder
from gan_lab.workspace.runs import all_runs, create_run
from tests.cluster.conftest import Record, request
from tests.synth.lives.tables import fit

SMALL = {
    "model": "tabular", "decoder": "network", "batch_size": 200, "compress_dims": [16],
    "decompress_dims": [16],
}  # fmt: skip
MACHINE = "motor_abb_m3bp_002"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run of a small training of lives that is done."""
    profile = load_profile(MACHINE)
    config = TrainConfig(epochs=4, compress_dims=(16,), decompress_dims=(16,))
    model = fit(simulate(profile, SeedConfig(rows=2000)), profile.roles, config)
    spec = TaskSpec(
        task_id=str(uuid.uuid4()), kind="train", machine_id=MACHINE, config=config.model_dump()
    )
    run = create_run(spec, tmp_path_factory.mktemp("trained"))
    model.save(run.path / MODEL)
    run.finish({"machine_id": MACHINE})
    return run


@pytest.mark.parametrize(
    ("ask", "options", "refusal"),
    [
        (lab.train, {"machine_id": "no_such_machine"}, UnknownMachine),
        (lab.train, {"machine_id": "../../etc/passwd"}, BadParameter),
        (lab.train, {"machine_id": "Motor 1"}, BadParameter),
        (lab.train, {"machine_id": "motor_siemens_001"}, NoSeedData),
        (lab.generate, {"machine_id": "motor_siemens_001"}, NoModel),
        (lab.generate, {"machine_id": "motor_siemens_001", "train": -1}, BadParameter),
        (lab.seed, {"machine_id": "motor_siemens_001", "rows": 0}, BadParameter),
        (lab.pipeline, {"machine_id": "motor_siemens_001", "epochs": 0}, BadParameter),
        (lab.pipeline, {"machine_id": "motor_siemens_001", "epochs": -1}, BadParameter),
        (lab.pipeline, {"machine_id": "motor_siemens_001", "epochs": 1.5}, BadParameter),
        (lab.pipeline, {"machine_id": "motor_siemens_001", "epochs": "many"}, BadParameter),
        (lab.pipeline, {"machine_id": "motor_siemens_001", "epoch": 3}, BadParameter),
    ],
)
def test_what_is_wrong_is_refused_before_anything_starts(
    bare: Path, ask: Any, options: dict[str, Any], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        ask(**options)
    assert all_runs() == []
    assert not (bare / "runs" / ".services").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"failure_modes": {"rust": 0.5}}, "There is no failure mode 'rust' in the training table"),
        ({"states": {"flying": 0.5}}, "There is no state 'flying' in the training table"),
    ],
)
def test_conditions_that_the_model_cannot_meet_are_refused_before_anything_starts(
    asked: dict[str, Any], said: str, trained: RunFolder, bare: Path
) -> None:
    shutil.copytree(trained.path, bare / "runs" / trained.path.name)
    with pytest.raises(BadParameter, match=said):
        lab.generate(MACHINE, **asked)
    assert [run.task_id for run in all_runs()] == [trained.task_id]
    assert not (bare / "runs" / ".services").exists()


@pytest.mark.parametrize("command", ["task", "tasks"])
def test_a_task_is_said_in_words_and_in_figures_of_few_digits(
    record: Record, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    run = record(request("train"), {"final_loss": -14.167865534313023})
    with pytest.raises(SystemExit) as left:
        main([command, *([run.task_id] if command == "task" else [])])
    assert left.value.code == 0
    said = capsys.readouterr().out.split()
    assert "done" in said and "success" not in said
    assert command == "tasks" or "-14.17" in said


@pytest.mark.slow
def test_a_chain_runs_to_its_end_and_is_reported_on(
    lab_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {**SMALL, "epochs": 3}
    wanted = {"train": 200, "val": 50, "test": 50}
    runs = lab.pipeline(MACHINE, seed={"rows": 600}, train=options, generate=wanted, report=False)
    results = [run.result(timeout=250) for run in runs]
    said = capsys.readouterr()  # as a script shows it
    assert not said.out
    assert all(f"{run.spec.kind} {MACHINE}: 100%" in said.err for run in runs)
    assert results[0]["samples_generated"] == 600
    assert results[1]["epochs_completed"] == 3
    rows = {name: facts["rows"] for name, facts in results[2]["file_statistics"].items()}
    assert rows == wanted
    stages = [event.stage for event in runs[2].events()]
    assert sorted(set(stages), key=stages.index) == [
        "initializing", "sampling", "writing", "completed",
    ]  # fmt: skip
    assert lab.get_task_status(runs[1].task_id).state is State.SUCCESS
    assert lab.get_machine_status(MACHINE)["can_generate"]
    assert set(lab.tasks()["task_id"]) >= {run.task_id for run in runs}
    judged = lab.task(lab.report(MACHINE).task_id)
    assert lab.compare(MACHINE)["verdict"].iloc[0] == judged.result()["level"]
    lives = lab.train(MACHINE, model="sequential", epochs=2)
    assert lives.result(timeout=250)["epochs_completed"] == 2
    learned = next(event for event in lives.events() if event.stage == "writing")
    assert "regimes from state" in learned.message and "2 of at most 2 epochs" in learned.message
    made_with = runs[1].environment()
    assert made_with["seed_sha256"] and made_with["peak_memory_mb"] > 100
    assert made_with["versions"] == runs[1].spec.versions == package_versions()
    lab.seed(MACHINE, rows=700).result(timeout=250)
    with pytest.raises(TaskFailed, match="learned from"):
        submit.report(MACHINE).result(timeout=250)


@pytest.mark.slow
def test_a_failure_stops_what_follows_which_says_what_it_waited_for(lab_home: Path) -> None:
    runs = lab.pipeline(
        MACHINE, seed={"rows": 600}, train={**SMALL, "epochs": 2, "device": "no-such-device"}
    )
    with pytest.raises(TaskFailed):
        runs[1].result(timeout=250)
    runs[2].wait(timeout=250)
    failure = runs[2].error_data()
    assert failure is not None and failure["reason"] == "waited_in_vain"
    assert runs[1].task_id in failure["message"]
    runs[3].wait(timeout=250)
    error = runs[3].error_data()
    assert (
        error is not None and error["message"] == failure["message"]
    )  # names what failed, not what was not started either
    # So it does where the cluster died before it could tell, and the link is taken up again.
    client, patience = services.get_client(), threading.Event()
    while runs[2].lease.held or task_names.task_key(runs[2]) in handover.queue_of(client).keys:
        patience.wait(0.05)  # its worker records the end before it lets go
    runs[2].reopen()
    assert [run.task_id for run in resume()] == [runs[2].task_id, runs[3].task_id]
    runs[2].wait(timeout=250)
    assert runs[2].error_data() == failure


@pytest.mark.slow
def test_what_was_cancelled_in_the_queue_has_its_place_there_again(
    lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.seed(MACHINE, rows=600).result(timeout=60)
    long = {**SMALL, "epochs": 100_000, "max_steps": 0}
    busy = [lab.train(MACHINE, seed=number, **long) for number in range(2)]
    for run in busy:
        next(event for event in follow(run) if event.epoch)
    try:
        waits = lab.train(MACHINE, **SMALL, epochs=2)
        quick = lab.seed(MACHINE, rows=700)
        place = services.get_client().run_on_scheduler(
            lambda dask_scheduler: {key: ts.priority for key, ts in dask_scheduler.tasks.items()}
        )
        # Dask runs the smallest first: what takes seconds goes before what takes minutes.
        assert place[task_names.task_key(quick)] < place[task_names.task_key(waits)]
        quick.cancel()
        assert waits.cancel().state is State.REVOKED
        assert [run.task_id for run in resume(waits.task_id)] == [waits.task_id]
        assert get_task_status(waits.task_id).message.endswith("waiting for a worker")
        with pytest.raises(RequestError, match="has not ended"):
            resume(waits.task_id)
        fails = lab.train(MACHINE, **SMALL, epochs=2, device="no-such-device")
        somebody = services.connect(services.get_client().scheduler.address, load_settings())
        key = task_names.task_key(fails)
        somebody._send_to_scheduler(
            {"op": "client-desires-keys", "keys": [key], "client": somebody.id}
        )
    finally:
        for run in busy:
            run.cancel()
    assert waits.result(timeout=60)["epochs_completed"] == 2
    # What ended is not taken up, nor its record, while its key still answers for it.
    fails.wait(timeout=60)
    client, patience = services.get_client(), threading.Event()
    while key in handover.queue_of(client).keys:
        patience.wait(0.05)
    assert key in handover.queue_of(client).states
    failure = fails.error_data()
    monkeypatch.setattr("gan_lab.cluster.resume.LET_GO_TRIES", 3)
    with pytest.raises(RequestError, match="keeps its answer"):
        resume(fails.task_id)
    assert fails.error_data() == failure
    somebody.close()
    monkeypatch.undo()
    resume(fails.task_id)
    with pytest.raises(TaskFailed):
        fails.result(timeout=60)
    assert [line["state"] for line in fails.log() if "state" in line].count("FAILURE") == 2


@pytest.mark.slow
def test_whoever_waits_for_what_is_lost_is_told_and_sees_it_go_on(
    lab_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handover, "LOOK_FOR_LOST_S", 0.05)
    monkeypatch.setattr(run_folder, "JUST_MADE_S", 1.0)
    config = configure("seed", {"rows": 600}).model_dump(mode="json")
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="seed", machine_id=MACHINE, config=config)
    run = submit.Run.of(create_run(spec, lab_home))  # recorded, and never handed over

    class Resumes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if f"`gan-lab resume {run.task_id}`" in record.getMessage():
                resume(run.task_id)

    log, resumes = logging.getLogger(handover.__name__), Resumes()
    log.addHandler(resumes)
    try:
        assert run.result(timeout=60)["samples_generated"] == 600
    finally:
        log.removeHandler(resumes)
    assert sum(run.task_id in record.getMessage() for record in caplog.records) == 1


@pytest.mark.slow
def test_cancelling_stops_what_runs_and_revokes_what_waits(lab_home: Path) -> None:
    runs = lab.pipeline(
        MACHINE, seed={"rows": 600}, train={**SMALL, "epochs": 100_000, "max_steps": 0}
    )
    for event in follow(runs[1]):
        if event.epoch is not None and event.epoch >= 2:
            break
    runs[1].cancel()
    assert runs[2].status().state is State.REVOKED
    assert runs[3].status().state is State.REVOKED
    runs[1].wait(timeout=120)
    assert runs[1].status().state is State.REVOKED
    assert runs[1].events()[-1].stage == "cancelled"
