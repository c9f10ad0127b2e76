"""The level of each column in each life."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from gan_lab.synth.lives.level import MIN_ROWS, LifeLevel, estimate_levels, level_root
from gan_lab.synth.lives.packed import Packed


def test_levels_of_lives_differ_as_those_of_held_out_ones_do() -> None:
    rng, held_out = np.random.default_rng(0), np.arange(400) >= 300
    offset = rng.normal(0, [0.1, 0.3], (400, 2))
    root = level_root(offset, held_out)
    assert np.sqrt(np.diag(root @ root.T)) == pytest.approx([0.1, 0.3], rel=0.2)
    wider = level_root(np.where(held_out[:, None], 3 * offset, offset), held_out)
    half_way = 3**0.5  # of the threefold deviation, on a logarithmic scale
    assert np.sqrt(np.diag(wider @ wider.T)) / [0.1, 0.3] == pytest.approx(half_way, rel=0.2)


def levels_found(residual: np.ndarray, packed: Packed) -> np.ndarray:
    """Return the variance of the levels that lives are drawn with, (columns,)."""
    guess, differ = estimate_levels(residual, packed)
    return np.asarray((differ * guess).var(axis=0))


def test_a_mean_that_a_long_memory_brings_about_is_no_level() -> None:
    """The past draws it anew: as a level it would be drawn twice."""
    rng, lives, rows = np.random.default_rng(0), 400, 200
    packed = Packed(np.full(lives, rows))
    pushed = rng.normal(size=(lives, rows))
    drifting = lfilter([1.0], [1.0, -0.9], pushed, axis=1).reshape(-1)
    level = 2 * rng.normal(size=lives)
    found = levels_found(np.column_stack([drifting, level[packed.life] + drifting]), packed)
    by_chance = drifting.reshape(lives, rows).mean(axis=1).var()
    assert found[0] < 0.4 * by_chance
    assert found[1] == pytest.approx(level.var(), rel=0.1)


@pytest.mark.parametrize("lengths", [(20, 20), (12, 200), (5, 200)])
def test_levels_are_found_in_short_lives_and_long_ones(lengths: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    packed = Packed(np.repeat(lengths, 1_000))
    level = 0.5 * rng.normal(size=2_000)
    residual = (level[packed.life] + rng.normal(size=len(packed.life)))[:, None]
    assert levels_found(residual, packed) == pytest.approx(
        0.25 * np.mean(np.array(lengths) >= MIN_ROWS), rel=0.15
    )
    guess = estimate_levels(residual, packed)[0][:, 0]
    long = np.repeat(lengths, 1_000) == lengths[1]
    shrunk = 0.25 / (0.25 + 1 / lengths[1])
    assert np.polyfit(level[long], guess[long], 1)[0] == pytest.approx(shrunk, rel=0.05)


def test_where_most_of_a_column_is_missing_its_levels_are_what_is_left() -> None:
    rng, lives, rows = np.random.default_rng(2), 1_000, 400
    packed = Packed(np.full(lives, rows))
    level = 0.3 * rng.normal(size=lives)
    residual = level[packed.life] + rng.normal(size=lives * rows)
    late = packed.age >= rows // 4
    residual[late & (rng.random(len(residual)) < 0.97)] = np.nan
    assert levels_found(residual[:, None], packed) == pytest.approx(0.09, rel=0.15)


def test_one_life_has_no_level_beside_its_curve() -> None:
    guess, differ = estimate_levels(
        np.random.default_rng(0).normal(size=(50, 2)), Packed(np.array([50]))
    )
    assert not guess.any() and not (differ * guess).any()


def test_a_column_in_which_lives_hardly_differ_keeps_so() -> None:
    """Shrinking how columns go together takes nothing from one and gives it to another."""
    rng = np.random.default_rng(5)
    offset = rng.normal(size=(20, 30)) * np.r_[0.01, np.ones(29)]
    root = level_root(offset, np.zeros(20, dtype=bool))
    assert np.sqrt((root[0] ** 2).sum()) < 0.02


def test_levels_are_taken_off_and_drawn_anew() -> None:
    rng, packed = np.random.default_rng(3), Packed(np.full(200, 50))
    level = rng.normal(0, [0.5, 2.0], (200, 2))
    residual = level[packed.life] + rng.normal(size=(len(packed.life), 2))
    hidden = np.zeros((len(residual), 3), dtype=np.float32)
    held_out = np.arange(200) % 8 == 0
    found = LifeLevel.fit(
        residual, hidden, packed, held_out[packed.life], held_out, np.zeros(2, dtype=bool)
    )
    left = found.transform(residual, hidden, packed)
    assert left.std(axis=0) == pytest.approx([1.0, 1.0], abs=0.05)
    drawn = found.draw(500, rng)
    assert drawn.std(axis=0) == pytest.approx([0.5, 2.0], rel=0.15)
    again = found.inverse_transform(left, drawn[:200], hidden, packed)
    assert again - left == pytest.approx(drawn[packed.life])
