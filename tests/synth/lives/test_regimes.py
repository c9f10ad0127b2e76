"""Which columns make the regimes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadParameter
from gan_lab.synth.lives.regimes import find_regimes, levels_of
from gan_lab.synth.lives.sequential import SequentialTVAE
from tests.synth.lives.tables import (
    MACHINE_ROLES,
    SMALL,
)


@pytest.mark.slow
def test_regimes_are_found_and_can_be_overruled(table: pd.DataFrame) -> None:
    fewer = table.drop(columns=["state"])
    roles = MACHINE_ROLES.model_copy(update={"state": None})
    assert SequentialTVAE.fit(fewer, roles, SMALL).table.regime_columns == ["speed"]
    none = SMALL.model_copy(update={"regimes": "none"})
    assert SequentialTVAE.fit(fewer, roles, none).table.regimes == 1
    with pytest.raises(BadParameter, match="'heat' cannot make the regimes"):
        SequentialTVAE.fit(fewer, roles, SMALL.model_copy(update={"regimes": "heat"}))


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
    progress = np.tile(np.arange(40) / 40, 50)
    speed = np.repeat(rng.integers(0, 2, 400), 5)
    alarm = (progress > 0.7).astype(np.int64)
    numbers = np.column_stack([speed * 5 + rng.normal(size=2_000), alarm * 9.0 + speed])
    names, regime = find_regimes({"speed": speed, "alarm": alarm}, numbers, progress)
    assert names == ["speed"] and (regime == speed).all()
    names, regime = find_regimes({"alarm": alarm}, numbers, progress)
    assert names == [] and not regime.any()
