from __future__ import annotations

from typing import Any

import pytest

from gan_lab.schema import State, TaskStatus
from gan_lab.task_states import BY_NAME, STATUS_NAMES, TASK_STATES, state_of


def status(state: State, **metadata: Any) -> TaskStatus:
    return TaskStatus(
        task_id="t", status=state.status, state=state, progress=0, current=0, total=0, message="",
        metadata={"cancelling": False, **metadata},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (State.PENDING, "waiting"),
        (State.RUNNING, "running"),
        (State.RETRY, "running again"),
        (State.SUCCESS, "done"),
        (State.FAILURE, "failed"),
        (State.REVOKED, "cancelled"),
        (State.UNKNOWN, "lost"),
    ],
)
def test_every_state_of_a_task_has_its_word(state: State, word: str) -> None:
    shown = state_of(status(state))
    assert shown.word == word
    assert shown.ended == state.final
    assert shown is BY_NAME[word]


def test_a_task_that_is_asked_to_stop_says_so() -> None:
    assert state_of(status(State.RUNNING, cancelling=True)).word == "cancelling"


def test_states_are_listed_with_what_is_at_work_first_and_what_is_done_last() -> None:
    assert STATUS_NAMES == ("running", "pending", "lost", "failure", "revoked", "success")


def test_no_colour_stands_alone() -> None:
    """Two states of one symbol have one meaning to the eye: at work."""
    symbols = [one.symbol for one in TASK_STATES]
    assert {one.name for one in TASK_STATES if symbols.count(one.symbol) > 1} == {
        "running", "retry", "cancelling",
    }  # fmt: skip
