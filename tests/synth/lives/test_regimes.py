"""Regimes are found where they predict lives that were not seen, and nowhere else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench import made_up
from gan_lab.errors import BadParameter
from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.regimes import find_regimes, levels_of
from gan_lab.synth.lives.training_lives import TrainingLives
from tests.synth.lives.tables import MACHINE_ROLES, SMALL


def coarse_and_noisy(lives: int, seed: int) -> tuple[dict[str, np.ndarray], Packed]:
    """Return numbers without regimes: a setting that is rounded noise, coarse sensors that wear."""
    rng = np.random.default_rng(seed)
    packed = Packed(rng.integers(120, 250, lives))
    wear = np.exp((packed.age - packed.rows[packed.life]) / 40)
    numbers = {f"s{n}": wear * 5 + rng.normal(size=len(wear)) for n in range(6)}
    for n in range(3):  # a worn reading of its own, in few steps
        numbers[f"coarse_{n}"] = (wear * 4 + rng.normal(0, 0.8, len(wear))).round().clip(-1, 3)
    numbers["setting"] = rng.integers(0, 12, len(wear)).astype(float)
    return numbers, packed


@pytest.mark.parametrize("lives", [1, 3, 5, 10, 40])
def test_noise_and_coarse_sensors_that_wear_are_no_regimes(lives: int) -> None:
    for seed in range(5):
        numbers, packed = coarse_and_noisy(lives, seed)
        levels = {name: levels_of(values) for name, values in numbers.items()}
        found = {name: code for name, code in levels.items() if code is not None}
        assert found, "nothing to be tempted by"
        assert find_regimes(found, numbers, packed)[0] == []


@pytest.mark.parametrize("lives", [1, 2, 10])
def test_settings_that_move_the_sensors_are_regimes_from_few_lives_on(lives: int) -> None:
    table, roles = made_up.six_regimes(lives)
    learned = TrainingLives(table, roles, TrainConfig())
    assert learned.table.regime_columns == ["setting_0"]
    assert learned.table.regimes == 6


def test_a_column_does_not_vouch_for_itself() -> None:
    numbers, packed = coarse_and_noisy(10, seed=0)
    code = levels_of(numbers["setting"])
    assert code is not None
    assert find_regimes({"setting": code}, {"setting": numbers["setting"]}, packed)[0] == []


def test_a_further_column_must_explain_more() -> None:
    rng = np.random.default_rng(0)
    packed = Packed(np.full(8, 100))
    gear, oil, copy = rng.integers(0, 3, 800), rng.integers(0, 2, 800), np.zeros(800, dtype=int)
    copy[:] = gear
    speed = np.array([0.0, 5.0, 9.0])[gear] + rng.normal(size=800)
    heat = np.array([0.0, 6.0])[oil] + rng.normal(size=800)
    levels = {"gear": gear, "oil": oil, "copy": copy}
    chosen, regime = find_regimes(levels, {"speed": speed, "heat": heat}, packed)
    assert "oil" in chosen
    assert len(chosen) == 2
    assert len(np.unique(regime)) == 6


def test_regimes_are_found_and_can_be_overruled(table: pd.DataFrame) -> None:
    fewer = table.drop(columns=["state"])
    roles = MACHINE_ROLES.model_copy(update={"state": None})
    assert TrainingLives(fewer, roles, SMALL).table.regime_columns == ["speed"]
    none = SMALL.model_copy(update={"regimes": "none"})
    assert TrainingLives(fewer, roles, none).table.regimes == 1
    with pytest.raises(BadParameter, match="'heat' cannot make the regimes"):
        TrainingLives(fewer, roles, SMALL.model_copy(update={"regimes": "heat"}))


def test_levels_are_found_in_noisy_settings_and_not_in_a_load() -> None:
    rng = np.random.default_rng(0)
    setting = rng.integers(0, 3, 1_000)
    noisy = setting * 10 + rng.normal(0, 0.01, 1_000)
    found = levels_of(noisy)
    assert found is not None and (found == setting).all()
    assert levels_of(rng.normal(size=1_000)) is None
    assert levels_of(np.where(np.arange(1_000) == 5, np.nan, setting)) is None
    assert levels_of(np.where(np.arange(1_000) == 5, 7, 0)) is None  # too rare


def test_a_column_that_follows_wear_makes_no_regime() -> None:
    rng = np.random.default_rng(1)
    packed = Packed(np.full(50, 40))
    speed = np.repeat(rng.integers(0, 2, 400), 5)
    alarm = (packed.age > 28).astype(np.int64)
    numbers = {"torque": speed * 5 + rng.normal(size=2_000), "heat": alarm * 9.0 + speed}
    names, regime = find_regimes({"speed": speed, "alarm": alarm}, numbers, packed)
    assert names == ["speed"] and (regime == speed).all()
    names, regime = find_regimes({"alarm": alarm}, numbers, packed)
    assert names == [] and not regime.any()
