from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import redis

from gan_lab.errors import BadParameter
from gan_lab.notebook import card
from gan_lab.notebook.widgets import WIDGET, watch
from gan_lab.wire.connection import channel
from gan_lab.workspace.run_folder import RunFolder
from tests.notebook.writer import train, training

COUNT = """
import gc, threading, ipywidgets
from ipywidgets.widgets import widget
gc.collect()
print(len(widget._instances), threading.active_count())
"""


def show(run: RunFolder) -> str:
    return f"""
import gan_lab as lab
from gan_lab.workspace.runs import open_run
run = open_run({run.task_id!r})
lab.watch(run)
"""


@pytest.mark.slow
def test_a_cell_run_a_hundred_times_leaks_nothing(
    valkey: redis.Redis, new_run: Callable[..., RunFolder], writer: Any, kernel: Any
) -> None:
    run = new_run()
    writer(run, 10_000, 0.05)
    kernel.run(show(run))
    kernel.run("view = lab.watch(run)")
    # Until the view listens, and the writer has told Redis of one event at least.
    while valkey.pubsub_numsub(channel(run.task_id))[0][1] < 1 or len(run.events()) < 3:
        kernel.run(COUNT)
    before, connections = kernel.run(COUNT), len(valkey.client_list())
    for _ in range(100):
        kernel.run("lab.watch(run)")
    assert kernel.run(COUNT) == before
    assert len(valkey.client_list()) == connections


@pytest.mark.slow
def test_a_live_view_moves_with_each_epoch_and_ends_as_its_record(
    valkey: redis.Redis, new_run: Callable[..., RunFolder], kernel: Any
) -> None:
    run = new_run()
    kernel.run(show(run))
    published, again = kernel.displayed()
    assert WIDGET not in again and f"lab.task('{run.task_id}')" in again["text/plain"]
    assert run.task_id in again["text/html"]  # for a page whose kernel is gone
    assert set(published) == {"text/plain", "text/html", WIDGET}
    for number in training(run, 4):
        kernel.wait_until(lambda message, share=number / 4: bar_value(message) == share)
    last = kernel.wait_until(lambda message: message["msg_type"] == "update_display_data")
    forms = last["content"]["data"]
    assert WIDGET not in forms
    shown = card.show(card.look(run))
    assert forms["text/html"] == shown.html
    assert forms["text/plain"] == shown.text
    assert [value for value in map(bar_value, kernel.messages) if value is not None][-1] == 1.0


def bar_value(message: dict[str, Any]) -> float | None:
    """The new value of a bar, where the message is about that."""
    value = message["content"].get("data", {}).get("state", {}).get("value")
    return value if isinstance(value, float) else None


@pytest.mark.slow
def test_a_run_that_ends_while_its_view_is_shown_leaves_no_bar(
    valkey: redis.Redis, new_run: Callable[..., RunFolder], kernel: Any
) -> None:
    kernel.run(
        show(new_run())
        + """
view = lab.watch(run)
forms_of = view._repr_mimebundle_
def ends_meanwhile():
    forms = forms_of()
    run.cancelled()
    view._thread.join()
    return forms
view._repr_mimebundle_ = ends_meanwhile
view
"""
    )
    assert WIDGET in kernel.displayed()[0]
    assert WIDGET not in kernel.displayed("update_display_data")[-1]


@pytest.mark.slow
def test_without_a_front_end_no_widget_is_made(
    new_run: Callable[..., RunFolder], writer: Any, kernel: Any
) -> None:
    run = new_run()
    kernel.run(show(run), front_end=False)
    writer(run, 20, 0.05)
    printed = kernel.run(
        "from gan_lab.cluster.submit import Run; print(Run.of(run).result()['epochs_completed'])",
        front_end=False,
    )
    assert set(kernel.displayed()[0]) == {"text/plain", "text/html"}
    last = kernel.displayed("update_display_data")[-1]
    assert "✓ done" in last["text/plain"]
    assert "train motor_siemens_001: 100%  Done" in printed
    assert len(printed.splitlines()) < 8
    assert not [message for message in kernel.messages if message["msg_type"] == "comm_open"]


def test_the_view_is_the_same_from_the_record_alone(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    train(run, 60, 0.0)
    first, again = watch(run), watch(RunFolder(run.path))
    assert first.forms() == again.forms()
    assert "60 / 60" in repr(first)


def test_nothing_to_watch_is_said(new_run: Callable[..., RunFolder]) -> None:
    with pytest.raises(BadParameter, match="Nothing to watch"):
        watch()


def test_several_runs_are_cards_one_below_the_other(new_run: Callable[..., RunFolder]) -> None:
    runs = [new_run() for _ in range(3)]
    train(runs[0], 3, 0.0)
    runs[1].fail(ValueError("the column flow is all missing"), "Traceback")
    view = watch(runs)
    words = ("✓ done", "✕ failed", "○ waiting")
    assert [word in text for word, text in zip(words, repr(view).split("\n\n"), strict=True)]
    page = view.forms()["text/html"]
    assert "the column flow is all missing" in page
    assert page.index("✓ done") < page.index("✕ failed") < page.index("○ waiting")


def test_a_page_needs_nothing_that_jupyter_takes_away(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    train(run, 30, 0.0)
    page = card.show(card.look(run)).html
    assert not re.search(r"<(svg|style|script)|var\(", page)
    assert "<img" in page
