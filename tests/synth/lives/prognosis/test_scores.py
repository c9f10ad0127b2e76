"""Scores against what their formulas give by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from gan_lab.synth.lives.prognosis import scores

LEVELS = np.arange(1, 200) / 200


def test_crps_of_a_point_is_the_error_and_of_a_normal_its_formula() -> None:
    truth = np.array([3.0, -1.0])
    assert scores.crps(truth, np.zeros((2, 199))) == pytest.approx([3, 1])
    normal = norm.ppf(LEVELS)[None]
    z = 0.7
    known = z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)
    assert scores.crps(np.array([z]), normal)[0] == pytest.approx(known, rel=0.02)


def test_interval_score_adds_what_was_missed() -> None:
    found = scores.interval_score(np.array([5.0, 12.0]), np.zeros(2), np.full(2, 10.0), 0.9)
    assert found == pytest.approx([10, 10 + 20 * 2])


def test_coverage_is_counted() -> None:
    truth = np.random.default_rng(0).normal(size=4000)
    found = scores.scores(truth, np.tile(norm.ppf(LEVELS), (4000, 1)))
    assert found["coverage_90"] == pytest.approx(0.9, abs=0.02)
    assert found["coverage_50"] == pytest.approx(0.5, abs=0.03)
    assert found["width_90"] == pytest.approx(2 * 1.645, rel=0.01)
    assert found["rmse"] == pytest.approx(1, abs=0.03)
