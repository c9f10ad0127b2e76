"""Simulated lives: exact in number, the same for the same seed, and physics that holds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadParameter, BadProfile
from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.simulate import (
    apportion,
    draw_life_hours,
    sensor_order,
    simulate,
    wear,
)
from gan_lab.workspace.formulas import evaluate, formula_names
from gan_lab.workspace.profiles import (
    FailureMode,
    Life,
    OperatingState,
    Profile,
    load_profile,
    profile_ids,
)

ROOT = Path(__file__).parents[3]
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


@pytest.fixture(autouse=True)
def workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(ROOT))


@cache
def seed(machine_id: str) -> tuple[Profile, pd.DataFrame]:
    profile = load_profile(machine_id)
    return profile, simulate(profile, SeedConfig())


def healthy(profile: Profile) -> Profile:
    """The machine with a failure that shows nowhere: its lives are wear-free references."""
    mode = FailureMode(share=1, sensors={})
    return profile.model_copy(update={"failure_modes": {"none": mode}})


def sampled_every(profile: Profile, interval_s: float) -> Profile:
    """The machine without wear, with lives of some weeks and rows this far apart."""
    life = Life(mean_h=1000, spread_h=100)
    return healthy(profile).model_copy(update={"interval_s": interval_s, "life": life})


def shown_by(profile: Profile, mode: str) -> set[str]:
    """The sensors a mode names, and what formulas compute from them."""
    shown = set(profile.failure_modes[mode].sensors)
    for name in sensor_order(profile):
        formula = profile.sensors[name].formula
        if formula and formula_names(formula) & shown:
            shown.add(name)
    return shown


@pytest.mark.parametrize("machine_id", CATALOGUE)
def test_a_default_seed_is_whole_lives(machine_id: str) -> None:
    profile, table = seed(machine_id)
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
def test_small_seeds_have_exactly_the_rows_asked_for(rows: int) -> None:
    table = simulate(load_profile("motor_siemens_001"), SeedConfig(rows=rows))
    assert len(table) == rows
    assert (table.groupby("life")["rul"].last() == 0).all()


def test_lives_may_be_asked_for_instead_of_rows() -> None:
    table = simulate(load_profile("motor_siemens_001"), SeedConfig(lives=7))
    assert table["life"].unique().tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert 7 * 100 < len(table) < 7 * 300


def test_the_same_seed_gives_the_same_rows_and_another_others() -> None:
    profile = load_profile("motor_siemens_001")
    first, again, other = (simulate(profile, SeedConfig(rows=500, seed=n)) for n in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first["winding_temp_C"].equals(other["winding_temp_C"])


def test_shares_are_honoured_within_two_percent() -> None:
    config = SeedConfig(failure_modes={"bearing": 0.3}, late_life=0.4, states={"full": 0.6})
    profile = load_profile("motor_siemens_001")
    table = simulate(profile, config)
    modes = table.groupby("life")["failure_mode"].first()
    assert (table["failure_mode"] == "bearing").mean() == pytest.approx(0.3, abs=0.02)
    assert (modes == "bearing").mean() == pytest.approx(0.3, abs=0.02)
    assert (table["state"] == "full").mean() == pytest.approx(0.6, abs=0.02)
    whole = table.groupby("life")["rul"].transform("max")
    assert (table["rul"] <= 0.2 * whole).mean() == pytest.approx(0.4, abs=0.02)


def test_censored_lives_end_before_failure_and_look_less_worn() -> None:
    profile = load_profile("motor_siemens_001")
    table = simulate(profile, SeedConfig(censored=0.3))
    last = table.groupby("life").last()
    cut = last["rul"] > 0
    assert cut.mean() == pytest.approx(0.3, abs=0.02)
    assert (last.loc[cut, "failure_mode"] == "none").all()
    assert last.loc[cut, "vibration_rms_mm_s"].max() < last["vibration_rms_mm_s"].max()


def test_each_maintenance_takes_back_wear_and_the_life_still_ends_in_failure() -> None:
    profile = load_profile("motor_siemens_001")
    config = {"lives": 20, "failure_modes": {"bearing": 1.0}}
    plain = simulate(profile, SeedConfig.model_validate(config))
    table = simulate(profile, SeedConfig.model_validate({**config, "maintenance_h": 8_000}))
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


def test_missing_readings_come_in_stretches() -> None:
    profile = load_profile("motor_siemens_001")
    table = simulate(profile, SeedConfig(missing=0.05))
    lost = table["winding_temp_C"].isna()
    assert lost.mean() == pytest.approx(0.05, abs=0.02)
    assert (lost & lost.shift(fill_value=False)).sum() > 0.5 * lost.sum()
    assert not table[["life", "timestamp", "state", "failure_mode", "rul"]].isna().any().any()


def test_an_unknown_mode_or_state_is_a_sentence() -> None:
    profile = load_profile("motor_siemens_001")
    with pytest.raises(BadParameter, match="Did you mean bearing"):
        simulate(profile, SeedConfig(failure_modes={"bearings": 0.3}))
    with pytest.raises(BadParameter, match="no operating state 'asleep'"):
        simulate(profile, SeedConfig(states={"asleep": 0.3}))
    with pytest.raises(BadProfile, match="gan-lab import"):
        simulate(Profile(machine_id="press_7"), SeedConfig())


def test_life_hours_have_the_mean_and_spread_of_the_profile() -> None:
    life = load_profile("motor_siemens_001").life
    assert life is not None
    hours = draw_life_hours(life, 200_000, np.random.default_rng(0))
    assert hours.mean() == pytest.approx(life.mean_h, rel=0.01)
    assert hours.std() == pytest.approx(life.spread_h, rel=0.02)
    assert hours.min() > 0


@pytest.mark.parametrize("law", ["exponential", "power", "paris"])
def test_wear_grows_from_nothing_to_failure(law: str) -> None:
    progress = np.linspace(0, 1, 101)
    for exponent in (1.5, 2.0, 3.0, 6.0):
        damage = wear(law, progress, np.full(101, exponent))
        assert damage[0] == pytest.approx(0) and damage[-1] == pytest.approx(1)
        assert (np.diff(damage) > 0).all()


def test_a_division_leaves_nothing_over() -> None:
    parts = apportion(10, np.array([1.0, 1.0, 1.0]))
    assert sorted(parts.tolist()) == [3, 3, 4]
    assert apportion(7, np.array([0.0, 1.0]), at_least=2).tolist() == [2, 5]


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
def test_levels_are_crossed_in_order(machine_id: str) -> None:
    profile, table = seed(machine_id)
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


def test_motor_currents_follow_power_within_the_power_factor() -> None:
    profile, table = seed("motor_siemens_001")
    full = table[table["state"].isin(["full", "partial"])]
    current = full[["current_a_A", "current_b_A", "current_c_A"]].mean(axis=1)
    power = np.sqrt(3) * profile.rated["voltage_V"] * current * full["power_factor"] / 1000
    assert np.median(np.abs(power / full["power_kW"] - 1)) < 0.01
    assert (table.loc[table["state"] == "off", "power_kW"] < 0.5).all()


def test_the_energy_balance_of_a_pump_closes() -> None:
    profile, table = seed("pump_ksb_etanorm_006")
    full = table[table["state"] == "full"]
    hydraulic_kW = 998 * 9.81 * full["flow_m3_h"] / 3600 * full["head_m"] / 1000
    shaft_kW = full["motor_power_kW"] * profile.rated["motor_efficiency"]
    ratio = hydraulic_kW / (shaft_kW * full["efficiency_pct"] / 100)
    assert abs(ratio.mean() - 1) < 0.005 and ratio.std() < 0.02


def test_the_energy_balance_of_a_compressor_closes() -> None:
    _, table = seed("compressor_atlas_copco_ga30_001")
    full = table[(table["state"] == "full") & (table["load_pct"] > 100)]
    isothermal_kW = (
        1e5 * full["air_flow_m3_min"] / 60 * np.log(full["discharge_pressure_bar"] + 1) / 1000
    )
    ratio = isothermal_kW / (full["power_kW"] * full["isothermal_efficiency_pct"] / 100)
    assert abs(ratio.mean() - 1) < 0.01


def test_temperatures_lag_load() -> None:
    """At ten minutes a row, the winding answers load with its time constant of 40 minutes."""
    profile = load_profile("motor_siemens_001")
    table = simulate(sampled_every(profile, 600), SeedConfig(lives=2))
    table = table[table["life"] == 1]
    losses = (table["load_pct"] / 100) ** 2
    lags = [losses.shift(step).corr(table["winding_temp_C"]) for step in range(10)]
    assert 1 <= int(np.argmax(lags)) <= 6
    assert lags[0] < max(lags) - 0.01


def test_a_daily_pattern_shows_at_a_fine_interval() -> None:
    profile = load_profile("motor_siemens_001")
    table = simulate(sampled_every(profile, 1800), SeedConfig(lives=2))
    by_hour = table.groupby(table["timestamp"].dt.hour)["load_pct"].mean()
    assert by_hour.loc[14] > by_hour.loc[2] + 20


@pytest.mark.parametrize("machine_id", ["compressor_atlas_copco_ga30_001", "cnc_haas_vf2_001"])
def test_lives_of_one_machine_work_alike_whatever_the_interval(machine_id: str) -> None:
    """Rows a whole number of days apart do not meet each life at an hour of its own."""
    _, table = seed(machine_id)
    share = (table["state"] == "full").groupby(table["life"]).mean()
    assert share.std() < 0.08


def test_the_worn_rest_shows_no_vibration() -> None:
    _, table = seed("motor_siemens_001")
    off = table[table["state"] == "off"]
    assert off["vibration_rms_mm_s"].max() < 0.5
    assert off["winding_temp_C"].mean() < 30


def test_formulas_are_arithmetic_and_nothing_else() -> None:
    assert evaluate("max(a, 2) ** 2 - -b", {"a": np.array([1.0, 3.0]), "b": 1.0}).tolist() == [
        5,
        10,
    ]
    assert evaluate("a / b", {"a": np.zeros(1), "b": np.zeros(1)}).tolist() == [0]
    assert formula_names("sqrt(3) * U_V * I_A") == {"U_V", "I_A"}
    for formula in ("__import__('os')", "a.b", "a[0]", "a if b else c", "'x'", "a +", "lambda: 1"):
        with pytest.raises(ValueError, match="arithmetic|not a formula|calls"):
            formula_names(formula)


def test_the_catalogue_is_whole() -> None:
    profiles = [load_profile(machine_id) for machine_id in profile_ids() if machine_id in CATALOGUE]
    assert len(profiles) >= 27
    assert len({profile.category for profile in profiles} - {"imported"}) == 11
    for profile in profiles:
        assert profile.simulated and profile.sources
        assert sum(state.share for state in profile.states.values()) == pytest.approx(1, abs=0.01)
        assert sum(mode.share for mode in profile.failure_modes.values()) == pytest.approx(1)
        assert isinstance(profile.states["off"], OperatingState)
