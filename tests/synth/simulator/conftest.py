"""The machines of the catalogue, and a default seed of each, simulated once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.workspace.profiles import FailureMode, Life, Profile, load_profile

ROOT = Path(__file__).parents[3]

Seeds = Callable[[str], tuple[Profile, pd.DataFrame]]


@pytest.fixture(autouse=True)
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(ROOT))


@pytest.fixture
def motor(catalogue: None) -> Profile:
    return load_profile("motor_siemens_001")


@pytest.fixture(scope="session")
def seeds() -> Seeds:
    """A profile and its default seed."""

    @cache
    def seed(machine_id: str) -> tuple[Profile, pd.DataFrame]:
        profile = load_profile(machine_id)
        return profile, simulate(profile, SeedConfig())

    return seed


@pytest.fixture
def sampled_every(motor: Profile) -> Callable[[float], Profile]:
    """The motor without wear, with lives of some weeks and rows this far apart (s)."""
    mode = FailureMode(share=1, sensors={})
    life = Life(mean_h=1000, spread_h=100)
    changes = {"failure_modes": {"none": mode}, "life": life}
    return lambda seconds: motor.model_copy(update={**changes, "interval_s": seconds})
