"""What rows owe to those before them: memory, what stands still, and what forgets."""

import numpy as np
import pytest

from gan_lab.synth.lives import memory
from gan_lab.synth.lives.memory import Autoregression, past_averages
from gan_lab.synth.lives.packed import Floats, Ints, Packed


@pytest.fixture(scope="module")
def packed() -> Packed:
    return Packed(np.random.default_rng(0).integers(80, 200, 40))


@pytest.fixture(scope="module")
def regime(packed: Packed) -> Ints:
    rng = np.random.default_rng(1)
    return np.cumsum(rng.random(len(packed.life)) < 0.15) % 2


def autoregressive(packed: Packed, own: float, other: float) -> Floats:
    """Two columns, each of which remembers itself and the other."""
    found = np.random.default_rng(2).normal(size=(len(packed.life), 2))
    for row in np.flatnonzero(packed.age > 0):
        found[row] += own * found[row - 1] + other * found[row - 1, ::-1]
    return found


def fit(residual: Floats, packed: Packed, still: list[list[bool]]) -> Autoregression:
    return Autoregression.fit(residual, packed, np.array(still), packed.life % 4 == 0)


def test_averages_of_the_past_are_of_the_rows_before(packed: Packed) -> None:
    values = np.random.default_rng(3).normal(size=(len(packed.life), 1))
    found = past_averages(values, packed, [0.0, 0.8])
    assert not found[packed.age == 0].any()
    for row in np.random.default_rng(4).integers(len(values), size=50):
        before = values[packed.starts[packed.life[row]] : row, 0]
        mean = before[0] if len(before) else 0.0
        for value in before[1:]:
            mean = 0.8 * mean + 0.2 * value
        last = before[-1] if len(before) else 0.0
        assert found[row] == pytest.approx([last, mean])


@pytest.mark.parametrize(("own", "other"), [(0.9, 0.0), (0.5, 0.4), (0.0, 0.0)])
def test_what_is_left_is_noise_and_drawing_undoes_it(
    packed: Packed, regime: Ints, own: float, other: float
) -> None:
    residual = autoregressive(packed, own, other)
    past = fit(residual, packed, [[False] * 2] * 2)
    innovation = past.transform(residual, packed, regime)
    assert innovation.var(axis=0) == pytest.approx([1.0, 1.0], abs=0.08)
    again = past.inverse_transform(innovation, packed, regime)
    np.testing.assert_allclose(again, residual, atol=1e-9)


def test_of_many_rows_some_lives_tell(
    packed: Packed, regime: Ints, monkeypatch: pytest.MonkeyPatch
) -> None:
    residual = autoregressive(packed, 0.8, 0.1)
    monkeypatch.setattr(memory, "FIT_ROWS", 1_500)
    for asked in (packed.life % 4 == 0, packed.life == 7):  # few are held out, and still decide
        some = Autoregression.fit(residual, packed, np.zeros((2, 2), dtype=bool), asked)
        assert some.transform(residual, packed, regime).var() < 1.2


def test_a_recursion_that_grows_is_shrunk_until_a_shock_dies_away() -> None:
    packed = Packed(np.full(40, 60))
    grown = np.zeros((len(packed.life), 1))
    grown[packed.age == 0] = 1.0
    for row in np.flatnonzero(packed.age > 0):
        grown[row] = 1.05 * grown[row - 1]
    past = fit(grown, packed, [[False]])
    one = Packed(np.array([3_000]))
    shock = np.zeros((3_000, 1))
    shock[0] = grown.max()
    drawn = past.inverse_transform(shock, one, np.zeros(3_000, dtype=np.int64))
    assert np.abs(drawn[-1]) < 0.1 * shock[0]


def test_what_stands_still_stays_so(packed: Packed, regime: Ints) -> None:
    residual = autoregressive(packed, 0.9, 0.0)
    residual[regime == 1, 0] = 0.0
    past = fit(residual, packed, [[False, False], [True, False]])
    noise = np.random.default_rng(5).normal(size=residual.shape)
    drawn = past.inverse_transform(noise, packed, regime)
    assert (drawn[regime == 1, 0] == 0).all() and drawn[regime == 0, 0].all()
    assert (past.transform(residual, packed, regime)[regime == 1, 0] == 0).all()


def test_nothing_is_said_of_the_past_of_noise(packed: Packed, regime: Ints) -> None:
    residual = np.random.default_rng(7).normal(size=(len(regime), 2))
    assert not fit(residual, packed, [[False] * 2] * 2)
