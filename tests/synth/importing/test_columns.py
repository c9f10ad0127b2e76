"""Columns: what they hold, in the type that is written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.synth.importing.columns import read_column


@pytest.mark.parametrize(
    ("cells", "decimal", "kind", "values"),
    [
        (["1", " 2", None], ".", "whole", [1, 2, None]),
        (["1.5", "1,234.5", "12 %"], ".", "number", [1.5, 1234.5, 12.0]),
        (["1,5", "1.234,5", "-3"], ",", "number", [1.5, 1234.5, -3.0]),
        (["True", "false", None], ".", "bool", [True, False, None]),
        (["a", "1", "2"], ".", "text", ["a", "1", "2"]),
        ([None, None], ".", "missing", [None, None]),
    ],
)
def test_texts_become_what_they_are(
    cells: list[str | None], decimal: str, kind: str, values: list[object]
) -> None:
    column = read_column("x", pd.Series(cells, dtype=object), decimal)
    found = column.values.astype(object).where(column.values.notna(), None)
    assert (column.kind, found.tolist()) == (kind, values)


def test_a_slip_among_numbers_is_missing_and_named() -> None:
    column = read_column("x", pd.Series([*map(str, range(18)), "n.m.", "?"]))
    assert (column.kind, column.missing) == ("number", 2)
    assert column.notes == [
        "'x' has 2 texts among its numbers ('n.m.' in row 19): they count as missing."
    ]
    assert column.example == (19, "n.m.")


def test_nan_counts_as_missing_and_infinity_is_found() -> None:
    column = read_column("x", pd.Series([1.0, np.nan, np.inf, None, 3.0]))
    assert (column.missing, column.infinite) == (2, True)
    assert (column.minimum, column.maximum, column.distinct) == (1, 3, 2)


def test_shares_are_of_the_values_that_are_there() -> None:
    column = read_column("x", pd.Series(["a", "b", None, "a", "a"]))
    assert column.shares == {"a": 0.75, "b": 0.25}
    assert read_column("x", pd.Series([2, 2, 4, 2])).shares == {"2": 0.75, "4": 0.25}


def test_decimals_are_counted() -> None:
    column = read_column("x", pd.Series([0.25, 0.5] * 500))
    assert (column.decimals, column.constant) == (2, False)
