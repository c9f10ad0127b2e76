"""A decision tree as plain arrays: which values of a column go with the columns before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.tabular.ranks import MISSING, Places, Variable

Ints = NDArray[np.int32]
Spots = NDArray[np.int64]

LEAF_ROWS = 5
SHAPED = 0.5  # of the rows shape a tree, all fill its leaves: these are not as narrow as chance


@dataclass(frozen=True)
class Tree:
    """A node a place in every array but the last; nothing but numbers.

    A row whose `feature` is at most `threshold` goes to the next node, any other to `right`. A node
    whose `right` is 0 is a leaf: it holds `values[start : stop]`, rising, of a column alone.
    """

    feature: Ints
    threshold: Places
    right: Ints
    start: Ints
    stop: Ints
    values: Ints

    def leaves(self, inputs: Places) -> tuple[Spots, Spots]:
        """Return where the values of the leaf of each row of inputs (rows, columns) begin and
        end."""
        node = np.zeros(len(inputs), dtype=np.int64)
        rows = np.arange(len(inputs) if self.right[0] else 0)
        at = node[rows]
        while len(rows):
            over = inputs[rows, self.feature[at]] > self.threshold[at]
            at = np.where(over, self.right[at], at + 1)
            node[rows] = at
            inner = self.right[at] > 0
            rows, at = rows[inner], at[inner]
        return self.start[node].astype(np.int64), self.stop[node].astype(np.int64)

    def narrowed(self, start: Spots, stop: Spots, span: tuple[int, int]) -> tuple[Spots, Spots]:
        """Return the part of each leaf that lies in a span."""
        below = np.append(0, np.cumsum(self.values < span[0]))
        within = np.append(0, np.cumsum((self.values >= span[0]) & (self.values <= span[1])))
        first = start + below[stop] - below[start]
        return first, first + within[stop] - within[start]

    def picked(
        self, variable: Variable, start: Spots, stop: Spots, rng: np.random.Generator
    ) -> Places:
        """Return a place from each leaf, missing where it is empty. A number is moved at random by
        up to half the way to the next in the leaf, at its ends as far beyond, so that it is no
        copy: a common one to one that occurs, as its grid has it, and an atom not at all."""
        known = np.flatnonzero(stop > start)
        places = np.full(len(start), MISSING, dtype=np.float32)
        at = start[known] + (rng.random(len(known)) * (stop - start)[known]).astype(np.int64)
        values = self.values
        places[known] = values[at]
        if not variable.ordered:
            return places
        free = ~variable.atoms[values[at]]
        known, at = known[free], at[free]
        side = (rng.random(len(at)) - 0.5).astype(np.float32)
        first, last = at == start[known], at == stop[known] - 1
        lower = values[at] - values[np.where(first, at, at - 1)]
        upper = values[np.where(last, at, at + 1)] - values[at]
        lower, upper = np.where(first, upper, lower), np.where(last, lower, upper)
        moved = places[known] + side * np.where(side < 0, lower, upper)
        moved = np.where(variable.common[values[at]], np.rint(moved), moved)
        places[known] = moved.clip(0, len(variable.values) - 1)
        return places


def grow(inputs: Places, places: Places, variable: Variable, seed: int) -> Tree:
    """Return the tree that predicts the places of a variable from inputs (rows, columns)."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows, values = len(places), places.astype(np.int32)
    shaping = np.random.default_rng(seed).permutation(rows)[: int(SHAPED * rows)]
    if len(np.unique(places[shaping])) < 2:
        zero = np.zeros(1, dtype=np.int32)
        return Tree(zero, zero.astype(np.float32), zero, zero, zero + rows, np.sort(values))
    kind = DecisionTreeRegressor if variable.ordered else DecisionTreeClassifier
    model = kind(min_samples_leaf=LEAF_ROWS, random_state=seed)
    model.fit(inputs[shaping], _target(variable, places)[shaping])
    leaf, tree = model.apply(inputs), model.tree_
    order, nodes = np.lexsort((values, leaf)), np.arange(tree.node_count)
    inner = tree.children_left >= 0
    assert (tree.children_left[inner] == nodes[inner] + 1).all(), "scikit-learn goes left first"
    return Tree(
        np.where(inner, tree.feature, 0).astype(np.int32),
        tree.threshold.astype(np.float32),
        np.where(inner, tree.children_right, 0).astype(np.int32),
        np.searchsorted(leaf[order], nodes).astype(np.int32),
        np.searchsorted(leaf[order], nodes, side="right").astype(np.int32),
        values[order],
    )


def _target(variable: Variable, places: Places) -> NDArray[Any]:
    """Return ranks among rows, so that an outlier counts no more than its neighbour; or cells."""
    if not variable.ordered:
        return places
    values = places.astype(np.int32)
    count = np.bincount(values)
    return (np.cumsum(count) - count / 2)[values]
