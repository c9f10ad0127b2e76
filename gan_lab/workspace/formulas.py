"""Formulas of profiles, such as `flow_m3_h * head_m / 367`: arithmetic over columns, no more."""

from __future__ import annotations

import ast
import operator
from collections.abc import Mapping
from typing import Any

BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
FUNCTIONS = {  # numpy's name, and how many arguments
    "sqrt": ("sqrt", 1), "exp": ("exp", 1), "log": ("log", 1),
    "min": ("minimum", 2), "max": ("maximum", 2),
}  # fmt: skip
MAX_LENGTH, MAX_POWER = 500, 10
SAMPLES = (0.5, 2.0, 100.0)  # of every column: a formula has a value for one of these


def formula_names(formula: str) -> set[str]:
    """Return the columns that a formula uses; raises `ValueError` where it is more than arithmetic,
    or has no value."""
    tree, names = _parse(formula), set[str]()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _check_call(formula, node)
        elif isinstance(node, ast.Name):
            if id(node) not in called:
                names.add(node.id)
        elif not _allowed(node):
            raise ValueError(f"{formula!r} holds something else than arithmetic")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            power = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
            value = power.value if isinstance(power, ast.Constant) else None
            if not isinstance(value, int | float) or value > MAX_POWER:
                raise ValueError(f"{formula!r} has a power that is no number up to {MAX_POWER}")
    if both := names & set(FUNCTIONS):
        raise ValueError(f"{formula!r} uses {min(both)} without its arguments")
    values = [_value(tree, dict.fromkeys(names, sample)) for sample in SAMPLES]
    if not any(abs(value) < float("inf") for value in values):
        raise ValueError(f"{formula!r} has no value: it divides by zero, or grows without end")
    return names


def evaluate(formula: str, columns: Mapping[str, Any]) -> Any:
    """Compute a formula over columns; what a machine at rest leaves undefined (0/0) counts as 0."""
    import numpy as np

    formula_names(formula)
    return np.nan_to_num(_value(_parse(formula), columns), nan=0.0, posinf=0.0, neginf=0.0)


def _value(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    import numpy as np

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return np.float64(node.value)  # type: ignore[arg-type]
            case ast.Name():
                return np.asarray(columns[node.id], dtype=np.float64)
            case ast.UnaryOp():
                return -value(node.operand)
            case ast.BinOp():
                return BINARY[type(node.op)](value(node.left), value(node.right))
            case ast.Call(func=ast.Name(id=name)):
                return getattr(np, FUNCTIONS[name][0])(*map(value, node.args))
        raise AssertionError(node)

    with np.errstate(all="ignore"):
        return value(tree)


def _parse(formula: str) -> ast.expr:
    if len(formula) > MAX_LENGTH:
        raise ValueError(f"a formula of {len(formula):,} characters: at most {MAX_LENGTH}")
    try:
        return ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"{formula!r} is not a formula") from None


def _check_call(formula: str, node: ast.Call) -> None:
    if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
        raise ValueError(f"{formula!r} calls something else than {', '.join(FUNCTIONS)}")
    wanted = FUNCTIONS[node.func.id][1]
    if len(node.args) != wanted or node.keywords:
        raise ValueError(f"{formula!r}: {node.func.id} takes {wanted} argument(s)")


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    kinds = (ast.BinOp, ast.UnaryOp, ast.USub, ast.Load, *BINARY)
    return isinstance(node, kinds)
