"""A category that changes shortly before the end of every life tells that end when drawn."""

import numpy as np

from gan_lab.synth.lives.failure_flag import FailureFlag
from gan_lab.synth.lives.packed import Packed

PACKED = Packed(np.array([20, 30, 25]))
REMAINING = (np.diff(PACKED.starts) - 1)[PACKED.life] - PACKED.age.astype(float)
COMBO = np.array([0, 1, 1])


def cells() -> np.ndarray:
    """Cell 0, and in the last three rows of a life 1 or, under the other conditions, 2."""
    return np.where(REMAINING < 3, 1 + COMBO[PACKED.life], 0).astype(np.int16)


def test_it_is_found_and_drawn_as_it_was() -> None:
    flag = FailureFlag.fit(cells(), REMAINING, PACKED, COMBO)
    assert flag == FailureFlag(2.5, 0, [[0, 3, 0], [0, 0, 6]])
    drawn = np.random.default_rng(0).integers(0, 3, len(REMAINING)).astype(np.int16)
    flag.apply(drawn, REMAINING, COMBO, PACKED, np.random.default_rng(0))
    assert drawn.tolist() == cells().tolist()


def test_what_changes_elsewhere_too_is_none() -> None:
    odd = cells()
    odd[10] = 1
    assert FailureFlag.fit(odd, REMAINING, PACKED, COMBO) is None
    assert FailureFlag.fit(np.zeros_like(odd), REMAINING, PACKED, COMBO) is None


def test_without_a_known_end_there_is_none() -> None:
    unknown = np.full(len(REMAINING), np.nan)
    assert FailureFlag.fit(cells(), unknown, PACKED, COMBO) is None
