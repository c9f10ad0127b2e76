"""A table of lives as a training sees it."""

from __future__ import annotations

import numpy as np

from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.drivers import LAGS
from gan_lab.synth.lives.training_lives import TrainingLives, choose_held_out
from tests.synth.lives.tables import (
    ROLES,
    SMALL,
    simple_lives,
)


def test_a_row_still_tells_the_load_of_fifty_rows_ago() -> None:
    """What lags it by so many, as oil does, could not be told from it otherwise."""
    table = simple_lives(24, 60)
    table["state"] = np.where((table["t"] < 10) & (table["unit"] % 2 == 0), "load", "idle")
    found = TrainingLives(table, ROLES.model_copy(update={"state": "state"}), SMALL)
    last = found.features[found.packed.starts[1:] - 1]
    assert np.ptp(last, axis=0).max() > 0.3


def test_an_eighth_of_the_lives_is_held_out_and_none_of_few() -> None:
    held_out = choose_held_out(50, TrainConfig(seed=1))
    assert held_out.sum() == 6
    assert (held_out == choose_held_out(50, TrainConfig(seed=1))).all()
    assert (held_out != choose_held_out(50, TrainConfig(seed=2))).any()
    assert choose_held_out(5_000, TrainConfig()).sum() == 200
    assert not choose_held_out(7, TrainConfig()).any()
    assert not choose_held_out(50, TrainConfig(early_stopping=False)).any()


def test_without_held_out_lives_others_decide_on_terms() -> None:
    many = TrainingLives(simple_lives(4), ROLES, SMALL)
    assert not many.held_out.any()
    assert (many.validation == (many.packed.life % 2 == 1)).all()
    one = TrainingLives(simple_lives(1, rows=800), ROLES, SMALL)
    assert one.validation.sum() == 198 and not one.validation[:301].any()


def test_with_drivers_the_curve_sees_each_row_twice() -> None:
    table = simple_lives()
    table["load"] = np.random.default_rng(1).normal(size=len(table))
    config = SMALL.model_copy(update={"drivers": "load"})
    lives = TrainingLives(table, ROLES, config)
    every = np.ones(24, dtype=bool)
    data = lives.curve_data(every)
    plain = TrainingLives(table, ROLES, SMALL.model_copy(update={"drivers": "none"}))
    features = plain.curve_data(every).features
    assert data.features.shape == (2 * len(table), features.shape[1] + len(LAGS))
    assert not data.features[: len(table), -len(LAGS) :].any()
    assert data.known is not None
    heat, load = data.known[: len(table)].T  # first the driver by itself, then what follows it
    assert not heat.any() and load.all()
    heat, load = data.known[len(table) :].T
    assert heat.all() and not load.any()
    assert data.rows.tolist() == [80] * 24
