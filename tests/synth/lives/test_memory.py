"""What rows owe to those before them: memory by regime, what stands still, and what forgets."""

import numpy as np
import pytest

from gan_lab.synth.lives import memory
from gan_lab.synth.lives.memory import (
    DECAYS,
    Autoregression,
    past_averages,
    past_averages_in_regime,
)
from gan_lab.synth.lives.packed import Floats, Ints, Packed

LIMITS = np.full(2, -np.inf), np.full(2, np.inf)


@pytest.fixture(scope="module")
def packed() -> Packed:
    return Packed(np.random.default_rng(0).integers(80, 200, 40))


@pytest.fixture(scope="module")
def regime(packed: Packed) -> Ints:
    rng = np.random.default_rng(1)
    return np.cumsum(rng.random(len(packed.life)) < 0.15) % 2


def autoregressive(packed: Packed, regime: Ints, by_regime: tuple[float, float]) -> Floats:
    """Each regime goes on where it was last: own memory, own coefficient."""
    rng = np.random.default_rng(2)
    found = rng.normal(size=(len(packed.life), 2))
    last: dict[tuple[int, int], Floats] = {}
    for row, (life, now) in enumerate(zip(packed.life.tolist(), regime.tolist(), strict=True)):
        found[row] += by_regime[now] * last.get((life, now), np.zeros(2))
        last[life, now] = found[row]
    return found


def fit(residual: Floats, packed: Packed, regime: Ints, still: list[list[bool]]) -> Autoregression:
    return Autoregression.fit(residual, packed, regime, np.array(still), packed.life % 4 == 0)


def test_the_past_in_a_regime_is_that_of_its_own_rows(packed: Packed, regime: Ints) -> None:
    values = np.random.default_rng(3).normal(size=(len(regime), 1))
    found = past_averages_in_regime(values, packed, regime)
    for row in np.random.default_rng(4).integers(len(regime), size=50):
        before = np.flatnonzero((packed.life == packed.life[row]) & (regime == regime[row]))
        mine = values[before[before < row], 0]
        for place, decay in enumerate(DECAYS):
            mean = mine[0] if len(mine) else 0.0
            for value in mine[1:]:
                mean = decay * mean + (1 - decay) * value
            assert found[row, place] == pytest.approx(mean)


def test_regimes_remember_each_in_its_own_way(packed: Packed, regime: Ints) -> None:
    residual = autoregressive(packed, regime, (0.9, -0.7))
    past = fit(residual, packed, regime, [[False] * 2] * 2)
    innovation = past.transform(residual, packed, regime)
    assert innovation.var(axis=0) == pytest.approx([1.0, 1.0], abs=0.06)
    pooled = fit(residual, packed, np.zeros_like(regime), [[False] * 2])
    blind = pooled.transform(residual, packed, np.zeros_like(regime))
    assert (blind.var(axis=0) > 1.2).all()  # what one memory for all would leave unsaid


@pytest.mark.parametrize("by_regime", [(0.9, -0.7), (0.8, 0.8), (0.0, 0.0)])
def test_drawing_undoes_what_fitting_did(
    packed: Packed, regime: Ints, by_regime: tuple[float, float]
) -> None:
    residual = autoregressive(packed, regime, by_regime)
    past = fit(residual, packed, regime, [[False] * 2] * 2)
    innovation = past.transform(residual, packed, regime)
    again = past.inverse_transform(innovation, packed, regime)
    np.testing.assert_allclose(again, residual, atol=1e-9)


def test_of_many_rows_some_lives_tell_and_blocks_agree(
    packed: Packed, regime: Ints, monkeypatch: pytest.MonkeyPatch
) -> None:
    residual = autoregressive(packed, regime, (0.9, -0.7))
    whole = fit(residual, packed, regime, [[False] * 2] * 2)
    unblocked = whole.transform(residual, packed, regime)
    monkeypatch.setattr(memory, "BLOCK_ROWS", 500)
    again = whole.transform(residual, packed, regime)
    np.testing.assert_allclose(again, unblocked, atol=1e-12)
    monkeypatch.setattr(memory, "FIT_ROWS", 1_500)
    for asked in (packed.life % 4 == 0, packed.life == 7):  # few are held out, and still decide
        some = Autoregression.fit(residual, packed, regime, np.zeros((2, 2), dtype=bool), asked)
        assert some.transform(residual, packed, regime).var() < 1.2


def test_a_shock_dies_away_though_regimes_take_turns() -> None:
    packed = Packed(np.full(10, 400))
    regime = packed.age % 2
    wild = np.zeros((2, 16, 2))
    wild[0, 0, 1] = wild[1, 1, 0] = 2.0  # each by itself forgets at once, in turns they double
    unlimited = Autoregression(wild, np.zeros((2, 2), dtype=bool), *LIMITS)
    shock = np.zeros((len(regime), 2))
    shock[packed.age == 0] = 1.0
    late = packed.age >= 390
    assert unlimited.inverse_transform(shock, packed, regime)[late].max() > 1e9
    stable = unlimited.stable_over_regimes(packed, regime)
    assert np.abs(stable.inverse_transform(shock, packed, regime)[late]).max() <= 1.0


def test_what_stands_still_stays_so_and_is_remembered(packed: Packed, regime: Ints) -> None:
    residual = autoregressive(packed, regime, (0.9, 0.9))
    residual[regime == 1, 0] = 0.0
    past = fit(residual, packed, regime, [[False, False], [True, False]])
    noise = np.random.default_rng(5).normal(size=residual.shape)
    drawn = past.inverse_transform(noise, packed, regime)
    assert (drawn[regime == 1, 0] == 0).all()
    running = regime == 0
    before = past_averages_in_regime(drawn, packed, regime)[:, 0]
    later = running & (before != 0)
    assert np.corrcoef(before[later], drawn[later, 0])[0, 1] == pytest.approx(0.9, abs=0.04)


def test_nothing_is_said_of_the_past_of_noise(packed: Packed, regime: Ints) -> None:
    residual = np.random.default_rng(7).normal(size=(len(regime), 2))
    assert not fit(residual, packed, regime, [[False] * 2] * 2)
    assert not past_averages(residual, packed)[packed.age == 0].any()
