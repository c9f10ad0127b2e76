"""A prognosis as a notebook shows it: the most urgent unit first, and fans of what may come."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gan_lab.errors import BadParameter
from gan_lab.notebook.chart import Chart
from gan_lab.notebook.plots import fan
from gan_lab.notebook.prognosis import Prognosis
from gan_lab.workspace.profiles import Profile, Sensor
from tests.synth.lives.prognosis.conftest import CONFIG, ROLES, cut, lives
from tests.synth.lives.tables import fit

RUNNING, LEFT = cut(lives(6, seed=5, first=50))


@pytest.fixture(scope="module")
def answer() -> Prognosis:
    found = fit(lives(12, seed=1), ROLES, CONFIG, epochs=6).prognose(RUNNING)
    heat = Sensor(unit="degC", minimum=0, typical=60, maximum=90)
    profile = Profile(machine_id="press", roles=ROLES, sensors={"heat": heat})
    return Prognosis(**vars(found), profile=profile)


def test_the_table_begins_with_what_fails_first_and_escapes_names(answer: Prognosis) -> None:
    named = replace(answer, units="<b>" + answer.units.astype(str))
    page = named._repr_html_()
    order = answer.median.sort_values().index
    assert [page.index(f"&lt;b&gt;{unit}") for unit in order] == sorted(
        page.index(f"&lt;b&gt;{unit}") for unit in order
    )
    assert answer.worth in page and "left (hour)" in page
    assert not re.search(r"[1-9][\d.]{4}", str(answer))  # three digits and no more


def drawn(chart: Chart) -> dict[str, dict[str, Any]]:
    """What a chart's only figure shows, by the names of its legend."""
    (plot,) = chart.figures
    return {each.name: each.data_source.data for each in plot.renderers if each.name}


def test_remaining_life_is_drawn_over_age_with_its_true_end(answer: Prognosis) -> None:
    unit = LEFT.index[2]
    chart = answer.plot(unit, truth=LEFT[unit])
    (plot,), shown, history = chart.figures, drawn(chart), answer.history(unit)
    assert plot.xaxis[0].axis_label == f"age of unit {unit} (hour)"
    assert plot.yaxis[0].axis_label == "remaining life (hour)"
    middle, band = shown["median"]["y"], shown["90 % interval"]
    np.testing.assert_allclose(middle, history.median)
    truth = shown["truth"]
    assert truth["x"][-1] == history.ages[-1] + LEFT[unit] and truth["y"][-1] == 0
    assert (band["y1"] <= middle).all() and (middle <= band["y2"]).all()
    assert answer.plot().alt.startswith(f"Remaining life of unit {answer.median.idxmin()}")


def test_a_sensor_goes_on_where_its_past_ends_in_its_unit(answer: Prognosis) -> None:
    unit = LEFT.index[0]
    chart = answer.plot_futures("heat", unit, n=30)
    (plot,), shown = chart.figures, drawn(chart)
    assert (plot.xaxis[0].axis_label, plot.yaxis[0].axis_label) == ("hour", "heat (degC)")
    past = RUNNING[RUNNING["unit"] == unit]
    np.testing.assert_array_equal(shown["past"]["y"], past["heat"])
    assert shown["median"]["x"][0] == past["hour"].max() + 1
    assert len(shown["ends"]["x"]) == 30
    with pytest.raises(BadParameter, match="vibration"):
        answer.plot_futures("haet", unit)


def test_dates_stay_dates_on_the_axis() -> None:
    days = np.arange("2026-01-01", "2026-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    one = np.ones(3)
    chart = fan(days, one, {"all": (one, one)}, ("day", "y"), "A line.")
    assert type(chart.figures[0].xaxis[0]).__name__ == "DatetimeAxis"
    assert drawn(chart)["median"]["said"][0] == "2026-01-01 00:00:00: 1; all 1 to 1"
    assert chart.png.startswith(b"\x89PNG")


def test_what_was_answered_for_too_many_units_cannot_be_drawn(answer: Prognosis) -> None:
    with pytest.raises(BadParameter, match="ask again"):
        replace(answer, source=None).plot()


def test_no_row_is_lost_where_the_table_is_not_sorted(answer: Prognosis) -> None:
    rows = RUNNING.sample(frac=1, random_state=0)
    mixed = replace(answer, source=replace(answer.source, frame=rows))
    first, second = (each.plot_futures("heat", n=5) for each in (answer, mixed))
    np.testing.assert_array_equal(drawn(first)["past"]["y"], drawn(second)["past"]["y"])


def test_an_answer_with_new_rows_is_still_drawn_with_its_past(answer: Prognosis) -> None:
    unit = answer.units[0]
    rows = RUNNING[RUNNING["unit"] == unit]
    more = rows.tail(1).assign(hour=rows["hour"].max() + 1)
    after = answer.update(more)
    assert len(drawn(after.plot_futures("heat", unit, n=5))["past"]["y"]) == len(rows) + 1
