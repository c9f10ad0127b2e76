"""Formulas of profiles: arithmetic over columns, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lab.workspace.formulas import evaluate, formula_names


def test_formulas_are_arithmetic_and_nothing_else() -> None:
    assert evaluate("max(a, 2) ** 2 - -b", {"a": np.array([1.0, 3.0]), "b": 1.0}).tolist() == [
        5,
        10,
    ]
    assert evaluate("a / b", {"a": np.zeros(1), "b": np.zeros(1)}).tolist() == [0]
    assert formula_names("sqrt(3) * U_V * I_A") == {"U_V", "I_A"}
    for formula in ("__import__('os')", "a.b", "a[0]", "a if b else c", "'x'", "a +", "lambda: 1"):
        with pytest.raises(ValueError, match="arithmetic|not a formula"):
            formula_names(formula)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("9**9**9", "no value"),
        ("max(a, b, c)", "min and max of two"),
        ("min(a)", "min and max of two"),
        ("sqrt(a, out=b)", "no arithmetic"),
        ("sqrt", "no arithmetic"),
        ("True + a", "no arithmetic"),
        ("1 / 0", "no value"),
        ("a / (2 - 2)", "no value"),
        ("9" * 400, "too large"),
        ("(" * 400 + "a" + ")" * 99, "not a formula"),
        ("a + " * 300 + "a", "1,201 characters"),
    ],
)
def test_what_would_hang_or_fail_later_is_refused_at_once(formula: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        formula_names(formula)


def test_a_formula_never_changes_the_columns_it_reads() -> None:
    columns = {"a": np.array([1.0, 5.0]), "b": np.array([3.0, 3.0])}
    assert evaluate("max(a, b)", columns).tolist() == [3, 5]
    assert evaluate("10.0 ** 10 * a ** -2", columns)[0] == 1e10
    assert columns["a"].tolist() == [1, 5]
