"""How much rows of a unit weigh in the posterior of its remaining life."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.lives.prognosis.remaining_life import Posterior, row_weights


def test_what_rows_are_worth_together_grows_as_the_root_of_their_number() -> None:
    ages = np.array([25.0, 50.0, 100.0, 400.0])
    together = row_weights(0.1, ages, span=100.0) * ages
    np.testing.assert_allclose(together / together[1], np.sqrt(ages / 50.0))
    assert row_weights(0.1, ages, span=100.0)[1] == 0.1  # in the middle of a typical life
    assert row_weights(0.5, np.zeros(1), span=100.0)[0] == 1.0  # no row says more than it says


def test_a_widened_posterior_keeps_its_middle_and_pushes_its_ends_out() -> None:
    rng = np.random.default_rng(0)
    edges = np.linspace(0.0, 100.0, 241)[None]
    middles = (edges[:, 1:] + edges[:, :-1]) / 2
    bell = np.exp(-(((middles - 50.0) / 8.0) ** 2) / 2)
    two = np.stack([0.75 * bell, 0.25 * bell], axis=1)  # of two combinations of conditions
    narrow = Posterior(edges, two / two.sum())
    wide = narrow.widened(0.5)
    np.testing.assert_allclose(wide.probability.sum(), 1.0)
    np.testing.assert_allclose(wide.probability.sum(axis=2), [[0.75, 0.25]])
    low, middle, high = wide.quantiles(np.array([0.05, 0.5, 0.95]))[0]
    np.testing.assert_allclose(middle, 50.0, atol=1e-6)
    assert high - low > 1.3 * np.diff(narrow.quantiles(np.array([0.05, 0.95]))[0])[0]
    # What a Beta(0.5, 0.5) says of shares of the narrow one is even once it is widened.
    truth = narrow.quantiles(rng.beta(0.5, 0.5, 4_000))[0]
    again = np.repeat(wide.probability, len(truth), axis=0), np.repeat(edges, len(truth), axis=0)
    below = Posterior(again[1], again[0]).share_below(truth)
    assert abs((below < 0.05).mean() - 0.05) < 0.015 and abs((below > 0.9).mean() - 0.1) < 0.02
