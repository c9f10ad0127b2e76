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
        with pytest.raises(ValueError, match="arithmetic|not a formula|calls"):
            formula_names(formula)
