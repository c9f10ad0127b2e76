"""What always holds inside a row: found in a table, and kept in what is drawn."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.workspace.profiles import Relation

MIN_ROWS = 100  # fewer may hold anything
MAX_COLUMNS = 100  # of more, pairs are too many
CHANCE = 0.01  # what columns drawn apart break less often needs no relation
TOUCH = 0.02  # a bound is reached: the smallest gap, of the median one
FIRST_ROWS = 200  # which rule out most
Floats = NDArray[np.float64]


def find_relations(table: pd.DataFrame, decimals: Mapping[str, int]) -> list[Relation]:
    """Return what holds in every row of some columns of numbers, in the order in which it is to be
    kept: one that copies or rounds another, is the sum of two, is never below another.

    `decimals`: of each column that is looked at.
    """
    if len(table) < MIN_ROWS or len(decimals) > MAX_COLUMNS:
        return []
    values = {name: _floats(table[name]) for name in decimals}
    found: list[Relation] = []
    sources: dict[str, set[str]] = {}
    for relation in [*_rounded(values, decimals), *_sums(values, decimals)]:
        behind = set(relation.of).union(*(sources.get(name, ()) for name in relation.of))
        if relation.column not in sources and relation.column not in behind:
            sources[relation.column] = behind
            found.append(relation)
    free = {name: column for name, column in values.items() if name not in sources}
    found += _orders(free, decimals)
    needs: dict[str, set[str]] = {}
    for relation in found:
        needs.setdefault(relation.column, set()).update(relation.of)
    order = list(TopologicalSorter(needs).static_order())
    return sorted(found, key=lambda relation: order.index(relation.column))


def hold(table: pd.DataFrame, relations: Sequence[Relation], fixed: Collection[str] = ()) -> None:
    """Make relations hold in the rows of a table; columns in `fixed` stay as they are."""
    for relation in relations:
        name, parts = relation.column, relation.of
        if name in fixed or not {name, *parts} <= set(table):
            continue
        drawn, given = _floats(table[name]), [_floats(table[part]) for part in parts]
        kept = np.round(sum(given), relation.decimals)
        if relation.kind == "at least":
            step = 10.0**relation.decimals
            lifted = np.ceil(np.round(given[0] * step, 6)) / step
            kept = np.where(given[0] > drawn, lifted, drawn)
        missing = np.isnan(drawn) | np.isnan(kept)
        table[name] = pd.Series(np.where(missing, drawn, kept), table.index).astype(
            table[name].dtype
        )


def _rounded(values: dict[str, Floats], decimals: Mapping[str, int]) -> Iterator[Relation]:
    places = list(values)
    for name, other in permutations(values, 2):
        fewer = decimals[name] - decimals[other]
        if fewer > 0 or (fewer == 0 and places.index(name) < places.index(other)):
            continue
        half = 0.5 * 10.0 ** -decimals[name] if fewer else 0.0
        if _always(
            np.abs(values[name] - values[other]) <= half + 1e-9, values[name], values[other]
        ):
            yield Relation(column=name, kind="rounded", of=[other], decimals=decimals[name])


def _sums(values: dict[str, Floats], decimals: Mapping[str, int]) -> Iterator[Relation]:
    """Yield sums; what rounding may take from one is allowed for where that is little."""
    slack = {
        name: 1.5 * 10.0 ** -decimals[name] + 1e-9 * np.nanmax(np.abs(column))
        for name, column in values.items()
    }
    spread = {name: float(np.nanstd(column)) for name, column in values.items()}
    some = [name for name in values if spread[name] > 10 * slack[name]]
    first = {name: values[name][:FIRST_ROWS] for name in some}
    for one, two in combinations(some, 2):
        added = first[one] + first[two]
        for name in some:
            if name in (one, two) or (np.abs(added - first[name]) > slack[name]).any():
                continue
            apart = np.abs(values[one] + values[two] - values[name])
            if _always(apart <= slack[name], apart):
                yield Relation(column=name, kind="sum", of=[one, two], decimals=decimals[name])


def _orders(values: dict[str, Floats], decimals: Mapping[str, int]) -> list[Relation]:
    """Return which columns are never below which, without what follows from two others."""
    means = {name: float(np.nanmean(column)) for name, column in values.items()}
    above = {
        (high, low)
        for high, low in permutations(values, 2)
        if means[high] > means[low]
        and not (values[high][:FIRST_ROWS] < values[low][:FIRST_ROWS]).any()
        and _always(values[high] >= values[low], values[high], values[low])
        and _bound(values[high], values[low])
    }
    return [
        Relation(column=high, kind="at least", of=[low], decimals=decimals[high])
        for high, low in sorted(above)
        if not any((high, between) in above and (between, low) in above for between in values)
    ]


def _always(holds: NDArray[np.bool_], *columns: Floats) -> bool:
    """Whether something holds in every row without gaps, and there are enough of these."""
    whole = ~np.isnan(np.array(columns)).any(axis=0)
    return int(whole.sum()) >= MIN_ROWS and bool(holds[whole].all())


def _bound(high: Floats, low: Floats) -> bool:
    """Whether one column bounds another, which chance would not keep below it, and is reached."""
    gap, least = high - low, np.sort(low[~np.isnan(low)])
    broken = np.searchsorted(least, high[~np.isnan(high)], side="right") / len(least)
    return bool(1 - broken.mean() >= CHANCE and np.nanmin(gap) <= TOUCH * np.nanmedian(gap))


def _floats(column: pd.Series[Any]) -> Floats:
    return column.to_numpy(np.float64, na_value=np.nan)
