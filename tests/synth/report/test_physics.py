"""What no machine would do: values, steps, cases and relations that real lives do not have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.synth.report.compared_tables import compare
from gan_lab.synth.report.physics import Physics, physics
from gan_lab.workspace.profiles import Imported, Profile, Sensor
from tests.synth.report.samples import WEARING, Parts, three, verdict


def figures(tables: Parts, profile: Profile | None = None) -> Physics:
    return physics(compare(*tables, WEARING, profile, 0))


def test_a_second_real_sample_is_like_real_rows() -> None:
    found = figures(three())
    assert not found.missing_levels and not any(found.rising_rul.values())
    assert all(abs((tail.synthetic or 0) - (tail.real or 0)) < 0.05 for tail in found.tails)
    assert max(relation.gap for relation in found.relations) < 0.25
    assert {curve.column for curve in found.curves} >= {"heat", "vibration", "pressure"}
    assert [len(curve.rul) for curve in found.curves] == [16] * len(found.curves)


def test_a_category_that_never_comes_is_found() -> None:
    drawn, train, holdout = three()
    lost = drawn.assign(state=drawn["state"].replace("worn", "running"))
    (missing,) = figures((lost, train, holdout)).missing_levels
    assert (missing.column, missing.level) == ("state", "worn") and (missing.chance or 0) < 1e-9
    found = verdict((lost, train, holdout))
    (finding,) = [f for f in found.findings if f.kind == "missing_level"]
    assert finding.level == "bad" and "state is never 'worn', as 15 % of the real" in finding.text


def test_a_rul_that_rises_is_found() -> None:
    drawn, train, holdout = three()
    rising = drawn.assign(rul=drawn["rul"] + 3 * (drawn.index % 2))
    found = figures((rising, train, holdout))
    assert found.rising_rul["synthetic"] == pytest.approx(0.5, abs=0.02)
    kinds = {each.kind: each for each in verdict((rising, train, holdout)).findings}
    assert kinds["rising_rul"].level == "bad"


def test_how_far_a_counter_gets_is_no_range() -> None:
    tables = three()
    for table in tables:
        table["starts"] = table["age"]
    drawn = tables[0].assign(starts=2 * tables[0]["starts"], heat=tables[0]["heat"] + 99)
    ranges = {each.column: each for each in figures((drawn, *tables[1:])).ranges}
    assert set(ranges) == {"heat", "vibration", "pressure", "hum"}
    assert ranges["heat"].synthetic == 1.0 and ranges["heat"].of.startswith("what real rows span")


@pytest.mark.parametrize("imported", [True, False])
def test_the_range_of_an_imported_table_is_not_called_a_measuring_range(imported: bool) -> None:
    drawn, train, holdout = three()
    both = pd.concat([train, holdout])
    sensors = {
        name: Sensor(minimum=both[name].min(), typical=0, maximum=both[name].max())
        for name in ("heat", "vibration")
    }
    origin = Imported(files=["t.csv"], rows=len(both), columns=list(both)) if imported else None
    profile = Profile(machine_id="press", sensors=sensors, imported=origin)
    outside = np.where(drawn.index % 4 > 0, drawn["heat"].clip(-3, 6), both["heat"].max() + 1)
    found = verdict((drawn.assign(heat=outside), train, holdout), WEARING, profile)
    (finding,) = [each for each in found.findings if each.kind == "outside"]
    span = "the range of the imported table" if imported else "its measuring range"
    assert f"heat: 25 % of the rows lie outside {span} (" in finding.text


def test_every_pair_that_is_off_is_listed_and_those_with_the_rul() -> None:
    drawn, train, holdout = three()
    mixed = drawn.assign(heat=np.random.default_rng(0).permutation(drawn["heat"]))
    found = figures((mixed, train, holdout)).relations
    assert set(found[0].columns) == {"heat", "pressure"} and found[0].gap > 0.5
    assert found == sorted(found, key=lambda each: -each.gap)
    assert sum("rul" in each.columns for each in found) == 4
