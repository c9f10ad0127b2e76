"""How rates rise and fall, how many epochs are planned, and when a training has learned enough."""

import pytest
import torch

from gan_lab.schema import TrainConfig
from gan_lab.synth.network.schedule import EarlyStopping, planned_epochs


def test_max_steps_limits_epochs_only_where_they_are_more() -> None:
    config = TrainConfig(epochs=300, batch_size=500, max_steps=1000)
    assert planned_epochs(1_700, config) == 250
    assert planned_epochs(16_138, config) == 31
    assert planned_epochs(900, config) == 300


def test_epochs_that_someone_asked_for_are_not_cut() -> None:
    assert planned_epochs(16_138, TrainConfig()) == 37
    assert planned_epochs(16_138, TrainConfig(epochs=300)) == 300
    asked = TrainConfig.model_validate_json('{"epochs": 300, "max_steps": 1000}')
    assert planned_epochs(16_138, asked) == 31
    for config in (TrainConfig(), TrainConfig(epochs=300), asked):  # as a task's record keeps them
        assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def ended(schedule: EarlyStopping, losses: list[float | None]) -> tuple[int, float]:
    """Return after how many epochs a schedule ends, and the weight of the module then: that of an
    epoch is its number."""
    module = torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
    for epoch, loss in enumerate(losses, 1):
        module.weight.fill_(epoch)
        schedule.after_epoch(module, epoch, loss)
        if schedule.finished(epoch):
            return epoch, float(module.weight)
    raise AssertionError("it did not end")


def make(epochs: int = 40) -> EarlyStopping:
    return EarlyStopping(epochs, 2.0, steady=5, patience=3, min_delta=0.01)


def test_the_cool_down_begins_at_the_best_weights() -> None:
    schedule, module = make(), torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
    for epoch, loss in enumerate([3.0, 2.0, 1.0, 0.995, 1.5, 1.5], 1):
        module.weight.fill_(epoch)
        schedule.after_epoch(module, epoch, loss)
    assert (schedule.cooling_from, float(module.weight)) == (6, 3.0)
    assert [schedule.finished(epoch) for epoch in (7, 8)] == [False, True]


@pytest.mark.parametrize(
    ("epochs", "losses", "ends"),
    [
        (40, [None] * 40, 7),  # five at a steady rate, then a third as many
        (6, [None] * 40, 6),
        (9, [float(-epoch) for epoch in range(40)], 9),  # ever better: the epochs end it
        (40, [1.0] * 40, 6),
    ],
)
def test_where_a_training_ends(epochs: int, losses: list[float | None], ends: int) -> None:
    assert ended(make(epochs), losses)[0] == ends


def test_weights_are_kept_where_the_epochs_ran_out_first() -> None:
    assert ended(make(9), [float(-epoch) for epoch in range(40)])[1] == 9


def test_the_rate_rises_holds_and_falls() -> None:
    schedule = make()
    assert schedule.rate(0, 10) == pytest.approx(0.2)
    assert [schedule.rate(batch, 10) for batch in (20, 200)] == [2.0, 2.0]
    schedule.cooling_from = 6
    assert schedule.rate(60, 10) == 2.0
    assert schedule.rate(70, 10) == pytest.approx(1.0)
    assert schedule.rate(80, 10) == pytest.approx(0.02)
