"""Wear: from nothing to failure by each law, and what a maintenance takes back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.synth.simulator.wear import wear
from gan_lab.workspace.profiles import Profile


@pytest.mark.parametrize("law", ["exponential", "power", "paris"])
def test_wear_grows_from_nothing_to_failure(law: str) -> None:
    progress = np.linspace(0, 1, 101)
    for exponent in (1.5, 2.0, 3.0, 6.0):
        damage = wear(law, progress, np.full(101, exponent))
        assert damage[0] == pytest.approx(0) and damage[-1] == pytest.approx(1)
        assert (np.diff(damage) > 0).all()


def test_each_maintenance_takes_back_wear_and_the_life_still_ends_in_failure(
    motor: Profile,
) -> None:
    config = {"lives": 20, "failure_modes": {"bearing": 1.0}}
    plain = simulate(motor, SeedConfig.model_validate(config))
    table = simulate(motor, SeedConfig.model_validate({**config, "maintenance_h": 8_000}))
    hours = table["rul"].groupby(table["life"]).transform("max") - table["rul"]
    assert ((table["maintenances"] == hours // 8_000) | (table["rul"] == 0)).all()
    running = table[table["state"] != "off"]
    life = running.groupby("life")
    before = running[life["maintenances"].diff(-1) < 0]["accel_bpfo_g"].to_numpy()
    after = running[life["maintenances"].diff() > 0]["accel_bpfo_g"].to_numpy()
    assert len(before) == len(after) > 30
    late = before > 0.15
    assert late.sum() > 5 and (after[late] < before[late]).all()
    pd.testing.assert_series_equal(table["rul"], plain["rul"])
    ends = [each.groupby("life")["accel_bpfo_g"].last() for each in (table, plain)]
    assert np.allclose(ends[0], ends[1], atol=0.05)
