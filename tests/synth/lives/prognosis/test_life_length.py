"""The prior of a life's length: of few lives wide, and longer for lives that still run."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.lives.prognosis.life_length import LifeLength

LENGTHS = np.random.default_rng(0).lognormal(5, 0.3, 200)
ONE = np.zeros(200, dtype=np.int64)


def test_mean_and_spread_are_those_of_many_lives() -> None:
    found = LifeLength.fit(LENGTHS, np.zeros(200), ONE, 1)
    assert abs(found.mean[0] - np.log(LENGTHS).mean()) < 0.01
    assert abs(found.spread - np.log(LENGTHS).std()) < 0.02


def test_censored_lives_lengthen_the_prior_as_much_as_they_hide() -> None:
    rng = np.random.default_rng(1)
    bound = LENGTHS * np.where(rng.random(200) < 0.5, rng.uniform(0.3, 0.9, 200), 1)
    hidden = bound < LENGTHS
    blind = LifeLength.fit(bound, np.zeros(200), ONE, 1)
    found = LifeLength.fit(bound, hidden.astype(float), ONE, 1)
    truth = np.log(LENGTHS).mean()
    assert abs(found.mean[0] - truth) < 0.4 * abs(blind.mean[0] - truth)


def test_few_lives_leave_room_beyond_the_longest() -> None:
    few = LifeLength.fit(LENGTHS[:3], np.zeros(3), ONE[:3], 1)
    many = LifeLength.fit(LENGTHS, np.zeros(200), ONE, 1)
    beyond = np.array([6 * np.exp(5)])
    assert few.log_density(beyond, 0)[0] > many.log_density(beyond, 0)[0] + 3


def test_modes_have_lengths_of_their_own() -> None:
    combo = np.repeat([0, 1], 100)
    found = LifeLength.fit(LENGTHS * np.where(combo, 3.0, 1.0), np.zeros(200), combo, 2)
    assert abs(found.mean[1] - found.mean[0] - np.log(3)) < 0.15
