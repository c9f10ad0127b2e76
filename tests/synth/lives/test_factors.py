"""What few lives have in common."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from gan_lab.synth.lives.factors import factor_covariance


def test_columns_of_chance_share_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(48, 60))
    covariance, factors = factor_covariance(values)
    assert factors == 0
    assert np.allclose(covariance, np.diag(values.var(axis=0)))


@pytest.mark.parametrize("shared", [1, 3])
def test_what_columns_share_is_found_and_chance_beside_it_is_not(shared: int) -> None:
    """Beside a strong factor Ledoit and Wolf's shrinkage keeps the correlations of chance."""
    rng = np.random.default_rng(shared)
    loading = rng.normal(size=(shared, 60)) * (rng.random(60) < 0.5)
    values = rng.normal(size=(48, shared)) @ loading + rng.normal(size=(48, 60))
    covariance, factors = factor_covariance(values)
    assert factors == shared
    alone = np.flatnonzero(~loading.any(axis=0))  # no factor is theirs

    def chance(found: np.ndarray) -> float:
        among = found[np.ix_(alone, alone)]
        return float(np.abs(among - np.diag(among.diagonal())).mean())

    assert chance(covariance) < 0.75 * chance(ledoit_wolf(values)[0])
    together = loading.T @ loading
    much = np.abs(together) > 1
    assert np.array_equal(np.sign(covariance[much]), np.sign(together[much]))


def test_units_and_constant_columns_are_kept() -> None:
    rng = np.random.default_rng(2)
    values = np.column_stack([rng.normal(size=(40, 3)) @ rng.normal(size=(3, 5)), np.full(40, 0.1)])
    unit = np.array([1, 1e-6, 1e6, 3, 0.5, 2])
    covariance, factors = factor_covariance(values)
    scaled, same = factor_covariance(values * unit)
    assert same == factors
    assert np.allclose(scaled, covariance * np.outer(unit, unit), rtol=1e-6, atol=0)
    assert not covariance[5].any() and not covariance[:, 5].any()


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_too_few_rows_confirm_no_factor(rows: int) -> None:
    shared = np.arange(rows, dtype=np.float64)[:, None] * np.array([1.0, 2.0])
    covariance, factors = factor_covariance(shared)
    assert factors == 0
    assert covariance[0, 1] == 0 and np.all(np.isfinite(covariance))


def test_columns_that_are_one_another_have_a_covariance_with_a_root() -> None:
    one = np.random.default_rng(3).normal(size=30)
    covariance, factors = factor_covariance(np.column_stack([one, one, -one]))
    assert factors == 1
    assert np.all(np.linalg.eigvalsh(covariance) > 0)
    assert covariance[0, 2] < -0.9 * covariance[0, 0]
