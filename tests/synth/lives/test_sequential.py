"""The model of lives as a whole, on small tables that show one difficulty each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.schema import Roles
from gan_lab.synth.lives.packed import Packed
from tests.synth.lives.tables import MACHINE_ROLES, draw, fit


@pytest.mark.slow
def test_wear_shows_in_the_lives_that_are_drawn(table: pd.DataFrame) -> None:
    model = fit(table, MACHINE_ROLES, epochs=120)
    drawn = draw(model, lives=100)
    for rows in (table, drawn):
        hot = rows[rows["rul"] < 3].groupby("failure_mode")["heat"].mean()
        cool = rows[rows["rul"] > 25].groupby("failure_mode")["heat"].mean()
        assert (hot - cool)["bearing"] > (hot - cool)["winding"] + 10
    assert drawn[drawn["rul"] < 3]["alarm"].mean() > 0.6
    assert drawn[drawn["rul"] > 25]["alarm"].mean() < 0.2


@pytest.mark.slow
def test_lives_differ_in_categories() -> None:
    rng = np.random.default_rng(0)
    shares = np.where(np.arange(30) % 2, 0.85, 0.15).repeat(40)
    table = pd.DataFrame({"unit": np.arange(1200) // 40, "door": rng.random(1200) < shares})
    table["heat"] = rng.normal(size=1200)
    model = fit(table, Roles(life="unit"), epochs=80, early_stopping=False)
    drawn = draw(model, lives=60)
    spread, real = (rows.groupby("unit")["door"].mean().std() for rows in (drawn, table))
    assert spread == pytest.approx(real, rel=0.2)


def test_what_scatters_more_the_more_it_is_worn() -> None:
    rng, packed = np.random.default_rng(0), Packed(np.full(40, 100))
    worn = np.exp((packed.age - 99) / 15)
    rows = pd.DataFrame({"unit": packed.life, "t": packed.age, "rul": 99 - packed.age})
    rows["rough"] = (1 + 6 * worn) * rng.normal(size=len(rows))  # no level: a mean of 0 throughout
    rows["heat"] = 5 * worn + rng.normal(size=len(rows))
    model = fit(rows)
    drawn = draw(model, lives=60)
    late, early = (
        [t[t["rul"].between(*span)]["rough"].std() for t in (drawn, rows)]
        for span in ((0, 5), (60, 99))
    )
    assert late[0] == pytest.approx(late[1], rel=0.2)
    assert early[0] == pytest.approx(early[1], rel=0.2)
