"""Which column of a table of lives is taken for what."""

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadTable
from gan_lab.schema import Roles
from gan_lab.synth.lives.column_roles import ColumnRoles, sorted_lives
from gan_lab.synth.lives.packed import Packed

LIVES, ROWS = 30, 40


@pytest.fixture(scope="module")
def roles() -> ColumnRoles:
    rng = np.random.default_rng(0)
    life = np.repeat(np.arange(LIVES), ROWS)
    age = np.tile(np.arange(ROWS), LIVES)
    heat = rng.normal(size=len(life))
    heat[5] = np.nan
    table = pd.DataFrame(
        {
            "unit": life,
            "heat": heat,
            "cycles": rng.integers(0, 3, len(life)),
            "hours": 2.0 * age + 100 * life,
            "budget": 900.0 - (3 + life % 2) * age,
            "plant": np.where(life % 2, "north", "south"),
            "load": (life * 1.5)[:],
            "mode": np.where(life == 3, None, np.where(heat > 0, "hot", "cold")),
        }
    )
    return ColumnRoles(table, Roles(life="unit"), Packed(np.full(LIVES, ROWS)))


def test_columns_are_put_where_they_belong(roles: ColumnRoles) -> None:
    assert [(c.name, c.counter, c.floor) for c in roles.sensors] == [
        ("heat", False, None),
        ("hours", True, None),
        ("budget", True, 900.0 - 4 * (ROWS - 1)),
    ]
    assert list(roles.words) == ["cycles", "mode"]
    assert list(roles.conditions) == ["plant"]
    assert [column.name for column in roles.life_columns] == ["load"]


def test_numbers_are_readings_or_rises(roles: ColumnRoles) -> None:
    assert roles.numbers.shape == roles.missing.shape == (LIVES * ROWS, 3)
    assert np.flatnonzero(roles.missing.any(axis=1)).tolist() == [5]
    assert set(roles.numbers[:, 1]) == {2.0} and set(roles.numbers[:, 2]) == {3.0, 4.0}
    assert roles.life_numbers["hours"].tolist() == [100.0 * life for life in range(LIVES)]
    assert roles.life_numbers["load"].tolist() == [1.5 * life for life in range(LIVES)]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pd.DataFrame({"unit": [1, None], "t": [1, 2]}), "'unit' is missing in 1 rows"),
        (pd.DataFrame({"unit": [1, 1], "t": [1, None]}), "'t' is missing in 1 rows"),
        (pd.DataFrame({"unit": [1]}), "no column 't', which should hold the time"),
        (pd.DataFrame({"unit": [], "t": []}), "no rows"),
    ],
)
def test_lives_that_cannot_be_sorted_are_refused(table: pd.DataFrame, says: str) -> None:
    with pytest.raises(BadTable, match=says):
        sorted_lives(table, Roles(life="unit", time="t"))


def test_rows_are_sorted_by_life_and_time() -> None:
    table = pd.DataFrame({"unit": ["b", "a", "b"], "t": [2, 1, 1]})
    found, rows = sorted_lives(table, Roles(life="unit", time="t"))
    assert found.to_numpy().tolist() == [["a", 1], ["b", 1], ["b", 2]]
    assert rows.tolist() == [1, 2]
