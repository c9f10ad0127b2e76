"""The figures of lives, on lives whose figures are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench.lives import acf_error, autocorrelation, shuffled_lives, window_c2st, window_r2
from gan_lab.schema import Roles
from gan_lab.synth.report.windows import (
    sensors,
    window_width,
    windows,
)

ROLES = Roles(life="unit", time="cycle", rul="rul")


def wearing(lives: int, seed: int, first: int = 1, rows: int = 60) -> pd.DataFrame:
    """Lives whose level is their own and whose two sensors follow wear."""
    rng = np.random.default_rng(seed)
    unit, cycle = np.repeat(np.arange(lives), rows), np.tile(np.arange(rows), lives)
    wear = np.exp(-(rows - 1 - cycle) / 15)
    own = rng.normal(size=(lives, 2))[unit]
    noise = rng.normal(0, 0.3, (len(unit), 2))
    a, b = (own + noise + np.outer(wear, [3, -2])).T
    return pd.DataFrame(
        {"unit": unit + first, "cycle": cycle, "a": a, "b": b, "off": 0, "rul": rows - 1 - cycle}
    )


def test_window_figures_are_those_of_numpy() -> None:
    table = wearing(2, 0)
    found = windows(table, ROLES, ["a"], width=10)
    rows = table[table.unit == 2]["a"].to_numpy()[20:30]
    line = found.features[51 + 20]
    slope = np.polyfit(np.arange(10), rows, 1)[0]
    wanted = [rows.mean(), rows.std(), slope, rows[-1], np.abs(np.diff(rows)).mean()]
    assert line == pytest.approx(wanted, rel=1e-4)
    assert found.rul is not None
    assert found.rul[51 + 20] == table[table.unit == 2]["rul"].iloc[29]
    assert len(found.life) == 2 * 51


def test_order_of_the_rows_of_a_table_does_not_matter() -> None:
    table = wearing(3, 0)
    mixed = table.sample(frac=1, random_state=0)
    assert (windows(table, ROLES, ["a"]).features == windows(mixed, ROLES, ["a"]).features).all()


def test_autocorrelation_of_white_noise_and_of_a_line() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"unit": 1, "cycle": range(4000), "noise": rng.normal(size=4000)})
    table["line"] = table["cycle"].astype(float)
    found = autocorrelation(table, ROLES.model_copy(update={"rul": None}), ["noise", "line"])
    assert np.abs(found[:, 0]).max() < 0.06
    assert found[0, 1] > 0.99


@pytest.mark.slow
def test_like_lives_score_alike_and_shuffled_ones_do_not() -> None:
    train, other, holdout = wearing(30, 0), wearing(30, 1), wearing(12, 2, first=100)
    columns = sensors(train, ROLES)
    assert columns == ["a", "b"]
    mixed = shuffled_lives(train, ROLES)
    assert sorted(mixed["a"]) == sorted(train["a"])
    seen, like, unlike, asked = (
        windows(t, ROLES, columns, 20) for t in (train, other, mixed, holdout)
    )
    assert window_r2(seen, asked, 3_000) > window_r2(unlike, asked, 3_000) + 0.02
    assert window_c2st(seen, like, 1_000) < 0.7
    assert window_c2st(seen, unlike, 1_000) > 0.95
    assert max(acf_error(train, other, ROLES, columns)) < 0.15
    assert min(acf_error(train, mixed, ROLES, columns)[:2]) > 0.3


def test_short_lives_have_short_windows() -> None:
    assert window_width(wearing(5, 0), ROLES) == 30
    assert window_width(wearing(5, 0, rows=12), ROLES) == 6
    assert window_width(wearing(5, 0, rows=1), ROLES) == 2
    assert len(windows(wearing(5, 0, rows=1), ROLES, ["a"], 2).life) == 0


def test_missing_values_are_what_was_last_said() -> None:
    table = wearing(2, 0)
    table.loc[10:12, "a"] = np.nan
    filled = table.assign(a=table["a"].ffill())
    assert (windows(table, ROLES, ["a"]).features == windows(filled, ROLES, ["a"]).features).all()
