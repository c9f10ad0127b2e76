"""Our Adam against torch's own: the same numbers, without its compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from gan_lab.synth.network.adam import Adam, Group


def twins() -> tuple[nn.Module, nn.Module]:
    """Two equal networks, with a parameter that no loss reaches."""
    networks = []
    for _ in range(2):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
        network.register_parameter("idle", nn.Parameter(torch.ones(4)))
        networks.append(network)
    return networks[0], networks[1]


def learn(network: nn.Module, optimizer: object, steps: range, rate: float) -> None:
    for step in steps:
        optimizer.zero_grad()
        rows = torch.randn(64, 5, generator=torch.Generator().manual_seed(step))
        network(rows).square().mean().backward()
        if isinstance(optimizer, Adam):
            optimizer.step(rate)
        else:
            optimizer.step()


@pytest.mark.slow
def test_it_moves_as_torchs_own_does_bit_for_bit_also_after_a_restart() -> None:
    ours, theirs = twins()
    names = list(dict(ours.named_parameters()))

    def groups(network: nn.Module) -> list[list[nn.Parameter]]:
        found = dict(network.named_parameters())
        return [
            [found[n] for n in names if "bias" not in n],
            [found[n] for n in names if "bias" in n],
        ]

    def fresh(network: nn.Module) -> Adam:
        weights, biases = groups(network)
        return Adam([Group(weights, weight_decay=1e-2), Group(biases, pace=4.0)])

    weights, biases = groups(theirs)
    torchs = torch.optim.Adam(
        [{"params": weights, "lr": 1e-3, "weight_decay": 1e-2}, {"params": biases, "lr": 4e-3}],
        fused=True,
    )
    learn(theirs, torchs, range(30), 1e-3)
    first = fresh(ours)
    learn(ours, first, range(12), 1e-3)
    saved = {name: value.clone() for name, value in first.state().items()}
    again = fresh(ours)
    again.restore(saved)
    learn(ours, again, range(12, 30), 1e-3)
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name]), name
    assert torch.equal(ours.state_dict()["idle"], torch.ones(4))


@pytest.mark.slow
def test_a_training_does_without_torchs_compiler() -> None:
    program = """
import sys
import pandas as pd
from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.tabular.model import TabularTVAE
table = pd.DataFrame({"x": range(300)}) % 50 * 0.5
TabularTVAE.fit(table, Roles(), TrainConfig(epochs=2))
lives = table.assign(life=[row // 50 for row in range(300)])
SequentialTVAE.fit(lives, Roles(life="life"), TrainConfig(epochs=4))
assert "torch" in sys.modules and "torch._dynamo" not in sys.modules
"""
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
