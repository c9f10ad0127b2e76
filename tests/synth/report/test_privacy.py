"""Memory is found where it was planted and only there, whichever lives were drawn or held out."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from gan_lab.schema import Roles
from gan_lab.synth.report.compared_tables import compare
from gan_lab.synth.report.evaluate import evaluate
from gan_lab.synth.report.privacy import Privacy, privacy
from gan_lab.synth.report.windows import windows_of
from tests.synth.report.samples import WEARING, Parts, three, wearing

SENSORS = ["heat", "vibration", "pressure", "hum"]


def noisy(table: pd.DataFrame, deviations: float, seed: int = 0) -> pd.DataFrame:
    """The same rows with noise on each sensor, in its standard deviations."""
    noise = np.random.default_rng(seed).normal(0, deviations, (len(table), len(SENSORS)))
    return table.assign(**(table[SENSORS] + noise * table[SENSORS].std().to_numpy()))


def figures(tables: Parts, roles: Roles = WEARING) -> Privacy:
    sides = compare(*tables, roles, None, 0)
    return privacy(sides, tables[0], tables[1], windows_of(sides))


def test_lives_that_are_training_lives_with_noise_are_remembered() -> None:
    drawn, train, holdout = three()
    fresh = figures((drawn, train, holdout))
    close = figures((noisy(train, 0.1), train, holdout))
    assert set(fresh.memory) == {"rows", "windows", "lives"}
    for view in fresh.memory:
        assert fresh.memory[view].low < 0.5 < close.memory[view].low  # type: ignore[operator]
    assert close.copies == 0


def test_memory_shows_in_rows_without_lives() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(4_000, 6)), columns=list("abcdef"))
    train, holdout, fresh = table[:1500], table[1500:2500], table[2500:]
    close = train + rng.normal(0, 0.1, train.shape)
    for drawn, remembers in ((fresh, False), (close, True)):
        found = figures((drawn, train, holdout), Roles())
        assert (found.memory["rows"].low > 0.6) == remembers  # type: ignore[operator]


def test_of_equal_rows_none_is_nearer() -> None:
    table = pd.DataFrame({"a": np.arange(900) % 3, "b": np.arange(900) % 5})
    found = figures((table[:300], table[300:700], table[700:]), Roles()).memory["rows"]
    assert found.low < 0.5 < found.high  # type: ignore[operator]


@pytest.mark.parametrize(
    ("lives", "held", "seeds"),
    [
        (16, 4, range(4)),
        pytest.param(16, 4, range(4, 20), marks=pytest.mark.slow),
        pytest.param(80, 20, range(12), marks=pytest.mark.slow),
    ],
)
def test_the_verdict_does_not_turn_on_the_draw(lives: int, held: int, seeds: range) -> None:
    """No second real sample is accused, and every planted memory is found."""
    for seed in seeds:
        drawn, train, holdout = three(seed, (lives, lives, held))
        alike = figures((drawn, train, holdout)).memory
        planted = figures((noisy(train, 0.2, seed), train, holdout)).memory
        assert max(each.low or 0 for each in alike.values()) < 0.6, seed
        assert max(each.low or 0 for each in planted.values()) > 0.5, seed


@pytest.mark.slow
def test_thousands_of_lives_are_judged_in_seconds() -> None:
    tables = wearing(300, 0, 12), wearing(2_100, 1, 12), wearing(400, 2, 12)
    start = time.perf_counter()
    found = evaluate(*tables, WEARING)
    assert found.verdict.level == "good", found.verdict.headline
    assert found.privacy.memory["lives"].low < 0.5  # type: ignore[operator]
    assert time.perf_counter() - start < 60


def test_copies_are_counted_in_the_whole_table() -> None:
    drawn, train, holdout = three()
    both = pd.concat([drawn, train.head(len(drawn) // 4)], ignore_index=True)
    assert figures((both, train, holdout)).copies == pytest.approx(0.2)


def test_small_and_odd_tables_are_judged_all_the_same() -> None:
    number = pd.Series([1.0, 2.0, np.inf, np.nan] * 10)
    odd = [
        (pd.DataFrame({"p": list("ab") * 20, "q": list("aabb") * 10}), Roles()),
        (pd.DataFrame({"p": np.ones(40), "q": np.ones(40)}), Roles()),
        (pd.DataFrame({"p": number, "q": number[::-1].to_numpy(), "r": number > 1}), Roles()),
        (pd.DataFrame({"life": range(40), "p": np.arange(40.0)}), Roles(life="life")),
    ]
    for table, roles in odd:
        found = figures((table, table, table), roles)
        assert found.near_copies == found.near_copies_real
