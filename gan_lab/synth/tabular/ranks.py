"""A table as whole numbers: of each number its place among the values of its column, of each
category its cell.

Places are split and averaged by trees as well as values are, and outliers do not pull at them. What
is missing is said apart: columns that are missing in the same rows share one *gap*, 0 or 1, so that
a group of sensors that is off is off as one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.synth.network.columns import Floats
from gan_lab.synth.network.encoding import CategoricalColumn, Column, Encoding

Places = NDArray[np.float32]

COMMON_ROWS = 5  # a number that fewer rows have is drawn between its neighbours, not as it was
ATOM = 5  # times as many rows as a number mostly has, and it stands for itself, as a cap does
MISSING = -1.0  # the place of what is missing
FEW_CELLS = 3  # of a category that counts as a number, in the order of its cells


@dataclass
class Variable:
    """One thing to draw: a gap (`column` is None), or a column where it is not missing.

    `gap`: the number of the variable that says where this one is missing. `values`: the distinct
    numbers, rising; `rows`: how many rows have each.
    """

    column: Column | None = None
    gap: int | None = None
    values: Floats = field(default_factory=lambda: np.zeros(0))
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def name(self) -> str:
        """The column's name, as text."""
        return "what is missing" if self.column is None else str(self.column.name)

    @property
    def ordered(self) -> bool:
        """Whether places are ranks of many numbers, rather than cells or a few values."""
        return bool(self.column is not None and self.column.stretches)

    @property
    def common(self) -> NDArray[np.bool_]:
        """Which numbers occur in five rows or more."""
        return self.rows >= COMMON_ROWS

    @property
    def atoms(self) -> NDArray[np.bool_]:
        """Which of these occur so often that what lies beside them is something else."""
        return self.common & (self.rows >= ATOM * np.median(self.rows))

    @property
    def scores(self) -> Floats:
        """The distinct numbers in standard deviations."""
        scale = self.values.std()
        return (self.values - self.values.mean()) / (scale if scale > 0 else 1.0)

    def score(self, places: Places) -> Places:
        """Return what places count in a sum: standard deviations of a number, 0 where missing."""
        if len(self.values):
            scores = np.interp(places, np.arange(len(self.values)), self.scores).astype(np.float32)
        else:
            scores = places * (self.column is None or self.column.cells <= FEW_CELLS)
        return np.where(places < 0, np.float32(0), scores)


class Ranks:
    """The variables of a table in the order they are drawn in: gaps, columns, the target last."""

    def __init__(self, encoding: Encoding, variables: list[Variable], target: Any) -> None:
        self.encoding, self.variables, self.target = encoding, variables, target

    @classmethod
    def fit(cls, encoding: Encoding, table: pd.DataFrame, target: Any) -> tuple[Ranks, Places]:
        """Return the ranks of a table, and its places: (rows, variables)."""
        gaps: dict[bytes, int] = {}
        masks, variables, places = [], [], []
        for column in sorted(encoding.columns, key=lambda column: column.name == target):
            variable, mine = _ranked(column, table[column.name])
            missing = mine == MISSING
            if missing.any():
                key = np.packbits(missing).tobytes()
                if key not in gaps:
                    gaps[key] = len(gaps)
                    masks.append(missing.astype(np.float32))
                variable.gap = gaps[key]
            variables.append(variable)
            places.append(mine)
        variables = [Variable() for _ in masks] + variables
        return cls(encoding, variables, target), np.column_stack(masks + places)

    def decode(self, places: Places) -> pd.DataFrame:
        """Return the rows that places stand for, which may lie between two whole numbers."""
        series = {
            variable.column.name: _series(variable, variable.column, mine)
            for variable, mine in zip(self.variables, places.T, strict=True)
            if variable.column is not None
        }
        names = [column.name for column in self.encoding.columns]
        table = pd.concat([series[name] for name in names], axis=1)
        table.columns = pd.Index(names)
        return table

    @classmethod
    def from_arrays(
        cls,
        encoding: Encoding,
        arrays: dict[str, NDArray[Any]],
        gaps: list[int | None],
        target: Any,
    ) -> Ranks:
        """Return the ranks whose variables have the arrays "0.values", "0.rows" and so on."""
        columns = sorted(encoding.columns, key=lambda column: column.name == target)
        first: list[Column | None] = [None] * (len(gaps) - len(columns))
        parts = zip([*first, *columns], gaps, strict=True)
        variables = [
            Variable(column, gap, arrays[f"{number}.values"], arrays[f"{number}.rows"])
            for number, (column, gap) in enumerate(parts)
        ]
        return cls(encoding, variables, target)


def _ranked(column: Column, series: pd.Series[Any]) -> tuple[Variable, Places]:
    if isinstance(column, CategoricalColumn):
        places = column.encode(series)[0].astype(np.float32)
        if column.missing_cell is not None:
            places[places == column.missing_cell] = MISSING
        return Variable(column), places
    numbers = column.read(series)
    known = ~np.isnan(numbers)
    values, place, count = np.unique(numbers[known], return_inverse=True, return_counts=True)
    places = np.full(len(numbers), MISSING, dtype=np.float32)
    places[known] = place
    return Variable(column, values=values, rows=count), places


def _series(variable: Variable, column: Column, places: Places) -> pd.Series[Any]:
    missing = places < 0
    if isinstance(column, CategoricalColumn):
        cells = places.astype(np.int16)
        if column.missing_cell is not None:
            cells[missing] = column.missing_cell
        return column.decode(cells, np.zeros(0, dtype=np.float32))
    if not len(variable.values):  # so few are known that none was among the rows to learn from
        return column.write(np.full(len(places), np.nan))
    numbers = np.interp(places, np.arange(len(variable.values)), variable.values)
    numbers[missing] = np.nan
    return column.write(numbers)
