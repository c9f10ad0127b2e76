"""Lives: as many, as long and of such modes as asked for."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.lives import apportion, choose_shares, draw_life_hours, lay_rows, recur
from gan_lab.synth.simulator.simulate import simulate
from gan_lab.workspace.profiles import Profile


def test_life_hours_have_the_mean_and_spread_of_the_profile(motor: Profile) -> None:
    life = motor.life
    assert life is not None
    hours = draw_life_hours(life, 200_000, np.random.default_rng(0))
    assert hours.mean() == pytest.approx(life.mean_h, rel=0.01)
    assert hours.std() == pytest.approx(life.spread_h, rel=0.02)
    assert hours.min() > 0


def test_a_division_leaves_nothing_over() -> None:
    parts = apportion(10, np.array([1.0, 1.0, 1.0]))
    assert sorted(parts.tolist()) == [3, 3, 4]
    assert apportion(7, np.array([0.0, 1.0]), at_least=2).tolist() == [2, 5]


def test_shares_that_are_not_named_keep_their_proportion() -> None:
    shares = choose_shares({"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.75})
    assert shares.tolist() == pytest.approx([0.75, 0.15, 0.1])


def test_lives_may_be_asked_for_instead_of_rows(motor: Profile) -> None:
    table = simulate(motor, SeedConfig(lives=7))
    assert table["life"].unique().tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert 7 * 100 < len(table) < 7 * 300


def test_a_recursion_starts_anew_with_each_life() -> None:
    rng = np.random.default_rng(0)
    rows = lay_rows(np.array([3, 1, 4]), 1.0, rng)
    source = rng.random(8)
    expected = source.copy()
    for row in (1, 2, 5, 6, 7):
        expected[row] += 0.7 * expected[row - 1]
    assert recur(source, 0.7, rows) == pytest.approx(expected)
