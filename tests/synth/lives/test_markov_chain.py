"""Chains of symbols: what follows, how long it lasts, and in which shares."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.synth.lives.markov_chain import MarkovChain
from gan_lab.synth.lives.packed import Ints, Packed


@pytest.fixture
def shifts() -> tuple[Ints, Ints, Packed]:
    """Three rows of 0, then five of 1, in turns; in context 1 it is always 2."""
    packed = Packed(np.full(40, 80))
    context = packed.age // 40
    return np.where(context == 1, 2, (packed.age % 8 >= 3).astype(np.int64)), context, packed


def test_a_chain_remembers_how_long_a_symbol_lasts() -> None:
    packed = Packed(np.full(40, 80))
    symbols, none = (packed.age % 8 >= 3).astype(np.int64), np.zeros_like(packed.age)
    chain = MarkovChain.fit(symbols, none, packed, 2, 1)
    drawn = chain.draw(none, packed, np.random.default_rng(0))
    assert (drawn[packed.age == 0] == 0).mean() > 0.9
    starts = np.flatnonzero((np.diff(drawn, prepend=-1) != 0) | (packed.age == 0))
    lengths, first = np.diff(starts), drawn[starts[:-1]]
    whole = packed.age[starts[1:]] > 0  # not cut by the end of a life
    for symbol, rows in ((0, 3), (1, 5)):  # a chain without memory: 0.15 and 0.08
        assert (lengths[whole & (first == symbol)] == rows).mean() > 0.8


def test_a_context_has_symbols_of_its_own(shifts: tuple[Ints, Ints, Packed]) -> None:
    symbols, context, packed = shifts
    chain = MarkovChain.fit(symbols, context, packed, 3, 2)
    drawn = chain.draw(context, packed, np.random.default_rng(0))
    late, early = ((drawn[context == each] == 2).mean() for each in (1, 0))
    assert late > 0.7 and early < 0.3  # without a context as often in both


def test_shares_of_symbols_can_be_chosen(shifts: tuple[Ints, Ints, Packed]) -> None:
    symbols, context, packed = shifts
    chain = MarkovChain.fit(symbols, np.zeros_like(context), packed, 3, 1)
    none = np.zeros_like(context)
    shares = np.array([0.7, 0.3, 0.0])
    wanted = chain.with_shares(shares, none, packed, 5)
    drawn = wanted.draw(none, packed, np.random.default_rng(5))
    assert np.bincount(drawn, minlength=3) / len(drawn) == pytest.approx(shares, abs=0.02)
