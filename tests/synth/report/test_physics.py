"""What no machine would do: values, steps, cases and relations that real lives do not have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.synth.report.compared_tables import Sides, compare
from gan_lab.synth.report.finding import Finding
from gan_lab.synth.report.physics import curves, physics, relations
from gan_lab.workspace.profiles import Profile, Sensor
from tests.synth.report.samples import WEARING, Parts, three


def sides_of(tables: Parts) -> Sides:
    return compare(*tables, WEARING, None, 0)


def found_in(tables: Parts, profile: Profile | None = None) -> dict[str, Finding]:
    return {each.kind: each for each in physics(compare(*tables, WEARING, profile, 0))}


def test_a_second_real_sample_is_like_real_rows() -> None:
    sides = sides_of(three())
    assert not list(physics(sides))
    pairs = relations(sides)
    assert max(pair.gap for pair in pairs) < 0.25
    drawn = curves(sides, pairs)
    assert {curve.column for curve in drawn} >= {"heat", "vibration", "pressure"}
    assert [len(curve.rul) for curve in drawn] == [16] * len(drawn)


def test_a_category_that_never_comes_is_found() -> None:
    drawn, train, holdout = three()
    lost = drawn.assign(state=drawn["state"].replace("worn", "running"))
    finding = found_in((lost, train, holdout))["missing_level"]
    assert finding.level == "bad" and "state is never 'worn', as 15 % of the real" in finding.text


def test_a_rul_that_rises_is_found() -> None:
    drawn, train, holdout = three()
    rising = drawn.assign(rul=drawn["rul"] + 3 * (drawn.index % 2))
    finding = found_in((rising, train, holdout))["rising_rul"]
    assert finding.level == "bad" and finding.value == pytest.approx(0.5, abs=0.02)


def test_how_far_a_counter_gets_is_no_range() -> None:
    tables = three()
    for table in tables:
        table["starts"] = table["age"]
    drawn = tables[0].assign(starts=2 * tables[0]["starts"], heat=tables[0]["heat"] + 99)
    finding = found_in((drawn, *tables[1:]))["outside"]
    assert finding.columns == ["heat"] and finding.value == 1.0


def test_a_tail_that_is_too_heavy_is_found() -> None:
    drawn, train, holdout = three()
    heavy = drawn["heat"].where(drawn.index % 5 > 0, train["heat"].quantile(0.99))
    finding = found_in((drawn.assign(heat=heavy), train, holdout))["upper_tail"]
    assert "heat: the upper tail is too heavy" in finding.text


def test_rows_outside_the_range_of_the_profile_are_found() -> None:
    drawn, train, holdout = three()
    both = pd.concat([train, holdout])
    sensors = {
        name: Sensor(minimum=both[name].min(), typical=0, maximum=both[name].max())
        for name in ("heat", "vibration")
    }
    profile = Profile(machine_id="press", sensors=sensors)
    outside = np.where(drawn.index % 4 > 0, drawn["heat"].clip(-3, 6), both["heat"].max() + 1)
    finding = found_in((drawn.assign(heat=outside), train, holdout), profile)["outside"]
    assert f"heat: 25 % of the rows lie outside {both['heat'].min():.6g} to " in finding.text


def test_the_pair_that_is_farthest_off_comes_first() -> None:
    drawn, train, holdout = three()
    mixed = drawn.assign(heat=np.random.default_rng(0).permutation(drawn["heat"]))
    found = relations(sides_of((mixed, train, holdout)))
    assert set(found[0].columns) == {"heat", "pressure"} and found[0].gap > 0.5
    assert found == sorted(found, key=lambda each: -each.gap)
