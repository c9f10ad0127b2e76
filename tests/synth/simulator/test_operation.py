"""Operation: states in their shares, daily patterns, the same at whatever interval."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.workspace.profiles import Profile
from tests.synth.simulator.conftest import Seeds


def test_a_daily_pattern_shows_at_a_fine_interval(
    sampled_every: Callable[[float], Profile],
) -> None:
    table = simulate(sampled_every(1800), SeedConfig(lives=2))
    by_hour = table.groupby(table["timestamp"].dt.hour)["load_pct"].mean()
    assert by_hour.loc[14] > by_hour.loc[2] + 20


@pytest.mark.parametrize("machine_id", ["compressor_atlas_copco_ga30_001", "cnc_haas_vf2_001"])
def test_lives_of_one_machine_work_alike_whatever_the_interval(
    machine_id: str, seeds: Seeds
) -> None:
    """Rows a whole number of days apart do not meet each life at an hour of its own."""
    _, table = seeds(machine_id)
    share = (table["state"] == "full").groupby(table["life"]).mean()
    assert share.std() < 0.08


def test_the_worn_rest_shows_no_vibration(seeds: Seeds) -> None:
    _, table = seeds("motor_siemens_001")
    off = table[table["state"] == "off"]
    assert off["vibration_rms_mm_s"].max() < 0.5
    assert off["winding_temp_C"].mean() < 30
