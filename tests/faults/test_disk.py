"""A full disk and one that cannot be written, for real: small file systems in memory."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from distributed import LocalCluster

import gan_lab as lab
from gan_lab.cli import main
from gan_lab.cluster.recipe import Body, perform
from gan_lab.cluster.submit import Run
from gan_lab.cluster.tasks import train_tvae_task
from gan_lab.cluster.work import Work
from gan_lab.errors import GanLabError, TaskFailed
from gan_lab.schema import SeedConfig, State, TaskSpec, configure
from gan_lab.settings import WORKSPACE_FOLDERS, Settings, load_settings
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.workspace.files import write_beside
from gan_lab.workspace.profiles import load_profile
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run
from gan_lab.workspace.tables import read_parquet, seed_path, write_seed
from tests.conftest import make_workspace

from .conftest import MACHINE, TRAININGS, Undisturbed, check_undisturbed, until_epoch

Mount = Callable[[Path, str], None]
Perform = Callable[[Body], RunFolder]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts small file systems in memory; skips for who may not."""
    mounted: list[Path] = []

    def mount(folder: Path, options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a file system of one megabyte can be mounted by root only")
        mounted.append(folder)

    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small(tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace on a disk of one megabyte."""
    mount(tmp_path, "size=1m")
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    return tmp_path


def test_a_submit_on_a_full_disk_leaves_nothing(small: Path) -> None:
    make_workspace(small)
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        lab.use(cluster)
        try:
            lab.seed(MACHINE, rows=100).result(timeout=60)
            before = sorted(small.rglob("*"))
            ballast = small / "ballast"
            with suppress(OSError):
                ballast.write_bytes(bytes(2_000_000))
            with pytest.raises(GanLabError, match=r"Nothing was started\. .*No space left"):
                lab.train(MACHINE)
            ballast.unlink()
            assert sorted(small.rglob("*")) == before
        finally:
            lab.use(None)


def test_lists_answer_on_a_disk_that_is_read_only(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in WORKSPACE_FOLDERS:
        (small / name).mkdir()
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="seed", machine_id=MACHINE, config={})
    create_run(spec, small)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    for command, said in (("status", "1 lost"), ("tasks", "waiting"), ("doctor", "written")):
        with pytest.raises(SystemExit):
            main([command])
        assert said in capsys.readouterr().out


@pytest.fixture
def performed(small: Path) -> Perform:
    """Does a task's work as a worker does it; returns its run."""

    def performed(body: Body) -> RunFolder:
        spec = TaskSpec(task_id=str(uuid.uuid4()), kind="seed", machine_id=MACHINE, config={})
        run = create_run(spec, small)
        perform(run.task_id, Settings(home=small, retries=2, retry_pause_s=0.01), [], body)
        return run

    return performed


def fill(home: Path) -> Path:
    """Write until there is no room left; returns what takes it."""
    filler = home / "filler"
    with filler.open("ab", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                return filler


@contextmanager
def room_after(words: str, filler: Path) -> Iterator[None]:
    """Make room once a task has logged these words."""

    class Room(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if words in record.getMessage():
                filler.unlink()

    room, log = Room(), logging.getLogger("gan_lab.cluster.recipe")
    log.addHandler(room)
    try:
        yield
    finally:
        log.removeHandler(room)


def test_a_disk_that_is_full_for_a_while_costs_nothing_but_time(
    small: Path, performed: Perform
) -> None:
    table, begun = small / "table", []

    def body(work: Work) -> dict[str, Any]:
        begun.append(work.attempt)
        if work.attempt == 1:
            fill(small)
        write_beside(table, bytes(100_000))
        return {"attempt": work.attempt}

    # Still full after the first pause: not even that there is another attempt can be recorded.
    with room_after("attempt 2:", small / "filler"):
        run = performed(body)
    assert (run.status().state, run.result_data()) == (State.SUCCESS, {"attempt": 3})
    assert begun == [1, 3]
    events = run.events()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    again = next(event for event in events if event.status is State.RETRY)
    assert again.attempt == 3 and "No space left on device" in again.message


@pytest.mark.slow
def test_a_training_whose_disk_fills_up_goes_on_where_it_was(
    undisturbed: dict[str, Undisturbed],
    tmp_path: Path,
    mount: Mount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount(tmp_path, "size=4m")
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    make_workspace(tmp_path)
    write_seed(MACHINE, simulate(load_profile(MACHINE), SeedConfig(rows=800)))
    config = configure("train", TRAININGS["tabular"]).model_dump(mode="json")
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="train", machine_id=MACHINE, config=config)
    run = Run.of(create_run(spec, tmp_path))
    filling = threading.Thread(target=lambda: until_epoch(run, 30) and fill(tmp_path))
    filling.start()
    with room_after("attempt 1:", tmp_path / "filler"):
        end = train_tvae_task(run.task_id, load_settings())
    filling.join()
    assert end["state"] == State.SUCCESS
    assert {event.attempt for event in run.events()} == {1, 2}
    check_undisturbed(run, undisturbed["tabular"])


def test_a_disk_that_stays_full_fails_the_task_with_path_and_reason(
    small: Path, performed: Perform
) -> None:
    before = pd.DataFrame({"rpm": [1.0, 2.0]})
    path = write_seed(MACHINE, before)
    large = pd.DataFrame({"rpm": range(200_000)})

    def body(work: Work) -> dict[str, Any]:
        write_seed(work.spec.machine_id, large)
        return {}

    run = performed(body)
    assert run.status().state is State.FAILURE
    failure = run.error_data()
    assert failure is not None
    assert failure["message"] == f"Cannot use {path}: No space left on device (ENOSPC)."
    assert run.events()[-1].attempt == 3
    # What was there before is intact, and nothing half written is left.
    pd.testing.assert_frame_equal(read_parquet(path), before)
    assert list(path.parent.iterdir()) == [path]


def test_a_reason_that_cannot_be_recorded_is_told_to_dask(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="seed", machine_id=MACHINE, config={})
    run = create_run(spec, small)
    fill(small)
    with pytest.raises(TaskFailed, match="No space left on device"):
        perform(run.task_id, Settings(home=small), [], lambda work: {})


def test_a_disk_that_cannot_be_written_fails_the_task_at_once(
    small: Path, performed: Perform, mount: Mount
) -> None:
    path = seed_path(MACHINE)
    mount(path.parent, "size=1m,ro")

    def body(work: Work) -> dict[str, Any]:
        write_seed(work.spec.machine_id, pd.DataFrame({"rpm": [1.0]}))
        return {}

    run = performed(body)
    failure = run.error_data()
    assert failure is not None
    assert failure["message"].startswith(f"Cannot use {path.parent}{os.sep}")
    assert failure["message"].endswith("Read-only file system (EROFS).")
    assert {event.attempt for event in run.events()} == {1}
