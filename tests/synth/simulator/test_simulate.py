"""Simulated lives: exact in number, the same for the same seed, and physics that holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadParameter, BadProfile
from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.sensors import sensor_order
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.workspace.formulas import formula_names
from gan_lab.workspace.profiles import OperatingState, Profile, load_profile, profile_ids
from tests.synth.simulator.conftest import ROOT, Seeds

CATALOGUE = sorted(  # not what somebody imported into this checkout
    path.stem
    for path in (ROOT / "data" / "machines").glob("*.yaml")
    if "\ncategory: imported\n" not in path.read_text()
)
ONE_OF_EACH = [
    "motor_siemens_001", "pump_grundfos_cr3_004", "fan_howden_buffalo_008",
    "compressor_atlas_copco_ga30_001", "cnc_dmg_mori_nlx_010", "hydraulic_parker_hpu_012",
    "conveyor_hytrol_e24ez_014", "robot_fanuc_m20ia_015", "transformer_square_d_017",
    "cooling_tower_bac_vti_018", "turbofan_cfm56_7b_001",
]  # fmt: skip


def shown_by(profile: Profile, mode: str) -> set[str]:
    """The sensors a mode names, and what formulas compute from them."""
    shown = set(profile.failure_modes[mode].sensors)
    for name in sensor_order(profile):
        formula = profile.sensors[name].formula
        if formula and formula_names(formula) & shown:
            shown.add(name)
    return shown


@pytest.mark.parametrize("machine_id", CATALOGUE)
def test_a_default_seed_is_whole_lives(machine_id: str, seeds: Seeds) -> None:
    profile, table = seeds(machine_id)
    lives = table.groupby("life")
    assert len(table) == 10_000 and lives.ngroups >= 40
    assert list(table.columns) == [
        "life", "timestamp", "state", *profile.sensors, "failure_mode", "rul",
    ]  # fmt: skip
    assert not table.isna().any().any()
    assert (lives["rul"].last() == 0).all()
    assert (lives["rul"].diff().dropna() < 0).all()
    assert (lives["timestamp"].diff().dropna() > pd.Timedelta(0)).all()
    assert (lives["failure_mode"].nunique() == 1).all()
    for name, sensor in profile.sensors.items():
        assert table[name].between(sensor.minimum, sensor.maximum).all()
        assert table[name].nunique() > 3


@pytest.mark.parametrize("rows", [1, 2, 7, 30, 100, 999])
def test_small_seeds_have_exactly_the_rows_asked_for(rows: int, motor: Profile) -> None:
    table = simulate(motor, SeedConfig(rows=rows))
    assert len(table) == rows
    assert (table.groupby("life")["rul"].last() == 0).all()


def test_the_same_seed_gives_the_same_rows_and_another_others(motor: Profile) -> None:
    first, again, other = (simulate(motor, SeedConfig(rows=500, seed=n)) for n in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first["winding_temp_C"].equals(other["winding_temp_C"])


def test_shares_are_honoured_within_two_percent(motor: Profile) -> None:
    table = simulate(motor, SeedConfig(failure_modes={"bearing": 0.3}))
    modes = table.groupby("life")["failure_mode"].first()
    assert (table["failure_mode"] == "bearing").mean() == pytest.approx(0.3, abs=0.02)
    assert (modes == "bearing").mean() == pytest.approx(0.3, abs=0.02)
    share = motor.states["full"].share
    assert (table["state"] == "full").mean() == pytest.approx(share, abs=0.02)


def test_an_unknown_mode_is_a_sentence(motor: Profile) -> None:
    with pytest.raises(BadParameter, match="It has bearing"):
        simulate(motor, SeedConfig(failure_modes={"bearings": 0.3}))
    with pytest.raises(BadProfile, match="gan-lab import"):
        simulate(Profile(machine_id="press_7"), SeedConfig())


@pytest.mark.parametrize("machine_id", ONE_OF_EACH)
def test_each_failure_shows_in_its_sensors_and_no_others(machine_id: str) -> None:
    """The end of each life against its own beginning, at full load, in widths of the beginning."""
    profile = load_profile(machine_id)
    table = simulate(profile, SeedConfig(rows=100_000))
    loaded = table[table["state"] == "full"]
    passed = 1 - loaded["rul"] / loaded.groupby("life")["rul"].transform("max")
    sensors = list(profile.sensors)
    early, late = loaded[passed < 0.3], loaded[passed > 0.9]
    shift = late.groupby("life")[sensors].mean() - early.groupby("life")[sensors].mean()
    modes = table.groupby("life")["failure_mode"].first()
    for mode in profile.failure_modes:
        width = early[early["failure_mode"] == mode].groupby("life")[sensors].std().mean()
        visible = shift[modes == mode].mean().abs() / width
        assert set(visible.index[visible > 0.5]) == shown_by(profile, mode), (mode, visible)


@pytest.mark.parametrize("machine_id", ONE_OF_EACH)
def test_levels_are_crossed_in_order(machine_id: str, seeds: Seeds) -> None:
    profile, table = seeds(machine_id)
    loaded = table[table["state"] == "full"]
    apart = []
    for mode, failure in profile.failure_modes.items():
        strong = [name for name, strength in failure.sensors.items() if strength >= 1.15]
        for _, life in loaded[loaded["failure_mode"] == mode].groupby("life"):
            for name in strong:
                sensor = profile.sensors[name]
                assert sensor.warning is not None and sensor.critical is not None
                sign = np.sign(sensor.critical - sensor.typical)
                smooth = (sign * life[name]).rolling(3, min_periods=1).median().to_numpy()
                warning = np.argmax(smooth > sign * sensor.warning)
                critical = np.argmax(smooth > sign * sensor.critical)
                if smooth.max() > sign * sensor.critical and len(smooth) > 20:
                    assert 0 < warning <= critical
                    apart.append(warning < critical)
    assert len(apart) > 20 and np.mean(apart) > 0.95  # seldom between two rows


def test_motor_currents_follow_power_within_the_power_factor(seeds: Seeds) -> None:
    profile, table = seeds("motor_siemens_001")
    full = table[table["state"].isin(["full", "partial"])]
    current = full[["current_a_A", "current_b_A", "current_c_A"]].mean(axis=1)
    power = np.sqrt(3) * profile.rated["voltage_V"] * current * full["power_factor"] / 1000
    assert np.median(np.abs(power / full["power_kW"] - 1)) < 0.01
    assert (table.loc[table["state"] == "off", "power_kW"] < 0.5).all()


def test_the_energy_balance_of_a_pump_closes(seeds: Seeds) -> None:
    profile, table = seeds("pump_ksb_etanorm_006")
    full = table[table["state"] == "full"]
    hydraulic_kW = 998 * 9.81 * full["flow_m3_h"] / 3600 * full["head_m"] / 1000
    shaft_kW = full["motor_power_kW"] * profile.rated["motor_efficiency"]
    ratio = hydraulic_kW / (shaft_kW * full["efficiency_pct"] / 100)
    assert abs(ratio.mean() - 1) < 0.005 and ratio.std() < 0.02


def test_the_energy_balance_of_a_compressor_closes(seeds: Seeds) -> None:
    _, table = seeds("compressor_atlas_copco_ga30_001")
    full = table[(table["state"] == "full") & (table["load_pct"] > 100)]
    isothermal_kW = (
        1e5 * full["air_flow_m3_min"] / 60 * np.log(full["discharge_pressure_bar"] + 1) / 1000
    )
    ratio = isothermal_kW / (full["power_kW"] * full["isothermal_efficiency_pct"] / 100)
    assert abs(ratio.mean() - 1) < 0.01


def test_the_catalogue_is_whole() -> None:
    profiles = [load_profile(machine_id) for machine_id in profile_ids() if machine_id in CATALOGUE]
    assert len(profiles) >= 27
    assert len({profile.category for profile in profiles} - {"imported"}) == 11
    for profile in profiles:
        assert profile.simulated and profile.sources
        assert sum(state.share for state in profile.states.values()) == pytest.approx(1, abs=0.01)
        assert sum(mode.share for mode in profile.failure_modes.values()) == pytest.approx(1)
        assert isinstance(profile.states["off"], OperatingState)
