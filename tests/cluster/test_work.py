"""One task at work, and the thread beside it: leases, cancel flags, logs, and how it ended."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading

import pytest

from gan_lab.cluster.keeper import Keeper, RunLog, out_of_memory
from gan_lab.cluster.queue import Queue, cancel_run, lost
from gan_lab.cluster.task_names import task_key
from gan_lab.cluster.work import LeaseLost, Work, reached, record_failure, sentence
from gan_lab.errors import BadParameter, BadTable, TaskCancelled, TaskFailed
from gan_lab.schema import SeedConfig, State
from gan_lab.settings import Settings, load_settings
from gan_lab.workspace import lease
from gan_lab.workspace.run_folder import SPEC, RunFolder


@pytest.fixture
def settings(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GAN_LAB_LEASE_S", "0.3")
    return load_settings()


@pytest.fixture
def work(run: RunFolder, settings: Settings) -> Work:
    attempt = run.lease.take("worker", settings.lease_s)
    assert attempt == 1
    return Work(run, settings, "worker", attempt)


def test_whoever_has_lost_the_lease_writes_no_more(work: Work) -> None:
    work.say("sampling", 1, 10, "Begun")
    work.run.lease.drop("worker")
    work.run.lease.take("another", 30)
    work.renew()
    with pytest.raises(LeaseLost):
        work.say("sampling", 2, 10, "Two at once")
    assert work.stop.is_set()
    assert reached(work.run) == {"current": 1, "total": 10, "epoch": None, "loss": None}


def test_a_body_that_asks_is_told_to_stop(work: Work) -> None:
    work.check()
    work.run.ask_to_cancel()
    with pytest.raises(TaskCancelled):
        work.check()


def test_what_a_worker_left_that_is_dead_elsewhere_is_cancelled(work: Work) -> None:
    lease = work.run.lease
    lease.path.write_text(json.dumps({**(lease.read() or {}), "space": "another kernel"}))
    os.utime(lease.path, (0, 0))
    cancel_run(work.run)
    assert work.run.status().state is State.REVOKED
    assert lease.read() is None


def test_a_list_waits_for_no_lease_of_what_is_dead_elsewhere(work: Work) -> None:
    lease = work.run.lease
    there = {**(lease.read() or {}), "space": "another kernel", "lease_s": 1e6}
    lease.path.write_text(json.dumps(there))
    os.utime(lease.path, (0, 0))
    queue = Queue({}, {task_key(work.run): "KilledWorker()"})
    assert [run.task_id for run in lost([work.run], queue)] == [work.run.task_id]


def test_a_list_answers_on_a_full_disk(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lease, "write_beside", full)
    queue = Queue({}, {task_key(run): "KilledWorker()"})
    assert lost([run], queue) == [run]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (repr(OSError(28, "No space left on device")), "OSError(28, 'No space left on device')"),
        (repr(TaskFailed("It's full:\nof (rows)")), "It's full:\nof (rows)"),
        ("TaskFailed('cut of", "TaskFailed('cut of"),
    ],
)
def test_what_dask_gave_up_is_told_as_it_was_said(run: RunFolder, reason: str, told: str) -> None:
    assert lost([run], Queue({}, {task_key(run): reason})) == []
    assert run.status().error == told


def test_a_request_of_an_earlier_version_is_done_where_it_asks_for_nothing_that_is_no_more(
    run: RunFolder, settings: Settings
) -> None:
    file = run.path / "task.json"
    asked = json.loads(file.read_text())
    asked["config"] |= {"late_life": None, "censored": 0.0, "states": {}}
    file.write_text(json.dumps(asked))
    earlier = RunFolder(run.path)
    assert earlier.spec == run.spec
    assert Work(earlier, settings, "worker", 1).config == SeedConfig(rows=10)
    asked["config"]["censored"] = 0.2
    file.write_text(json.dumps(asked))
    with pytest.raises(BadParameter, match=r"Cannot seed with censored=0\.2: no such field"):
        _ = Work(RunFolder(run.path), settings, "worker", 1).config


def test_a_keeper_renews_the_lease_and_hands_the_flag_on(work: Work) -> None:
    keeper, taken = Keeper(work), work.run.lease.path.stat().st_mtime_ns
    keeper.start()
    try:
        while work.run.lease.path.stat().st_mtime_ns == taken:
            threading.Event().wait(0.01)
        work.run.ask_to_cancel()
        assert work.stop.wait(10) and not work.lost.is_set()
    finally:
        keeper.finish()
    assert work.peak_b > 1e7


def test_the_log_of_a_task_holds_what_its_thread_says_and_nothing_else(work: Work) -> None:
    log = logging.getLogger("some.library")
    handler = RunLog(work)
    log.addHandler(handler)
    try:
        log.warning("A column is constant")
        other = threading.Thread(target=log.warning, args=("Of another task",))
        other.start()
        other.join()
    finally:
        log.removeHandler(handler)
    (line,) = [line for line in work.run.log() if "level" in line]
    assert (line["level"], line["message"]) == ("WARNING", "A column is constant")


@pytest.mark.parametrize(
    ("error", "reason", "explained"),
    [
        (BadTable("No column rpm."), "bad_table", False),
        (MemoryError(), "out_of_memory", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory", True),
        (KeyError("rpm"), "task_failed", True),
    ],
)
def test_a_failure_has_a_traceback_where_nobody_foresaw_it(
    work: Work, error: Exception, reason: str, explained: bool
) -> None:
    record_failure(work, error)
    failure = work.run.error_data()
    assert failure is not None
    assert (failure["reason"], bool(failure["traceback"])) == (reason, explained)
    assert work.run.events()[-1].stage == "failed"


def test_what_went_wrong_is_one_sentence() -> None:
    assert (
        sentence(OSError(28, "x", "/data")) == "Cannot use /data: No space left on device (ENOSPC)."
    )
    assert sentence(ValueError()) == "ValueError"
    assert "used 1.5 GB, and a worker may use 1.2 GB" in out_of_memory(1.5e9, 1.2e9)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_what_waits_for_another_users_services_is_not_lost(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.run.lease.drop("worker")
    assert lost([work.run], Queue({}, {})) == [work.run]
    os.chown(work.run.path / SPEC, 65534, 65534)
    assert lost([work.run], Queue({}, {})) == []
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tls://everybodys:8786")
    assert lost([work.run], Queue({}, {})) == [work.run]
