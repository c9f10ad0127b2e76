"""What ties the columns of a row together, and back."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.lives.dependence import Dependence


def test_dependence_lets_nothing_of_what_stands_still_into_other_columns() -> None:
    rng = np.random.default_rng(8)
    regime = np.repeat([0, 1], [2_000, 15])  # too few rows to know the second one's spread
    values = rng.normal(size=(len(regime), 3))
    values[:, 1] += values[:, 0]
    values[regime == 1, 0] = 0.0
    dependence = Dependence.fit(values, regime)
    still = np.array([[False] * 3, [True, False, False]])
    alone = dependence.transform(values, regime)
    alone[regime == 1, 0] = 5.0  # what a network draws there, which nobody shall see
    np.testing.assert_allclose(
        dependence.inverse_transform(alone, regime, still), values, atol=1e-6
    )


def test_a_law_between_columns_is_taken_out_in_each_regime_and_put_back() -> None:
    rng = np.random.default_rng(0)
    regime = np.arange(4_000) % 2
    current = rng.normal(size=4_000)
    slope = np.where(regime, 2.0, 1.0)
    values = np.column_stack([current, slope * current + 0.01 * rng.normal(size=4_000)])
    dependence = Dependence.fit(values, regime)
    left = dependence.transform(values, regime)
    assert np.abs(np.corrcoef(left.T)[0, 1]) < 0.2
    free = np.zeros((2, 2), dtype=bool)
    np.testing.assert_allclose(dependence.inverse_transform(left, regime, free), values, atol=1e-9)
    drawn = dependence.inverse_transform(rng.normal(size=left.shape), regime, free)
    assert (drawn[:, 1] - slope * drawn[:, 0]).std() < 0.1 * drawn[:, 1].std()
