"""How much rows of a unit weigh in the posterior of its remaining life."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.lives.prognosis.remaining_life import row_weights


def test_what_rows_are_worth_together_grows_as_the_root_of_their_number() -> None:
    ages = np.array([25.0, 50.0, 100.0, 400.0])
    together = row_weights(0.1, ages, span=100.0) * ages
    np.testing.assert_allclose(together / together[1], np.sqrt(ages / 50.0))
    assert row_weights(0.1, ages, span=100.0)[1] == 0.1  # in the middle of a typical life
    assert row_weights(0.5, np.zeros(1), span=100.0)[0] == 1.0  # no row says more than it says
