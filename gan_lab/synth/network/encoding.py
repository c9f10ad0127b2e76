"""A table as a matrix and back: one softmax group a column, in plain numpy.

Each column becomes a group of *cells* of which a row takes one. A cell is a value that occurs
often, a category, "missing", or a stretch of numbers; within a stretch a row also has a *deviation*
in (-1, 1), its normal score. That is SDV's mode-specific normalisation (Xu et al. 2019,
arXiv:1907.00503) with as few modes as there are: what ties one number to another shows in their
deviations, and need not be learned through a choice of cells. A column with one cell and no
deviation is constant and costs the network nothing. Values that stand apart (a capped remaining
useful life, zeros) get a cell of their own (mixed-type encoding, Zhao et al. 2021,
arXiv:2102.08369).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadTable
from gan_lab.synth.network.columns import (
    EXACT,
    Floats,
    NumericColumn,
    numbers_of,
    plain,
)
from gan_lab.synth.network.normal_scores import Stretch, stretches

Codes = NDArray[np.int16]
Deviations = NDArray[np.float32]

FEW_VALUES = 20  # a number with at most so many distinct values is a category
MAX_LEVELS = 500  # text with more names rows rather than describing them
SPREAD = 4.0  # a deviation of 1 is a normal score of four, as SDV's modes reach


@dataclass
class EncodedNumber(NumericColumn):
    """A column of numbers; its cells are its `stretches`, its `atoms` and, last, "missing"."""

    stretches: list[Stretch] = field(default_factory=list)
    atoms: list[float] = field(default_factory=list)
    missing: bool = False

    @classmethod
    def fit(cls, series: pd.Series[Any], numbers: Floats, origin: int) -> Column:
        """Choose the cells of a column."""
        known = numbers[~np.isnan(numbers)]
        if not len(known):
            raise no_value(series)
        values, counts = np.unique(known, return_counts=True)
        if pd.api.types.is_integer_dtype(series.dtype) and max(-values[0], values[-1]) >= EXACT:
            raise BadTable(
                f"Column {series.name!r} holds integers beyond 2^53, which cannot be told apart. "
                "Drop it if they name rows, or divide them: nanoseconds into seconds."
            )
        atoms = values if len(values) <= FEW_VALUES else _frequent(values, counts)
        rest = ~np.isin(values, atoms)
        return cls.of(
            series,
            known,
            origin=origin,
            stretches=stretches(values[rest], counts[rest]) if rest.any() else [],
            atoms=atoms.tolist(),
            missing=len(known) < len(numbers),
        )

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.stretches) + len(self.atoms) + self.missing

    @property
    def missing_cell(self) -> int | None:
        """The cell of a missing value, None where none is missing."""
        return self.cells - 1 if self.missing else None

    @property
    def names(self) -> list[str | None]:
        """What each cell is called, None where it holds no one value."""
        atoms = [f"{atom:g}" for atom in self.atoms]
        return [None] * len(self.stretches) + atoms + [None] * self.missing

    def encode(self, series: pd.Series[Any]) -> tuple[Floats, Floats]:
        """Return codes and deviations: an atom where a number is one, else its stretch."""
        numbers = self.read(series)
        firsts = [values[0] for values, _ in self.stretches]
        codes = (np.searchsorted(firsts, numbers, side="right") - 1).clip(0)
        deviations = np.full(len(numbers), np.nan)
        for code, (values, scores) in enumerate(self.stretches):
            mine = codes == code
            deviations[mine] = np.interp(numbers[mine], values, scores) / SPREAD
        if self.atoms:
            atoms = np.array(self.atoms)
            nearest = np.searchsorted((atoms[1:] + atoms[:-1]) / 2, numbers)
            apart = (atoms[nearest] == numbers) | (not firsts)
            codes[apart], deviations[apart] = len(firsts) + nearest[apart], np.nan
        missing = np.isnan(numbers)
        codes[missing], deviations[missing] = self.cells - 1, np.nan
        return codes, deviations.clip(-0.99, 0.99)

    def numbers(self, codes: Codes, deviations: Deviations) -> Floats:
        """Return the numbers that cells and deviations stand for, NaN where missing."""
        numbers = np.array([np.nan] * len(self.stretches) + self.atoms + [np.nan])[codes]
        for code, (values, scores) in enumerate(self.stretches):
            mine = codes == code
            numbers[mine] = np.interp(SPREAD * deviations[mine], scores, values)
        return numbers

    def decode(self, codes: Codes, deviations: Deviations) -> pd.Series[Any]:
        """Return the column that cells and deviations stand for."""
        return self.write(self.numbers(codes, deviations))


@dataclass
class CategoricalColumn:
    """A column of words or booleans; its cells are its `levels`, None where that is missing.

    `categories` and `ordered` are those of pandas.
    """

    name: Any
    dtype: str
    levels: list[Any]
    categories: list[Any] | None = None
    ordered: bool = False
    stretches = ()

    @classmethod
    def fit(cls, series: pd.Series[Any]) -> Column:
        """Choose the cells of a column."""
        name, counts = plain(series.name), series.astype(object).value_counts(dropna=True)
        if not len(counts):
            raise no_value(series)
        if len(counts) > MAX_LEVELS:
            raise BadTable(
                f"Column {name!r} holds {len(counts):,} different texts in {len(series):,} rows: "
                "it names rows rather than describing them. Drop it, or replace it by a coarser "
                f"category, of {MAX_LEVELS} levels at most."
            )
        categories = getattr(series.dtype, "categories", None)
        return cls(
            name=name,
            dtype="category" if categories is not None else str(series.dtype),
            levels=[plain(level) for level in counts.index] + [None] * bool(series.isna().any()),
            categories=None if categories is None else [plain(level) for level in categories],
            ordered=bool(getattr(series.dtype, "ordered", False)),
        )

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.levels)

    @property
    def missing_cell(self) -> int | None:
        """The cell of a missing value, None where none is missing."""
        return self._known if self._known < self.cells else None

    @property
    def names(self) -> list[str | None]:
        """What each cell is called, None where it holds no one value."""
        return [None if level is None else str(level) for level in self.levels]

    @property
    def _known(self) -> int:
        return sum(level is not None for level in self.levels)

    def encode(self, series: pd.Series[Any]) -> tuple[Codes, float]:
        """Return codes, and NaN for deviations; raises `BadTable` for a level that was not seen."""
        cell = {level: code for code, level in enumerate(self.levels[: self._known])}
        codes = series.astype(object).map(cell)
        unseen = codes.isna() & series.notna()
        if unseen.any():
            raise BadTable(
                f"Column {self.name!r} holds {series[unseen].iloc[0]!r}, which the model has not "
                "seen."
            )
        return codes.fillna(self._known).to_numpy(dtype=np.int16), np.nan

    def decode(self, codes: Codes, deviations: Deviations) -> pd.Series[Any]:
        """Return the column that cells stand for."""
        words = np.array([*self.levels, None], dtype=object)[:-1][codes]
        if self.categories is not None:
            dtype = pd.CategoricalDtype(self.categories, ordered=self.ordered)
            return pd.Series(words).astype(dtype)
        return pd.Series(words, dtype=object).astype(self.dtype)


Column = EncodedNumber | CategoricalColumn


@dataclass(frozen=True)
class Encoded:
    """Rows as the network sees them.

    `deviations`: float32 (rows, columns with stretches), NaN where the row's cell is none.
    `codes`: int16 (rows, columns with several cells), the cell each row takes.
    """

    deviations: Deviations
    codes: Codes

    def __len__(self) -> int:
        return len(self.codes)


class Encoding:
    """How the columns of one table are turned into deviations and codes, and back."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = list(columns)
        self.modal = [column for column in self.columns if column.stretches]
        self.groups = [column for column in self.columns if column.cells > 1]
        self.widths = [column.cells for column in self.groups]

    @property
    def varies(self) -> bool:
        """Whether any column is not constant."""
        return bool(self.modal or self.groups)

    @classmethod
    def fit(cls, table: pd.DataFrame) -> Encoding:
        """Learn the encoding of a table; raises `BadTable` naming a column that cannot be
        modelled."""
        return cls([_fit_column(table[name]) for name in table.columns])

    def encode(self, table: pd.DataFrame) -> Encoded:
        """Turn rows into deviations and codes."""
        deviations = np.empty((len(table), len(self.modal)), dtype=np.float32)
        codes = np.empty((len(table), len(self.groups)), dtype=np.int16)
        for column, cells, scores in self.parts(Encoded(deviations, codes)):
            cells[:], scores[:] = column.encode(table[column.name])
        return Encoded(deviations, codes)

    def decode(self, encoded: Encoded) -> pd.DataFrame:
        """Turn deviations and codes into rows with the table's own names, types and order."""
        series = [column.decode(codes, scores) for column, codes, scores in self.parts(encoded)]
        table = pd.concat(series, axis=1)
        table.columns = pd.Index([column.name for column in self.columns])
        return table

    def parts(self, encoded: Encoded) -> Iterator[tuple[Column, Codes, Deviations]]:
        """Yield each column, its codes (0 where it has one cell) and its deviations, as views."""
        codes, deviations = iter(encoded.codes.T), iter(encoded.deviations.T)
        for column in self.columns:
            yield (
                column,
                next(codes) if column.cells > 1 else np.zeros(len(encoded), dtype=np.int16),
                next(deviations) if column.stretches else np.zeros(len(encoded), dtype=np.float32),
            )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the encoding as plain JSON values."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, columns: list[dict[str, Any]]) -> Encoding:
        """Build the encoding that `to_json` wrote."""
        return cls(
            [
                CategoricalColumn(**column) if "levels" in column else EncodedNumber(**column)
                for column in columns
            ]
        )


def no_value(series: pd.Series[Any]) -> BadTable:
    """Return the refusal of a column that is missing in every row."""
    return BadTable(f"Column {series.name!r} has no value in any row. Drop the column.")


def _fit_column(series: pd.Series[Any]) -> Column:
    numbers, origin = numbers_of(series), 0
    if numbers is None:
        return CategoricalColumn.fit(series)
    if series.dtype.kind == "M":  # counted from the first, so that nanoseconds are exact
        first = series.min()
        if pd.isna(first):
            raise no_value(series)
        origin = first.as_unit("ns").value
        numbers = numbers_of(series, origin)
        assert numbers is not None
    return EncodedNumber.fit(series, numbers, origin)


def _frequent(values: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return the values that stand apart: 2 % of the rows and five times a value's even share."""
    share = counts / counts.sum()
    frequent = np.flatnonzero(share >= max(0.02, 5 / len(values)))
    return values[np.sort(frequent[np.argsort(-share[frequent], kind="stable")][:10])]
