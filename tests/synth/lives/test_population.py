"""How lives differ from one another."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.synth.lives.population import Population, shrunk_covariance


def test_a_number_that_tells_no_lives_apart_is_left_at_rest() -> None:
    """Its variance is the prior's, and what the curve makes of it is noise; what a used number is
    not known by belongs to how lives differ."""
    rng, none = np.random.default_rng(0), np.zeros(60, dtype=np.int64)
    means = np.column_stack([rng.normal(0, 0.9, 60), rng.normal(0, 0.01, 60)])
    population = Population.fit(means, none, 1, np.array([0.2, 1.0]))
    drawn = population.draw(np.zeros(4_000, dtype=np.int64), rng)
    apart = means[:, 0].var()
    known = apart + 0.2 * apart / (apart + 0.2)
    assert drawn[:, 0].var() == pytest.approx(61 / 59 * known, abs=0.02)
    assert drawn[:, 1].std() < 0.02


def test_few_lives_are_drawn_wider_than_they_lie() -> None:
    rng, none = np.random.default_rng(0), np.zeros(4_000, dtype=np.int64)
    for lives, wider in ((5, 1.5), (200, 1.01)):
        scores = rng.normal(size=(lives, 1))
        drawn = Population.fit(scores, none[:lives], 1, np.zeros(1)).draw(none, rng)
        assert drawn.var() == pytest.approx(wider * scores.var(), rel=0.05)


def test_correlations_of_few_lives_are_shrunk_unless_they_are_strong() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(12, 20)) * np.r_[np.ones(19), 5.0]
    common = rng.normal(size=(12, 1)) + 0.1 * rng.normal(size=(12, 20))
    noise[:, 3] = 7.0  # the same in every life
    for values, least, most in ((noise, 0.0, 0.1), (common, 0.8, 1.0)):
        found = shrunk_covariance(values)
        np.testing.assert_allclose(np.diag(found), values.var(axis=0), rtol=0.15)
        spread = np.sqrt(np.maximum(np.diag(found), 1e-9))
        correlation = np.abs(found / np.outer(spread, spread))[np.triu_indices(20, 1)]
        assert least <= correlation.mean() <= most


def test_hidden_groups_are_found_and_chance_makes_none() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(6):
        lives = int(rng.integers(25, 60))
        none = np.zeros(lives, dtype=np.int64)
        scores = rng.normal(size=(lives, 7)) * rng.uniform(0.2, 2.0, size=7)
        assert len(Population.fit(scores, none, 1, np.zeros(7)).shares) == 1
        hidden = np.arange(lives) % 3 == 0
        scores[:, 2] = np.where(hidden, 3.0, -1.0) + 0.3 * rng.normal(size=lives)
        found.append(Population.fit(scores, none, 1, np.zeros(7)).shares)
    two = [shares for shares in found if len(shares) == 2]
    assert len(two) >= 4 and max(map(len, found)) == 2
    assert np.min(two, axis=1) == pytest.approx(1 / 3, abs=0.04)
