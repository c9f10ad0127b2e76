"""How a phase of training holds its rate, stops, cools down and goes on after a kill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.phases import Phase, Plan


def phase(validations: Iterator[float], most: int = 40) -> Phase:
    module = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(module.weight)
    torch.nn.init.zeros_(module.bias)

    def loss(chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randn(len(chosen), 1, generator=generator)
        return (module(rows) - 3 * rows).square().mean(), rows.new_zeros(())

    plan = Plan(most=most, steady=5, patience=3, least=0.01, rate=1e-3)
    return Phase(module, loss, lambda: next(validations), 40, plan, TrainConfig(), salt=1)


def ended(one: Phase) -> Phase:
    while not one.finished:
        one.run_epoch()
    return one


@pytest.mark.parametrize("stopped", [1, 4, 5, 7])
def test_a_phase_goes_on_where_it_was_killed(stopped: int) -> None:
    losses = [3.0, 2.0, 1.0, *[1.5] * 40]  # best after the third epoch
    whole = ended(phase(iter(losses)))
    first, second = phase(iter(losses)), phase(iter(losses[stopped:]))
    for _ in range(stopped):
        first.run_epoch()
    second.restore(*first.state())
    ended(second)
    assert (second.epoch, second.cooling_from, second.best) == (8, 6, 1.0)
    assert (whole.epoch, whole.cooling_from, whole.best) == (8, 6, 1.0)
    for name, weight in whole.module.state_dict().items():
        assert torch.equal(weight, second.module.state_dict()[name])


def test_the_cool_down_begins_at_the_best_weights() -> None:
    losses = [3.0, 2.0, 1.0, *[1.5] * 40]
    one = phase(iter(losses))
    for _ in range(3):
        one.run_epoch()
    best = {name: weight.clone() for name, weight in one.module.state_dict().items()}
    for _ in range(3):
        one.run_epoch()
    assert one.cooling_from == 6
    assert all(torch.equal(best[name], w) for name, w in one.module.state_dict().items())


def test_the_rate_rises_holds_and_falls() -> None:
    one = phase(iter([1.0] * 100))
    rates = []
    while not one.finished:
        rates.append(one._rate(one.epoch))
        one.run_epoch()
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == 1.0
    assert rates[-1] < 0.6
    assert one._rate(one.epoch) == 0.01
