"""What a structure explains is asked of lives it was not fitted to."""

import numpy as np

from gan_lab.synth.lives.evidence import folds_of, level_gain, without_wear
from gan_lab.synth.lives.packed import Packed


def test_wear_and_the_level_of_a_life_come_off_and_the_rest_stays() -> None:
    rng = np.random.default_rng(0)
    packed = Packed(np.full(12, 200))
    noise = rng.normal(size=len(packed.life))
    level = rng.normal(0, 20, 12)[packed.life]
    progress = packed.age / 200
    wears = level + 30 * progress**2 + 15 * np.exp(8 * (progress - 1)) + noise
    left = without_wear(np.stack([wears, noise], axis=1), packed)
    assert np.corrcoef(left[:, 0], noise)[0, 1] > 0.97
    assert np.corrcoef(left[:, 1], noise)[0, 1] > 0.97


def test_lives_of_few_rows_and_gaps_are_no_obstacle() -> None:
    packed = Packed(np.array([1, 2, 3, 5]))
    values = np.arange(22.0).reshape(11, 2)
    values[3, 1] = np.nan
    assert np.isfinite(without_wear(values, packed)).all()


def test_what_wear_says_all_of_is_nothing() -> None:
    packed = Packed(np.full(5, 400))
    assert not without_wear(np.full((2000, 1), 7.0), packed).any()


def test_a_life_is_in_one_fold_and_one_life_alone_in_two() -> None:
    packed = Packed(np.array([30, 10, 20, 40, 10, 10, 10]))
    fold = folds_of(packed)
    assert len(np.unique(fold)) == 5
    assert all(len(np.unique(fold[packed.life == life])) == 1 for life in range(7))
    assert np.bincount(folds_of(Packed(np.array([100])))).tolist() == [50, 50]


def test_levels_explain_their_share_and_chance_explains_nothing() -> None:
    rng = np.random.default_rng(0)
    packed = Packed(np.full(10, 200))
    code = rng.integers(0, 2, 2000)
    moved = 2.0 * code + rng.normal(size=2000)  # variance 1 of the levels, 1 of the noise
    fold = folds_of(packed)
    assert abs(level_gain(code, moved[:, None], fold) - 0.5) < 0.05
    for levels in (2, 12, 30):
        chance = rng.integers(0, levels, 2000)
        assert level_gain(chance, rng.normal(size=(2000, 20)), fold) < 0.005
