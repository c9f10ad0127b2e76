from __future__ import annotations

from collections.abc import Callable
from html import unescape

import pytest

from gan_lab.notebook import card
from gan_lab.schema import Epoch
from gan_lab.settings import load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.run_folder import RunFolder
from tests.notebook.writer import train, training


@pytest.mark.parametrize(
    ("seconds", "written"), [(0, "0:00"), (42.4, "0:42"), (725, "12:05"), (3723, "1:02:03")]
)
def test_durations_are_written_as_people_do(seconds: float, written: str) -> None:
    assert card.clock(seconds) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (float("nan"), ""),
        (0.0423456, "0.04235"),
        (12_345.6, "12\u202f346"),
        (-2.5, "−2.5"),
    ],
)
def test_figures_have_as_many_digits_as_help(value: float | None, written: str) -> None:
    assert card.number(value) == written


def test_a_run_that_waits_says_so(new_run: Callable[..., RunFolder]) -> None:
    shot = card.look(new_run())
    assert shot.share == 0
    assert shot.left_s is None
    shown = card.show(shot)
    assert "○ waiting" in shown.text
    assert "Waiting for a worker" in shown.html


def test_what_goes_on_says_when_it_was_seen_and_what_shows_it_now(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run()
    now = f"lab.task('{run.task_id}') shows it as it is now"
    for _ in training(run, 1):
        shown = card.show(card.look(run))
        assert now in unescape(shown.html)
        assert now in unescape(shown.body)  # what stays of a kernel that has gone
    assert now not in unescape(card.show(card.look(run)).html)


def test_a_link_of_a_chain_says_what_it_waits_for(new_run: Callable[..., RunFolder]) -> None:
    before = new_run()
    after = new_run(kind="generate", after=before.task_id)
    assert after.status().message == f"Waiting for train ({before.task_id[:8]})"
    before.finish({})
    assert after.status().message == "Waiting for a worker"


def test_half_way_it_knows_the_time_left(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    announcer = Announcer(run, load_settings())
    for number in range(1, 31):
        run.append_epoch(Epoch(number, 60, 100 / number, 1.0, 1.0, None, 2.0, 500.0))
    announcer.say("training", 30, 60, "Epoch 30/60", epoch=30, loss=100 / 30)
    shot = card.look(run)
    assert shot.share == 0.5
    assert shot.left_s == 60.0
    assert shot.facts == {
        "epoch": "30 / 60",
        "loss": "3.333",
        "rows/s": "500",
        "elapsed": "0:00",
        "left": "1:00",
    }


def test_a_worker_whose_clock_is_behind_the_last_ones_takes_no_time(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run()
    first = Announcer(run, load_settings()).say("training", 1, 60, "Epoch 1/60")
    earlier = {"seq": 2, "timestamp": "2026-01-01T00:00:00.000Z"}
    run.append_event(first.model_copy(update=earlier))
    assert card.look(run).facts["elapsed"] == "0:00"


def test_a_card_reads_only_the_epochs_that_are_new(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    history = LossHistory(run)
    for number in training(run, 4):
        assert card.look(run, history).facts["epoch"] == f"{number} / 4"
        assert len(history) == number  # it is the one that is read on
    assert card.show(card.look(run, history)) == card.show(card.look(run))


def test_a_failure_is_a_sentence_with_its_traceback_one_click_away(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run()
    run.fail(ValueError("flow < 0 in row 7"), "Traceback (most recent call last): <module>")
    shown = card.show(card.look(run))
    page = shown.html
    assert "<b>ValueError: flow &lt; 0 in row 7</b>" in page
    assert "<details><summary" in page
    assert "&lt;module&gt;" in page
    assert "Traceback (most" not in shown.text


def test_cancelling_and_cancelled_are_told_apart(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    run.ask_to_cancel()
    assert card.look(run).state.word == "cancelling"
    run.cancelled()
    assert card.look(run).state.word == "cancelled"


def test_the_curve_spans_all_epochs_asked_for_and_ends_at_the_newest(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run()
    train(run, 1000, 0.0)
    assert max(across(card.show(card.look(run)).body)) == card.WIDTH - 4


def across(svg: str) -> list[float]:
    """Where the points of the first line lie from left to right."""
    points = svg.split('points="')[1].split('"')[0]
    return [float(point.split(",")[0]) for point in points.split()]


def test_a_training_that_ended_early_fills_its_picture_and_says_so(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run()
    train(run, 30, 0.0, asked=5_000)
    shot = card.look(run)
    assert shot.facts["epoch"] == "30 / 5000"
    assert max(across(card.show(shot).body)) == card.WIDTH - 4
    assert "Ended before its last epoch" in card.show(shot).html
