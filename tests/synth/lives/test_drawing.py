"""Rows and lives are as many as wanted, whole, and the same for a seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.synth.lives.sequential import SequentialTVAE
from tests.synth.lives.tables import (
    MACHINE_ROLES,
    draw,
    fit,
    simple_lives,
)


def test_rows_are_exact_and_lives_whole(model: SequentialTVAE, table: pd.DataFrame) -> None:
    drawn = draw(model, rows=500, first_life=7)
    assert len(drawn) == 500
    assert list(drawn.columns) == list(table.columns)
    assert (drawn.dtypes == table.dtypes).all()
    assert drawn["machine"].unique().tolist() == list(range(7, 7 + drawn["machine"].nunique()))
    assert (drawn.groupby("machine")["rul"].last() == 0).all()
    falls = drawn.groupby("machine")["rul"].diff().dropna()
    assert (falls == -1).all()
    steps = drawn.groupby("machine")["time"].diff().dropna()
    assert (steps == pd.Timedelta("1h")).all()


def test_same_seed_same_rows(model: SequentialTVAE) -> None:
    pd.testing.assert_frame_equal(draw(model, rows=300, seed=4), draw(model, rows=300, seed=4))
    assert not draw(model, rows=300, seed=4).equals(draw(model, rows=300, seed=5))


@pytest.mark.parametrize("lives", [1, 7, 24, 48])
def test_conditions_come_as_often_as_in_the_training_lives(
    model: SequentialTVAE, table: pd.DataFrame, lives: int
) -> None:
    asked = ["site", "failure_mode"]
    shares = table.groupby("machine")[asked].first().value_counts(normalize=True)
    drawn = draw(model, lives=lives, seed=5).groupby("machine")[asked].first().value_counts()
    missed = drawn.reindex(shares.index, fill_value=0) - shares * lives
    assert (missed.abs() <= 1.5).all()


@pytest.mark.parametrize("dtype", ["str", "int8", "bool", "datetime64[s]", "category"])
def test_lives_go_on_counting_from_the_first_life(dtype: str) -> None:
    table = simple_lives(2 if dtype == "bool" else 24)
    table["unit"] = table["unit"].astype(dtype)
    model = fit(table)
    train, test = draw(model, rows=6000), draw(model, lives=38, first_life=151)
    assert train["unit"].nunique() == 150 and test["unit"].nunique() == 38
    assert not set(train["unit"]) & set(test["unit"])
    assert (dtype == "int8") == pd.api.types.is_integer_dtype(train["unit"])


def test_a_single_life(table: pd.DataFrame) -> None:
    one = table[table["machine"] == 105]
    drawn = draw(fit(one, MACHINE_ROLES), lives=3)
    assert drawn["machine"].tolist() == np.repeat([1, 2, 3], len(one)).tolist()


def test_lives_of_one_row(table: pd.DataFrame) -> None:
    short = pd.concat(
        [table[table["machine"] < 110], table[table["machine"] >= 110].groupby("machine").tail(1)]
    )
    drawn = draw(fit(short, MACHINE_ROLES), lives=50)
    assert drawn.groupby("machine").size().min() == 1
