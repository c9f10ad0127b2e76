"""How phases of epochs run, stop, fail and go on after a kill, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from gan_lab.errors import BadParameter, TaskFailed
from gan_lab.schema import Epoch, TrainConfig
from gan_lab.synth.network.schedule import EarlyStopping
from gan_lab.synth.network.training import Objective, Trainer, Training

CONFIG = TrainConfig(batch_size=16)
LOSSES = [3.0, 2.0, 1.0, *[1.5] * 40]  # of held-out rows: best after the third epoch


class Line(Objective):
    """Learns a slope of three; held-out losses are given, and repeat from the epoch they are at."""

    factor = 2.0
    fast = ("bias",)

    def __init__(self, slope: float = 3.0) -> None:
        super().__init__(torch.nn.Linear(1, 1), 40)
        torch.nn.init.zeros_(self.module.weight)
        torch.nn.init.zeros_(self.module.bias)
        self.slope, self.epoch = slope, 0

    def before_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def losses(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randn(len(chosen), 1, generator=generator)
        return (self.module(rows) - self.slope * rows).square().mean(), rows.new_ones(())

    def validation(self) -> float:
        return LOSSES[self.epoch]


def trainer(slope: float = 3.0) -> Trainer:
    return Trainer(Line(slope), EarlyStopping(40, 1e-2, 5, 3, 0.01), CONFIG, seed=1)


def train(name: str = "t", **options: object) -> tuple[Training, Iterator[Trainer]]:
    training = Training(name, 40, 30, **options)  # type: ignore[arg-type]
    phases = trainer(), trainer(-2.0)
    for phase in phases:
        training.run(phase)
    return training, iter(phases)


def weights(phases: Iterator[Trainer]) -> list[float]:
    return [float(w) for phase in phases for w in phase.module.state_dict().values()]


def states(**options: object) -> list[bytes]:
    kept: list[bytes] = []

    def keep(epoch: int, state: Callable[[], bytes]) -> None:
        assert epoch == len(kept) + 1
        kept.append(state())

    train(on_checkpoint=keep, **options)
    return kept


@pytest.mark.parametrize("epoch", [1, 3, 4, 6, 7, 8, 9, 12, 15])
def test_a_training_goes_on_where_it_was_killed(epoch: int) -> None:
    whole, phases = train()
    again, resumed = train(resume=states()[epoch - 1])
    assert weights(phases) == weights(resumed)
    assert len(whole.history) == 16 and whole.epochs_left == 14
    assert [e.loss for e in whole.history] == [e.loss for e in again.history]
    assert [e.validation for e in again.history] == LOSSES[:8] * 2


def test_on_epoch_stops_and_what_is_left_of_the_phases_does_not_run() -> None:
    said: list[Epoch] = []
    stopped, phases = train(on_epoch=lambda epoch: said.append(epoch) or len(said) == 3)
    assert stopped.history == said and [epoch.epoch for epoch in said] == [1, 2, 3]
    assert weights(phases)[2:] == [0.0, 0.0]
    assert all(epoch.loss == 2 * epoch.reconstruction + epoch.kl for epoch in said)
    assert {epoch.epochs for epoch in said} == {30}


def test_states_of_other_trainings_are_refused() -> None:
    (state, *_) = states()
    with pytest.raises(BadParameter, match="another table or configuration"):
        train("another", resume=state)
    with pytest.raises(BadParameter, match="altered"):
        train(resume=state[:-1] + bytes([state[-1] ^ 1]))
    wider = trainer()
    wider.objective.module = wider.module = torch.nn.Linear(2, 1)
    with pytest.raises(BadParameter, match="another table or configuration"):
        Training("t", 40, 30, resume=state).run(wider)


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    with pytest.raises(TaskFailed, match=r"became inf in epoch 1.*learning_rate \(it was 0.01\)"):
        Training("t", 40, 30).run(trainer(1e30))
