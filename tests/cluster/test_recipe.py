"""The recipe of every task, in the process of the test: chains, attempts, and what is said last."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from distributed import Reschedule

from gan_lab.cluster.recipe import perform
from gan_lab.cluster.work import Work, outcome
from gan_lab.errors import TaskCancelled
from gan_lab.schema import State
from gan_lab.settings import Settings, load_settings
from gan_lab.workspace.run_folder import RunFolder

from .conftest import Record, request


@pytest.fixture
def settings(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GAN_LAB_RETRIES", "1")
    monkeypatch.setenv("GAN_LAB_RETRY_PAUSE_S", "0")
    return load_settings()


def body(work: Work) -> dict[str, Any]:
    work.say("sampling", 5, 10, "Half way")
    return {"attempt": work.attempt}


def refuse(work: Work) -> dict[str, Any]:
    raise AssertionError("it was executed")


def test_a_task_ends_with_its_result_and_its_last_word(run: RunFolder, settings: Settings) -> None:
    assert perform(run.task_id, settings, (), body)["state"] == State.SUCCESS
    assert run.result_data() == {"attempt": 1}
    assert [(event.stage, event.current) for event in run.events()] == [
        ("sampling", 5), ("completed", 10),
    ]  # fmt: skip
    assert run.lease.read() is None
    assert run.environment()["peak_memory_mb"] > 10
    assert perform(run.task_id, settings, (), refuse)["state"] == State.SUCCESS  # once is enough
    assert len(run.events()) == 2


def test_a_link_shares_the_fate_of_the_one_before(
    record: Record, run: RunFolder, settings: Settings
) -> None:
    failed, cancelled, later = (record(request("seed")) for _ in range(3))
    failed.fail(ValueError("no such column"))
    cancelled.cancelled()
    assert perform(run.task_id, settings, [outcome(failed)], refuse)["state"] == State.FAILURE
    failure = run.error_data()
    assert failure is not None and failure["reason"] == "waited_in_vain"
    assert failed.task_id in failure["message"] and "no such column" in failure["message"]
    perform(later.task_id, settings, [outcome(run)], refuse)
    assert later.error_data() == failure  # it names the link that failed
    run.reopen()
    assert perform(run.task_id, settings, [outcome(cancelled)], refuse)["state"] == State.REVOKED


@pytest.mark.parametrize(
    ("full", "state", "attempts"), [(1, State.SUCCESS, {1, 2}), (2, State.FAILURE, {1, 2})]
)
def test_what_may_pass_is_tried_again_and_not_for_ever(
    run: RunFolder, settings: Settings, full: int, state: State, attempts: set[int]
) -> None:
    def stops(work: Work) -> dict[str, Any]:
        work.say("sampling", 5, 10, "Half way")
        if work.attempt <= full:
            raise OSError(errno.ENOSPC, "No space left on device", "/data/seed")
        return {}

    assert perform(run.task_id, settings, (), stops)["state"] == state
    assert {event.attempt for event in run.events()} == attempts
    again = next(event for event in run.events() if event.status is State.RETRY)
    assert (
        again.message == "Attempt 2 of 2: Cannot use /data/seed: No space left on device (ENOSPC)."
    )


def test_what_cannot_pass_fails_at_once_with_its_traceback(
    run: RunFolder, settings: Settings
) -> None:
    def divides(work: Work) -> dict[str, Any]:
        return {"rows": 1 // 0}

    assert perform(run.task_id, settings, (), divides)["state"] == State.FAILURE
    failure = run.error_data()
    assert failure is not None and "in divides" in failure["traceback"]
    assert {event.attempt for event in run.events()} == {1}


@pytest.mark.parametrize("error", [TaskCancelled("Cancelled"), ValueError("no such column")])
def test_whoever_was_taken_over_records_no_end(
    run: RunFolder, settings: Settings, error: Exception
) -> None:
    taken_over: list[bool] = []

    def is_taken_over(work: Work) -> dict[str, Any]:
        if not taken_over:
            taken_over.append(True)
            work.run.lease.drop(work.token)
            assert work.run.lease.take("another", 0) == 1
            work.renew()
            raise error
        return {}

    assert perform(run.task_id, settings, (), is_taken_over)["state"] == State.SUCCESS
    assert [event.stage for event in run.events() if event.final] == ["completed"]


def test_progress_and_polite_stops_are_no_failed_attempts(
    record: Record, run: RunFolder, settings: Settings
) -> None:
    def progresses(work: Work) -> dict[str, Any]:
        assert work.attempt == 2
        work.progressed()
        return {"lease": work.run.lease.read()}

    def is_told_to_leave(work: Work) -> dict[str, Any]:
        work.leave()
        lease = work.run.lease.read()
        assert lease is not None and lease["attempt"] == 1  # also if it is killed before it stops
        work.check()
        return {}

    def is_told_at_its_end(work: Work) -> dict[str, Any]:
        work.leave()
        return {"done": True}

    other = record(request("seed"))
    assert perform(other.task_id, settings, (), is_told_at_its_end)["state"] == State.SUCCESS
    assert run.lease.take("dead", 0) == 1
    with pytest.raises(Reschedule):
        perform(run.task_id, settings, (), is_told_to_leave)
    assert not run.final and run.lease.read() is None
    assert run.events()[-1].message == "Its worker was told to end: another goes on with it"
    assert run.lease.take("dead", 0) == 1
    perform(run.task_id, settings, (), progresses)
    assert (run.result_data() or {})["lease"]["attempt"] == 1


def test_a_task_whose_workers_die_time_and_again_fails(run: RunFolder, settings: Settings) -> None:
    for number in range(settings.retries + 1):
        assert run.lease.take(f"dead {number}", 0) == number + 1
    assert perform(run.task_id, settings, (), refuse)["state"] == State.FAILURE
    failure = run.error_data()
    assert failure is not None and failure["reason"] == "worker_lost"
    assert "died 2 times before it came any further" in failure["message"]
