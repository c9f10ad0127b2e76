"""Asking for work: what is refused before it starts, what a chain does, what can be stopped."""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import uuid
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import gan_lab as lab
from gan_lab.cluster import queue as handover
from gan_lab.cluster import submit, task_names
from gan_lab.cluster.estimate import refuse_what_does_not_fit
from gan_lab.cluster.provenance import git_commit, package_versions
from gan_lab.cluster.services import connection as services
from gan_lab.cluster.submit import get_task_status
from gan_lab.cluster.tasks import _draw, lives_of_splits
from gan_lab.errors import (
    BadParameter,
    NoModel,
    NoSeedData,
    RequestError,
    TaskFailed,
    TooMuchMemory,
    UnknownMachine,
)
from gan_lab.schema import (
    GenerateConfig,
    Roles,
    SeedConfig,
    State,
    TaskSpec,
    TrainConfig,
    configure,
)
from gan_lab.settings import load_settings
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.synth.tabular.model import TabularTVAE
from gan_lab.wire.follow import follow
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.run_folder import MODEL, RunFolder
from gan_lab.workspace.runs import all_runs, create_run

SMALL = {"model": "tabular", "batch_size": 200, "compress_dims": [16], "decompress_dims": [16]}
MACHINE = "motor_abb_m3bp_002"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with machines and nothing else; no services."""
    (tmp_path / "data").mkdir()
    machines = Path(__file__).parents[2] / "data" / "machines"
    (tmp_path / "data" / "machines").symlink_to(machines)
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run of a small training of lives that is done."""
    profile = load_profile(MACHINE)
    config = TrainConfig(epochs=4, compress_dims=(16,), decompress_dims=(16,))
    model = SequentialTVAE.fit(simulate(profile, SeedConfig(rows=2000)), profile.roles, config)
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
        ({"life_rows": (1, 2)}, r"life_rows=\(1, 2\) cannot be had: the training lives have"),
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


def test_what_no_worker_can_hold_is_refused_with_the_figure(bare: Path) -> None:
    machine_id = "motor_siemens_001"
    config = configure("seed", {"rows": 10_000_000}).model_dump(mode="json")
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="seed", machine_id=machine_id, config=config)
    with pytest.raises(TooMuchMemory, match=r"needs about .* GB for 10,000,000 rows"):
        refuse_what_does_not_fit([spec], [2e9, 1e9])
    refuse_what_does_not_fit([spec], [2e9, 64e9])
    refuse_what_does_not_fit([spec], [2e9, 0])  # a worker without a limit
    config = configure("seed", {"lives": 1_000_000}).model_dump(mode="json")
    with pytest.raises(TooMuchMemory, match=r"needs about .* GB for 200,000,000 rows"):
        refuse_what_does_not_fit([spec.model_copy(update={"config": config})], [64e9])
    config = configure("report", {}).model_dump(mode="json")
    spec = spec.model_copy(update={"kind": "report", "config": config})
    refuse_what_does_not_fit([spec], [1.1e9])
    with pytest.raises(TooMuchMemory, match=r"for a report on 0 rows drawn from 10,000 rows"):
        refuse_what_does_not_fit([spec], [0.8e9])
    config = configure("generate", {"train": 100_000_000}).model_dump(mode="json")
    draw = spec.model_copy(update={"kind": "generate", "config": config})
    with pytest.raises(TooMuchMemory, match=r"for a report on 100,000,000 rows drawn from"):
        refuse_what_does_not_fit([draw, spec], [16e9])


def test_lives_are_shared_out_in_proportion_to_rows() -> None:
    config = configure("generate", {"lives": 10, "train": 70, "val": 15, "test": 15})
    assert isinstance(config, GenerateConfig)
    shares = lives_of_splits(config)
    assert shares is not None and sum(shares.values()) == 10
    assert shares["train"] == 6 and min(shares.values()) >= 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"life_rows": (60, 50)},
            r"life_rows=\(60, 50\): the shortest life comes first. Ask for 50",
        ),
        ({"lives": 2}, r"lives=2 for 3 splits \(train, val, test\).*ask for 3 lives or more"),
    ],
)
def test_lives_that_cannot_be_are_refused_by_their_own_sentence(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadParameter, match=said):
        configure("generate", options)
    configure("generate", {"lives": 2, "life_rows": (50, 50), "val": 0})


def test_a_model_of_plain_rows_names_the_lives_that_were_asked_for() -> None:
    asked = configure("generate", {"lives": 10})
    assert isinstance(asked, GenerateConfig)
    plain = SimpleNamespace(sample=partial(TabularTVAE.sample, None))
    with pytest.raises(BadParameter, match="lives=10 was asked of a model of plain rows"):
        list(_draw(plain, asked, Roles()))


def test_a_commit_is_found_where_git_has_packed_its_branches(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "m"]):
        subprocess.run([*git, *command], check=True)
    asked = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    assert git_commit(tmp_path) == asked.stdout.strip()
    subprocess.run([*git, "pack-refs", "--all"], check=True)
    assert git_commit(tmp_path) == asked.stdout.strip()
    assert git_commit(tmp_path / "elsewhere") is None


@pytest.mark.slow
def test_a_chain_runs_to_its_end_and_can_be_reused(lab_home: Path) -> None:
    options = {**SMALL, "epochs": 3}
    wanted = {"train": 200, "val": 50, "test": 50}
    runs = lab.pipeline(MACHINE, seed={"rows": 600}, train=options, generate=wanted, report=False)
    results = [run.result(timeout=250) for run in runs]
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
    drawn = lab.generate(MACHINE, reuse=True, **wanted)
    assert drawn.task_id == runs[2].task_id
    judged = lab.task(lab.report(MACHINE).task_id)
    assert judged.spec.after == drawn.task_id
    assert lab.leaderboard(MACHINE)["verdict"][0] == judged.result()["level"]
    again = lab.train(MACHINE, reuse=True, **options)
    assert again.task_id == runs[1].task_id
    assert lab.train(MACHINE, reuse=True, **{**options, "epochs": 2}).task_id != again.task_id
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
    runs = lab.pipeline(MACHINE, seed={"rows": 600}, train={**SMALL, "device": "no-such-device"})
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
    while runs[2].lease.held or task_names.task_key(runs[2]) in handover.known_keys(client):
        patience.wait(0.05)  # its worker records the end before it lets go
    runs[2].reopen()
    assert [run.task_id for run in handover.resume()] == [runs[2].task_id, runs[3].task_id]
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
        assert waits.cancel().state is State.REVOKED
        assert [run.task_id for run in handover.resume(waits.task_id)] == [waits.task_id]
        assert get_task_status(waits.task_id).message.endswith("waiting for a worker")
        with pytest.raises(RequestError, match="has not ended"):
            handover.resume(waits.task_id)
        fails = lab.train(MACHINE, **SMALL, device="no-such-device")
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
    while key in handover.known_keys(client):
        patience.wait(0.05)
    assert key in handover.known_keys(client, ended=True)
    failure = fails.error_data()
    monkeypatch.setattr(handover, "LET_GO_TRIES", 3)
    with pytest.raises(RequestError, match="keeps its answer"):
        handover.resume(fails.task_id)
    assert fails.error_data() == failure
    somebody.close()
    monkeypatch.undo()
    handover.resume(fails.task_id)
    with pytest.raises(TaskFailed):
        fails.result(timeout=60)
    assert [line["state"] for line in fails.log() if "state" in line].count("FAILURE") == 2


@pytest.mark.slow
def test_whoever_waits_for_what_is_lost_is_told_and_sees_it_go_on(
    lab_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handover, "LOOK_FOR_LOST_S", 0.05)
    config = configure("seed", {"rows": 600}).model_dump(mode="json")
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="seed", machine_id=MACHINE, config=config)
    run = submit.Run.of(create_run(spec, lab_home))  # recorded, and never handed over

    class Resumes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if f"`gan-lab resume {run.task_id}`" in record.getMessage():
                handover.resume(run.task_id)

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
