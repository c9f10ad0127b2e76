"""Sensors lag what they follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.lives import lay_rows
from gan_lab.synth.simulator.sensors import lag
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.workspace.profiles import Profile


def test_temperatures_lag_load(sampled_every: Callable[[float], Profile]) -> None:
    """At ten minutes a row, the winding answers load with its time constant of 40 minutes."""
    table = simulate(sampled_every(600), SeedConfig(lives=2))
    table = table[table["life"] == 1]
    losses = (table["load_pct"] / 100) ** 2
    lags = [losses.shift(step).corr(table["winding_temp_C"]) for step in range(10)]
    assert 1 <= int(np.argmax(lags)) <= 6
    assert lags[0] < max(lags) - 0.01


def test_after_its_lag_a_sensor_has_come_63_percent_of_the_way() -> None:
    rows = lay_rows(np.array([50]), 0.1, np.random.default_rng(0))
    step = lag((np.arange(50) > 0).astype(float), 3600, rows)
    assert step[[0, 10]] == pytest.approx([0, 1 - np.exp(-1)])
