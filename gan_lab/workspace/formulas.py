"""Formulas of profiles, such as `flow_m3_h * head_m / 367`: arithmetic over columns, no more."""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
FUNCTIONS = {
    "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "min": np.minimum, "max": np.maximum,
}  # fmt: skip
MAX_LENGTH = 500
SAMPLES = (0.5, 2.0, 100.0)  # of every column: a formula has a value for one of these


def formula_names(formula: str) -> set[str]:
    """Return the columns that a formula uses; raises `ValueError` where it is more than arithmetic,
    or has no value."""
    tree = _parse(formula)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - set(FUNCTIONS)
    values = [_value(tree, dict.fromkeys(names, sample)) for sample in SAMPLES]
    if not np.isfinite(values).any():
        raise ValueError(f"{formula!r} has no value: it divides by zero, or grows without end")
    return names


def evaluate(formula: str, columns: Mapping[str, Any]) -> Any:
    """Compute a formula over columns; what a machine at rest leaves undefined (0/0) counts as 0."""
    return np.nan_to_num(_value(_parse(formula), columns), nan=0.0, posinf=0.0, neginf=0.0)


def _parse(formula: str) -> ast.expr:
    if len(formula) > MAX_LENGTH:
        raise ValueError(f"a formula of {len(formula):,} characters: at most {MAX_LENGTH}")
    try:
        return ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"{formula!r} is not a formula") from None


def _value(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    """Compute a parsed formula in floats, which neither grow nor hang."""

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return np.float64(float(number))
            case ast.Name(id=name) if name in columns:
                return np.asarray(columns[name], dtype=np.float64)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
                return BINARY[type(op)](value(left), value(right))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                if name in FUNCTIONS and len(arguments) == FUNCTIONS[name].nin:
                    return FUNCTIONS[name](*map(value, arguments))
        raise ValueError(
            f"{ast.unparse(node)!r} is no arithmetic: there are + - * / **, numbers, columns, "
            "sqrt, exp and log of one, min and max of two"
        )

    try:
        with np.errstate(all="ignore"):
            return value(tree)
    except OverflowError:
        raise ValueError("a number of the formula is too large") from None
