"""The conditions of a request for rows: values, shares and ranges of columns, met exactly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from gan_lab.errors import BadParameter
from gan_lab.schema import Condition
from gan_lab.synth.network.encoding import CategoricalColumn
from gan_lab.synth.tabular.ranks import Variable
from gan_lab.synth.tabular.sequence import Spans
from gan_lab.synth.tabular.tree_model import TreeModel

SAID = 8  # levels that a refusal names
Span = tuple[int, int]
Choice = list[tuple[float, Span]]  # shares of the rows, and what is asked of each


class Conditions:
    """What is asked of rows: `spans` of the variables for `shares` of the rows, which add up to 1.

    Raises `BadParameter` for a column that is not there and for what no training row showed.
    """

    def __init__(self, trees: TreeModel, wanted: dict[str, Condition]) -> None:
        self.trees, self.variables, self.wanted = trees, trees.ranks.variables, wanted
        choices = {self._number(name): self._choice(name) for name in wanted}
        self.shares, self.spans = [], []
        for picked in product(*choices.values()):
            spans: Spans = {}
            for number, (_, span) in zip(choices, picked, strict=True):
                gap = self.variables[number].gap
                spans |= {number: span} if gap is None else {number: span, gap: (0, 0)}
            self.spans.append(spans)
            self.shares.append(float(np.prod([share for share, _ in picked])))

    def portions(self, rows: int, chunk: int) -> Iterator[list[tuple[int, Spans]]]:
        """Yield how many rows of each chunk are to meet which spans; over all they are exact."""
        left = _apportioned(np.array(self.shares), rows)
        for start in range(0, rows, chunk):
            size = min(chunk, rows - start)
            now = _apportioned(left / left.sum(), size).clip(max=left)
            for _ in range(size - int(now.sum())):  # a portion that is used up
                now[np.argmax(left - now)] += 1
            left = left - now
            yield [(int(n), spans) for n, spans in zip(now, self.spans, strict=True) if n]

    def unmet(self) -> BadParameter:
        """Return the refusal of conditions that each are met by some rows, but together by none."""
        asked = ", ".join(f"{name}={value}" for name, value in self.wanted.items())
        rows = int(self.trees.class_rows.sum())
        return BadParameter(
            f"{asked} was asked for together, and of the {rows:,} rows learned from 0 lead there. "
            "Ask for less at once."
        )

    def _number(self, name: str) -> int:
        known = {each.name: number for number, each in enumerate(self.variables)
                 if each.column is not None}  # fmt: skip
        if name not in known:
            raise BadParameter(
                f"{name!r} is no column that can be chosen. There are {', '.join(known)}."
            )
        return known[name]

    def _choice(self, name: str) -> Choice:
        wanted = self.wanted[name]
        if not isinstance(wanted, dict):
            return [(1.0, self._span(name, wanted))]
        named = [(share, self._span(name, value)) for value, share in wanted.items() if share > 0]
        return named + self._others(name, 1 - sum(wanted.values()), wanted)

    def _others(self, name: str, share: float, named: dict[str, float]) -> Choice:
        """Return the values that shares do not name, as often as they are."""
        if share < 1e-9:
            return []
        number = self._number(name)
        variable = self.variables[number]
        if variable.ordered:
            raise BadParameter(
                f"The shares of {name!r} add up to {1 - share:g}: shares of a number add up to 1."
            )
        cells, count = np.unique(self.trees.shown[number], return_counts=True)
        taken = [self._span(name, value)[0] for value in named]
        free = ~np.isin(cells, taken)
        if not free.any():
            raise BadParameter(
                f"The shares of {name!r} add up to {1 - share:g}, and there is nothing else."
            )
        parts = share * count[free] / count[free].sum()
        return [
            (float(part), (int(cell), int(cell)))
            for part, cell in zip(parts, cells[free], strict=True)
        ]

    def _span(self, name: str, wanted: Any) -> Span:
        """Return the places of a value, or of a range of numbers; raises where no row has one."""
        number = self._number(name)
        variable = self.variables[number]
        shown = self.trees.shown[number]
        low, high = _places(variable, wanted)
        if not ((shown >= low) & (shown <= high)).any():
            said = " to ".join(map(str, wanted)) if isinstance(wanted, tuple) else wanted
            raise BadParameter(
                f"{name}={said} was asked for, and of the {len(shown):,} rows learned from 0 "
                f"showed it. They showed {_described(variable, shown)}."
            )
        return low, high


def _places(variable: Variable, wanted: Any) -> Span:
    """Return the lowest and highest place that is meant; (0, -1) where there is none."""
    column = variable.column
    if isinstance(column, CategoricalColumn):
        if isinstance(wanted, tuple):
            raise BadParameter(
                f"{variable.name!r} holds words, of which {wanted[0]} to {wanted[1]} is no range. "
                "Ask for one, or for shares."
            )
        for cell, level in enumerate(column.names):
            if level == str(wanted):
                return cell, cell
        return 0, -1
    bounds = [_numeric(variable, value) for value in _pair(wanted)]
    low = int(np.searchsorted(variable.values, bounds[0]))
    return low, int(np.searchsorted(variable.values, bounds[1], side="right")) - 1


def _pair(wanted: Any) -> tuple[Any, Any]:
    return wanted if isinstance(wanted, tuple) else (wanted, wanted)


def _numeric(variable: Variable, value: Any) -> float:
    """Return a number, or the seconds that a date written as text stands for."""
    column = variable.column
    assert column is not None and not isinstance(column, CategoricalColumn)
    try:
        if not column.is_time:
            return float(value)
        return (pd.Timestamp(value).value - column.origin) / 1e9
    except (TypeError, ValueError):
        raise BadParameter(f"{value!r} is no value that {variable.name!r} can have.") from None


def _described(variable: Variable, shown: np.ndarray) -> str:
    column = variable.column
    assert column is not None
    if isinstance(column, CategoricalColumn) or not variable.ordered:
        names = column.names
        cells, count = np.unique(shown, return_counts=True)
        most = np.argsort(-count)[:SAID]
        return ", ".join(f"{names[cells[n]] or 'others'} ({count[n]:,} rows)" for n in most)
    ends = column.write(variable.values[[0, -1]])
    return f"{ends.iloc[0]} to {ends.iloc[1]}"


def _apportioned(shares: np.ndarray, rows: int) -> np.ndarray:
    """Return whole rows in these shares that add up (largest remainders)."""
    exact = shares / shares.sum() * rows
    whole = np.floor(exact + 1e-9).astype(np.int64)
    more = np.argsort(-(exact - whole), kind="stable")[: rows - int(whole.sum())]
    whole[more] += 1
    return whole
