"""Numbers and dates keep their type, decimals, grid and range."""

import numpy as np
import pandas as pd
import pytest

from gan_lab.synth.network.columns import (
    NumericColumn,
    decimals,
    greatest_step,
    numbers_of,
)


def column(series: pd.Series) -> NumericColumn:
    values = numbers_of(series)
    assert values is not None
    return NumericColumn.of(series, values)


def test_numbers_are_written_on_the_grid_within_the_range() -> None:
    quarters = column(pd.Series([0.5, 1.0, 2.25], name="x"))
    assert (quarters.minimum, quarters.maximum, quarters.digits) == (0.5, 2.25, 2)
    assert quarters.step == 0.25
    written = quarters.write(np.array([-3.0, 0.8, 1.9, 99.0, np.nan]))
    assert written[:4].tolist() == [0.5, 0.75, 2.0, 2.25] and np.isnan(written[4])
    assert quarters.on_grid(np.array([0.3]), start=0.1) == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("dtype", "with_gap"),
    [("int16", "float64"), ("Int64", "Int64"), ("Float32", "Float32"), ("float32", "float32")],
)
def test_numbers_keep_their_type(dtype: str, with_gap: str) -> None:
    whole = column(pd.Series([1, 2, 5], dtype=dtype, name="x"))
    assert whole.write(np.array([2.2])).dtype == dtype
    gap = whole.write(np.array([2.2, np.nan]))
    assert gap.dtype == with_gap and gap.isna().tolist() == [False, True]


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(pd.date_range("2024-03-30", periods=4, freq="12h", tz="Europe/Berlin")),
        pd.Series(pd.date_range("2024", periods=4, freq="h")).dt.as_unit("s"),
    ],
)
def test_dates_come_back_exactly(series: pd.Series) -> None:
    times = column(series)
    assert times.is_time
    back = times.write(times.read(series))
    pd.testing.assert_series_equal(back, series)
    assert times.typed(np.array([np.nan])).isna().all()


def test_words_and_booleans_are_no_numbers() -> None:
    for values in (["a"], [True], pd.Categorical([1])):
        assert numbers_of(pd.Series(values)) is None


def test_decimals_and_steps() -> None:
    assert decimals(np.array([1.0, 2.25])) == 2
    assert decimals(np.array([1 / 3])) is None
    assert greatest_step(np.array([3600.0, 10800.0, 18000.0]), 0) == 7200
    assert greatest_step(np.array([0.1, 0.4, 1.0]), 1) == pytest.approx(0.3)
    assert greatest_step(np.array([0.0, 2.0**53]), 0) == 0
    assert greatest_step(np.array([0.0, 1 / 3]), None) == 0
