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
FUNCTIONS = {"sqrt": "sqrt", "exp": "exp", "log": "log", "min": "minimum", "max": "maximum"}


def formula_names(formula: str) -> set[str]:
    """Return the names a formula uses; raises `ValueError` where it is more than arithmetic."""
    names: set[str] = set()
    for node in ast.walk(_parse(formula)):
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
                raise ValueError(f"{formula!r} calls something else than {', '.join(FUNCTIONS)}")
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif not _allowed(node):
            raise ValueError(f"{formula!r} holds something else than arithmetic")
    return names - set(FUNCTIONS)


def evaluate(formula: str, columns: Mapping[str, Any]) -> Any:
    """Compute a formula over columns; what a machine at rest leaves undefined (0/0) counts as 0."""
    import numpy as np

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return columns[node.id]
            case ast.UnaryOp():
                return -value(node.operand)
            case ast.BinOp():
                return BINARY[type(node.op)](value(node.left), value(node.right))
            case ast.Call(func=ast.Name(id=name)):
                return getattr(np, FUNCTIONS[name])(*(value(argument) for argument in node.args))
        raise ValueError(f"{formula!r} holds something else than arithmetic")

    formula_names(formula)
    with np.errstate(all="ignore"):
        return np.nan_to_num(value(_parse(formula)), nan=0.0, posinf=0.0, neginf=0.0)


def _parse(formula: str) -> ast.expr:
    try:
        return ast.parse(formula.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"{formula!r} is not a formula") from None


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    kinds = (ast.BinOp, ast.UnaryOp, ast.USub, ast.Load, *BINARY)
    return isinstance(node, kinds)
