"""What ties the columns of a row together, and back."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.lives.dependence import Dependence


def test_nothing_of_what_stands_still_gets_into_other_columns() -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(size=(2_000, 3))
    values[:, 1] += values[:, 0]
    still = np.zeros(values.shape, dtype=bool)
    still[:15, 0] = True
    values[still] = 0.0
    dependence = Dependence.fit(values)
    alone = dependence.transform(values)
    alone[still] = 5.0  # what a network draws there, which nobody shall see
    np.testing.assert_allclose(dependence.inverse_transform(alone, still), values, atol=1e-6)


def test_a_law_between_columns_is_taken_out_and_put_back() -> None:
    rng = np.random.default_rng(0)
    current = rng.normal(size=4_000)
    values = np.column_stack([current, 2 * current + 0.01 * rng.normal(size=4_000)])
    dependence = Dependence.fit(values)
    left = dependence.transform(values)
    assert np.abs(np.corrcoef(left.T)[0, 1]) < 0.2
    free = np.zeros(values.shape, dtype=bool)
    np.testing.assert_allclose(dependence.inverse_transform(left, free), values, atol=1e-9)
    drawn = dependence.inverse_transform(rng.normal(size=left.shape), free)
    assert (drawn[:, 1] - 2 * drawn[:, 0]).std() < 0.1 * drawn[:, 1].std()
