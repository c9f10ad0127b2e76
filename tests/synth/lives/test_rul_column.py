"""A column of remaining useful life: linear, capped, where lives are censored; what is refused."""

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadTable
from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.rul_column import RulColumn

PACKED = Packed(np.array([60, 90, 75]))
ELAPSED = PACKED.age.astype(float)
LEFT = (np.diff(PACKED.starts) - 1)[PACKED.life] - ELAPSED


def fit(rul: np.ndarray, elapsed: np.ndarray = ELAPSED) -> tuple[RulColumn, np.ndarray]:
    return RulColumn.fit(pd.Series(rul, name="rul"), elapsed, PACKED)


def test_a_line_with_a_cap_comes_back() -> None:
    rul = np.minimum(8 * LEFT, 320.0)
    column, remaining = fit(rul)
    assert (column.rate, column.cap, column.lowest) == (8, 320, 0)
    np.testing.assert_allclose(remaining, LEFT)
    assert column.at(remaining).tolist() == rul.tolist()


def test_a_life_that_is_not_seen_to_its_end_has_a_distance_left() -> None:
    cut = PACKED.life == 1
    column, remaining = fit(np.where(cut, LEFT + 25, LEFT))
    assert remaining[cut][-1] == 25 and remaining[~cut][-1] == 0
    column, remaining = fit(np.where(cut, np.nan, LEFT))
    assert np.isnan(remaining[cut]).all()
    assert column.at(remaining).isna().equals(pd.Series(cut))


@pytest.mark.parametrize(
    ("rul", "elapsed", "says"),
    [
        (ELAPSED, ELAPSED, "does not fall evenly"),
        (np.full(len(LEFT), np.nan), ELAPSED, "no numbers"),
        (np.sqrt(LEFT) * 10, ELAPSED, "off a straight line"),
        (LEFT / (LEFT + ELAPSED), ELAPSED, "does not fall evenly"),
        (LEFT, np.zeros(len(LEFT)), "does not fall evenly"),
    ],
)
def test_what_is_no_rul_is_refused(rul: np.ndarray, elapsed: np.ndarray, says: str) -> None:
    with pytest.raises(BadTable, match=says) as caught:
        fit(rul, elapsed)
    assert "'rul'" in str(caught.value)
