"""Sensors, counters and the time of lives keep what they looked like."""

import numpy as np
import pandas as pd
import pytest

from gan_lab.errors import BadTable
from gan_lab.synth.lives.columns import Quantiles, SensorColumn, TimeColumn, even_step
from gan_lab.synth.lives.packed import Packed

PACKED = Packed(np.array([3, 2]))


def test_a_sensor_of_few_values_takes_no_others() -> None:
    values = np.repeat([1.0, 2.5, 7.0], 10)
    column = SensorColumn.of(pd.Series(values, name="gear"), values)
    assert column.values == [1.0, 2.5, 7.0]
    assert column.write(np.array([-9.0, 2.0, 6.0])).tolist() == [1.0, 2.5, 7.0]
    assert np.isnan(column.write(np.array([np.nan]))[0])


def test_a_counter_goes_on_from_its_start_and_one_of_what_is_left_down_to_its_floor() -> None:
    rises = np.array([0.0, 2.0, 4.0, 0.0, 2.0])
    series = pd.Series(rises, dtype="int8", name="starts")
    up = SensorColumn.of(series, rises, counter=True)
    drawn = np.array([9.0, 1.9, 99.0, 0.0, np.nan])  # a rise is one of those seen
    shown = up.count(drawn, np.array([100.0, 120.0]), PACKED)
    np.testing.assert_array_equal(shown, [100, 102, 106, 120, np.nan])
    assert up.write(np.array([102.0, 300.0])).tolist() == [102, 127]  # all that an int8 holds
    down = SensorColumn.of(series, rises, counter=True, floor=1.0)
    assert down.count(rises, np.array([-5.0, -3.0]), PACKED).tolist() == [5, 3, 1, 3, 1]


def test_a_sensor_survives_json() -> None:
    from dataclasses import asdict

    column = SensorColumn.of(pd.Series([1.0, 2.0], name="x"), np.array([1.0, 2.0]))
    column.scale.readings, column.scale.scaled = [0.0, 1.0], [0.0, 3.0]
    assert SensorColumn.from_json(asdict(column)) == column


def test_time_knows_its_steps_and_its_grid() -> None:
    dates = pd.Series(
        pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-04"] + ["2024-01-01"] * 2)
    )
    column, seconds = TimeColumn.fit(pd.DataFrame({"day": dates}), "day", PACKED)
    assert (column.step, column.is_time, column.varying) == (86400.0, True, False)
    assert column.steps == [0, 86400, 2 * 86400] and column.mean_step == 86400
    pd.testing.assert_series_equal(column.write(seconds), dates, check_names=False)
    assert column.on_grid(np.array([100_000.0]), 0.0) == 86400


def test_without_a_time_rows_are_counted_and_words_are_no_time() -> None:
    column, seconds = TimeColumn.fit(pd.DataFrame(), None, PACKED)
    assert seconds.tolist() == [0, 1, 2, 0, 1] and column.steps == [1.0]
    with pytest.raises(BadTable, match="'t' should hold the time but is of type"):
        TimeColumn.fit(pd.DataFrame({"t": list("abcde")}), "t", PACKED)


def test_quantiles_give_back_what_they_were_made_of() -> None:
    values = np.random.default_rng(0).exponential(size=3000)
    quantiles = Quantiles.of(values)
    assert len(quantiles.values) == 1000
    back = quantiles.draw(quantiles.scores(values))
    assert np.abs(back - values)[values < 3].max() < 0.05
    assert (back.min(), back.max()) == (values.min(), values.max())


def test_lengths_go_beyond_those_seen_but_not_beyond_a_limit() -> None:
    lengths = np.array([120.0, 150, 160, 180, 190, 200, 210, 240, 260, 330])
    scores = np.linspace(-4, 4, 4001)
    drawn = Quantiles.of(lengths).draw_beyond(scores)
    assert (np.diff(drawn) >= 0).all()
    assert np.interp(2.3, scores, drawn) == pytest.approx(330 * 1.2, rel=0.05)  # one of a hundred
    assert drawn[0] >= 120 / 1.5 and drawn[-1] <= 330 * 1.5
    assert Quantiles.of(np.minimum(lengths, 220)).draw_beyond(scores)[-1] == 220


def test_even_steps() -> None:
    assert even_step(np.array([1.0, 3.0, 9.0])) == 2
    assert even_step(np.array([1.0, 3.0, 6.0])) == 0
    assert even_step(np.array([1.0])) == 0
