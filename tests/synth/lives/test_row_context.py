"""Hours, steps of time and gaps come back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.lives.training_lives import TrainingLives
from tests.synth.lives.tables import (
    MACHINE_ROLES,
    ROLES,
    SMALL,
    draw,
    fit,
    simple_lives,
)


def test_gaps_come_as_often_and_in_such_runs(model: SequentialTVAE, table: pd.DataFrame) -> None:
    drawn = draw(model, lives=200)

    def runs(rows: pd.DataFrame) -> tuple[float, float]:
        gone = rows["heat"].isna()
        starts = gone & ~gone.groupby(rows["machine"]).shift(fill_value=False)
        return gone.mean(), gone.sum() / starts.sum()

    share, length = runs(table)
    drawn_share, drawn_length = runs(drawn)
    assert drawn_share == pytest.approx(share, abs=0.03)
    assert drawn_length == pytest.approx(length, rel=0.35)


def test_unequal_steps(table: pd.DataFrame) -> None:
    thinned = table.sample(frac=0.7, random_state=0).sort_index()
    drawn = draw(fit(thinned, MACHINE_ROLES), lives=50)
    steps = drawn.groupby("machine")["time"].diff().dropna().dt.total_seconds() / 3600
    real = thinned.groupby("machine")["time"].diff().dropna().dt.total_seconds() / 3600
    assert set(steps) <= set(real)
    assert steps.mean() == pytest.approx(real.mean(), rel=0.05)


@pytest.mark.slow
def test_the_hour_of_the_day_shows() -> None:
    table = simple_lives(24, rows=96)
    table["t"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(table["t"] + 7 * table["unit"], "h")
    table["heat"] += 3 * np.sin(2 * np.pi * table["t"].dt.hour / 24)
    drawn = draw(fit(table, epochs=40), lives=40)
    by_hour = (rows.groupby(rows["t"].dt.hour)["heat"].mean() for rows in (table, drawn))
    assert np.corrcoef(*by_hour)[0, 1] > 0.9


def test_columns_that_are_missing_together_are_one_pattern() -> None:
    """Of many combinations of missing columns, each that comes by itself has a chain of its own."""
    rng, table = np.random.default_rng(0), simple_lives()
    for number in range(6):
        table[f"x{number}"] = rng.normal(size=len(table))
        table.loc[rng.random(len(table)) < 0.3, f"x{number}"] = np.nan
    table["twin"] = table["x0"] * 2
    lives = TrainingLives(table, ROLES, SMALL)
    assert len(lives.context.patterns) == 6  # of seven columns, two of them always together
    twins = [pattern[1] for pattern in lives.context.patterns if sum(pattern[1]) == 2]
    assert twins == [[0, 1, 0, 0, 0, 0, 0, 1]] or twins == [[0, 1, 0, 0, 0, 0, 1]]
