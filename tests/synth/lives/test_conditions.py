"""What a request wants of lives is met, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.errors import BadParameter
from gan_lab.schema import GenerateConfig
from gan_lab.synth.lives.sequential import SequentialTVAE
from tests.synth.lives.tables import (
    ROLES,
    draw,
    fit,
    of_each,
    simple_lives,
)


def test_failure_modes_are_honoured(model: SequentialTVAE) -> None:
    asked = GenerateConfig(failure_modes={"bearing": 0.7})
    drawn = draw(model, lives=200, conditions=asked)
    assert (drawn.groupby("machine")["failure_mode"].first() == "bearing").mean() == pytest.approx(
        0.7, abs=0.02
    )


def test_states_are_honoured(model: SequentialTVAE) -> None:
    drawn = draw(model, lives=400, conditions=GenerateConfig(states={"idle": 0.6}))
    assert (drawn["state"] == "idle").mean() == pytest.approx(0.6, abs=0.02)


def test_what_cannot_be_asked_is_named(model: SequentialTVAE) -> None:
    with pytest.raises(BadParameter, match="'gearbox'.*bearing"):
        draw(model, lives=5, conditions=GenerateConfig(failure_modes={"gearbox": 0.5}))
    with pytest.raises(BadParameter, match="state was asked of a model of lives"):
        draw(model, lives=5, conditions=GenerateConfig(conditions={"state": "idle"}))
    with pytest.raises(BadParameter, match="rows or for lives"):
        draw(model)


def test_the_rest_keeps_its_natural_proportions() -> None:
    table = simple_lives(60)
    modes, sites = np.repeat(["a", "b", "c"], [40, 15, 5]), np.array(["n", "s"])[np.arange(60) % 2]
    table["mode"], table["site"] = of_each(table, modes), of_each(table, sites)
    model = fit(table, ROLES.model_copy(update={"failure_mode": "mode"}))
    drawn = draw(model, lives=100, conditions=GenerateConfig(failure_modes={"a": 0.2}))
    shares = drawn.groupby("unit")["mode"].first().value_counts(normalize=True)
    assert shares[["a", "b", "c"]].tolist() == pytest.approx([0.2, 0.6, 0.2], abs=0.02)


def test_failure_modes_that_are_missing() -> None:
    table, roles = simple_lives(60), ROLES.model_copy(update={"failure_mode": "mode"})
    table["mode"] = of_each(table, np.repeat([1.0, 2.0, np.nan], 20))
    table["rul"] = table["rul"].where(table["mode"].notna())
    table.loc[table["mode"] == 2.0, "rul"] = np.nan
    model = fit(table, roles)
    assert model.failure_modes == ["1", "2"]
    drawn = draw(model, lives=20, conditions=GenerateConfig(failure_modes={"1": 1.0}))
    assert (drawn["mode"] == 1.0).all()


def test_states_that_are_numbers_and_missing_at_times() -> None:
    table, roles = simple_lives(), ROLES.model_copy(update={"state": "gear"})
    gear = np.repeat(np.random.default_rng(0).choice([0, 1, 2, np.nan], len(table) // 8), 8)
    table["gear"] = gear
    model = fit(table, roles)
    assert model.states == ["0", "1", "2"]
    drawn = draw(model, lives=100, conditions=GenerateConfig(states={"1": 0.7}))
    assert (drawn["gear"] == 1).mean() == pytest.approx(0.7, abs=0.02)
    assert set(draw(model, lives=100, conditions=GenerateConfig(states={"1": 1.0}))["gear"]) == {1}
