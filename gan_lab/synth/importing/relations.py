"""What always holds inside a row: found in a table, and kept in what is drawn."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain, combinations, permutations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.workspace.profiles import Relation

MIN_ROWS = 100  # fewer may hold anything
MAX_COLUMNS = 100  # of more, pairs are too many
MAX_ROWS, FIRST_ROWS = 5000, 200  # that are looked at for proposals, and that rule out most
CHANCE, BREAKS = 0.01, 8  # what columns drawn apart break less often, or in fewer rows, is chance
TOUCH = 0.02  # a bound is reached: the smallest gap, of the median one
LARGEST = np.nextafter(2.0**63, 0)  # that an int64 holds
Floats = NDArray[np.float64]


def find_relations(table: pd.DataFrame, decimals: Mapping[str, int]) -> list[Relation]:
    """Return what holds in every row of some columns of numbers, in the order in which it is to be
    kept: one that copies or rounds another, is the sum of two, is never below another.

    `decimals`: of each column that is looked at.
    """
    if len(table) < MIN_ROWS or len(decimals) > MAX_COLUMNS:
        return []
    some = table.iloc[:: -(-len(table) // MAX_ROWS)]
    values = {name: _floats(some[name]) for name in decimals}
    values = {name: column for name, column in values.items() if _told(column, decimals[name])}
    found: list[Relation] = []
    needs = {name: {name} for name in values}  # all that a column is made of
    free = dict(values)  # what no relation makes; bounds are looked for among what is left of it
    proposals = (_rounded(values, decimals), _sums(values, decimals), _orders(free, decimals))
    for relation in chain.from_iterable(proposals):
        name, behind = relation.column, set[str]().union(*(needs[part] for part in relation.of))
        if name in free and name not in behind and _stands(table, relation):
            for each in needs.values():
                each |= behind if name in each else set()
            if relation.kind != "at least":
                del free[name]
            found.append(relation)
    return sorted(found, key=lambda relation: len(needs[relation.column]))


def hold(table: pd.DataFrame, relations: Sequence[Relation], fixed: Collection[str] = ()) -> None:
    """Make relations hold in the rows of a table where all of their columns are finite numbers.

    Columns in `fixed` stay as they are. A whole number stays in the range of its type.
    """
    numbers = set(table.select_dtypes("number"))
    for relation in relations:
        name, parts = relation.column, relation.of
        if name in fixed or not {name, *parts} <= numbers:
            continue
        drawn, given = _floats(table[name]), [_floats(table[part]) for part in parts]
        kept = np.round(sum(given), relation.decimals)
        if relation.kind == "at least":
            step = 10.0**relation.decimals
            lifted = np.ceil(np.round(given[0] * step, 6)) / step
            kept = np.where(given[0] > drawn, lifted, drawn)
        dtype = table[name].dtype
        if pd.api.types.is_integer_dtype(dtype):
            limits = np.iinfo(getattr(dtype, "numpy_dtype", dtype))
            kept = np.clip(np.round(kept), limits.min, min(limits.max, LARGEST))
        change = np.isfinite(drawn) & np.isfinite(kept) & (kept != drawn)
        new = pd.Series(np.where(change, kept, 0), table.index).astype(dtype)
        table[name] = table[name].mask(change, new)


def _stands(table: pd.DataFrame, relation: Relation) -> bool:
    """Whether holding a relation leaves a table as it is, to half a unit of the last decimal."""
    rows = table[[relation.column, *relation.of]]
    rows = rows[np.isfinite([_floats(rows[name]) for name in rows]).all(axis=0)]
    before = _floats(rows[relation.column])
    hold(rows := rows.copy(), [relation])
    moved = np.abs(_floats(rows[relation.column]) - before)
    return len(rows) >= MIN_ROWS and bool((moved <= 0.5 * 10.0**-relation.decimals).all())


def _told(column: Floats, decimals: int) -> bool:
    """Whether there are enough values, whose decimals tell them: not of those near 1e-12."""
    there = column[~np.isnan(column)]
    lost = np.abs(np.round(there, decimals) - there)
    return len(there) >= MIN_ROWS and bool(lost.max() <= 1e-6 * there.std())


def _rounded(values: dict[str, Floats], decimals: Mapping[str, int]) -> Iterator[Relation]:
    places = list(values)
    for name, other in permutations(values, 2):
        fewer = decimals[name] - decimals[other]
        if fewer > 0 or (fewer == 0 and places.index(name) < places.index(other)):
            continue
        half = 0.5 * 10.0 ** -decimals[name] + 1e-9
        if not (np.abs(values[name] - values[other]) > half).any():
            yield Relation(column=name, kind="rounded", of=[other], decimals=decimals[name])


def _sums(values: dict[str, Floats], decimals: Mapping[str, int]) -> Iterator[Relation]:
    if len(values) < 3:
        return
    names = list(values)
    every = np.array([values[name] for name in names])
    first = every[:, :: -(-every.shape[1] // FIRST_ROWS)]
    half = 0.5 * 10.0 ** -np.array([[decimals[name]] for name in names]) + 1e-9
    for one, two in combinations(range(len(names)), 2):
        near = ~(np.abs(first - (first[one] + first[two])) > half).any(axis=1)
        near[[one, two]] = False
        for third in np.flatnonzero(near):
            name, of = names[third], [names[one], names[two]]
            yield Relation(column=name, kind="sum", of=of, decimals=decimals[name])


def _orders(values: dict[str, Floats], decimals: Mapping[str, int]) -> Iterator[Relation]:
    """Yield which columns are never below which, without what follows from two others."""
    ranked = {name: np.sort(column[~np.isnan(column)]) for name, column in values.items()}
    means = {name: column.mean() for name, column in ranked.items()}
    above = {
        (high, low)
        for high, low in permutations(values, 2)
        if means[high] > means[low]
        and ranked[high][0] < ranked[low][-1]  # else nothing could break it
        and not (values[high] < values[low]).any()
        and _bound(values[high] - values[low], ranked[high], ranked[low])
    }
    for high, low in sorted(above):
        if not any((high, between) in above and (between, low) in above for between in values):
            yield Relation(column=high, kind="at least", of=[low], decimals=decimals[high])


def _bound(gap: Floats, high: Floats, low: Floats) -> bool:
    """Whether one column bounds another, which chance would not keep below it, and is reached.

    `high`, `low`: their values, sorted.
    """
    gap = gap[~np.isnan(gap)]
    broken = 1 - np.searchsorted(low, high, side="right").mean() / len(low)
    enough = len(gap) >= MIN_ROWS and broken >= max(CHANCE, BREAKS / len(gap))
    return bool(enough and gap.min() <= TOUCH * np.median(gap))


def _floats(column: pd.Series[Any]) -> Floats:
    values = column.to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)
