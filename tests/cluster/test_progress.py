"""What a training says and keeps of its epochs, and where it goes on."""

from __future__ import annotations

import pytest

from gan_lab.cluster.progress import Steps, TrainingProgress
from gan_lab.cluster.work import Work
from gan_lab.errors import TaskCancelled
from gan_lab.schema import Epoch
from gan_lab.settings import load_settings
from gan_lab.synth.network.model_file import pack

from .conftest import Record, request


@pytest.fixture
def work(record: Record, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setenv("GAN_LAB_EVENT_EVERY_S", "100")
    monkeypatch.setenv("GAN_LAB_CHECKPOINT_EVERY_EPOCHS", "5")
    run = record(request("train", epochs=25))
    settings = load_settings()
    run.lease.take("worker", settings.lease_s)
    return Work(run, settings, "worker", 1)


def learn(progress: TrainingProgress, first: int, last: int) -> None:
    for number in range(first, last + 1):
        epoch = Epoch(number, 25, 1 / number, 0.5, 0.5, None, 0.1, 1000.0)
        assert progress.on_epoch(epoch) is False
        progress.on_checkpoint(number, lambda: pack({}, {}))


def test_every_epoch_is_kept_and_some_are_said(work: Work) -> None:
    progress = TrainingProgress(work, 25)
    assert progress.resume() is None
    learn(progress, 1, 25)
    assert work.run.losses()["epoch"].tolist() == list(range(1, 26))
    assert [event.epoch for event in work.run.events()] == [1, 10, 20, 25]
    assert work.run.events()[1].message == "Epoch 10/25, Loss: 0.1000"
    found = work.run.load_checkpoint()
    assert found is not None and found[0] == 25


def test_a_training_goes_on_from_its_checkpoint(work: Work) -> None:
    learn(TrainingProgress(work, 25), 1, 8)
    again = TrainingProgress(work, 25)
    assert again.resume() == pack({}, {})
    assert work.run.losses()["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert again.last is not None and again.last.loss == pytest.approx(1 / 5)
    assert again.seconds_before == pytest.approx(0.5)
    assert work.run.events()[-1].message == "Going on from epoch 5"


def test_a_training_that_is_to_stop_is_told_so_by_its_epoch(work: Work) -> None:
    progress = TrainingProgress(work, 25)
    work.run.ask_to_cancel()
    assert progress.on_epoch(Epoch(1, 25, 1.0, 0.5, 0.5, None, 0.1, 1000.0)) is True
    with pytest.raises(TaskCancelled):
        progress.on_column(1, 3, "rpm")


def test_small_steps_are_said_now_and_then(work: Work) -> None:
    steps = Steps(work)
    for number in range(50):
        steps(number / 50, f"life {number}")
    assert [event.message for event in work.run.events()] == ["life 0"]
    work.run.ask_to_cancel()
    with pytest.raises(TaskCancelled):
        steps(1.0, "the last")
