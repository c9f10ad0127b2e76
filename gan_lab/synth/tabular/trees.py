"""Decision trees as plain arrays: which values of a column go with the columns before it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_lab.synth.tabular.ranks import Places, Variable

Ints = NDArray[np.int32]

LEAF_ROWS = 5
SHAPED = 0.5  # of the rows shape a tree, all fill its leaves: these are not as narrow as chance


@dataclass(frozen=True)
class Forest:
    """Trees side by side, a node a place in every array; nothing but numbers.

    A row whose `feature` is at most `threshold` goes to the next node, any other to `right`. A node
    whose `right` is 0 is a leaf: it holds `values[start : stop]`, rising, of a column alone.
    """

    feature: Ints
    threshold: Places
    right: Ints
    start: Ints
    stop: Ints
    values: Ints

    @classmethod
    def of(cls, trees: list[Forest]) -> tuple[Forest, list[int]]:
        """Return trees as one forest, and the root of each."""
        nodes = np.cumsum([0] + [len(tree.feature) for tree in trees])
        held = np.cumsum([0] + [len(tree.values) for tree in trees])
        moved = [
            Forest(
                tree.feature,
                tree.threshold,
                np.where(tree.right, tree.right + node, 0).astype(np.int32),
                tree.start + np.int32(value),
                tree.stop + np.int32(value),
                tree.values,
            )
            for tree, node, value in zip(trees, nodes, held, strict=False)
        ]
        arrays = [
            np.concatenate([getattr(each, field.name) for each in moved]) for field in fields(cls)
        ]
        return cls(*arrays), nodes[:-1].tolist()

    def leaves(self, roots: NDArray[np.int64], inputs: Places) -> NDArray[np.int64]:
        """Return the leaf of each row of inputs (rows, columns), on the way from its root."""
        node = roots.copy()
        rows = np.flatnonzero(self.right[node])
        at = node[rows]
        while len(rows):
            over = inputs[rows, self.feature[at]] > self.threshold[at]
            at = np.where(over, self.right[at], at + 1)
            node[rows] = at
            inner = self.right[at] > 0
            rows, at = rows[inner], at[inner]
        return node

    def tensors(self) -> dict[str, Tensor]:
        """Return what a file must hold."""
        return {each.name: torch.from_numpy(getattr(self, each.name)) for each in fields(self)}


def grow(inputs: Places, places: Places, variable: Variable, seed: int) -> Forest:
    """Return the tree that predicts the places of a variable from inputs (rows, columns)."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows, values = len(places), places.astype(np.int32)
    shaping = np.random.default_rng(seed).permutation(rows)[: int(SHAPED * rows)]
    if not inputs.shape[1] or len(np.unique(places[shaping])) < 2:
        zero = np.zeros(1, dtype=np.int32)
        return Forest(zero, zero.astype(np.float32), zero, zero, zero + rows, np.sort(values))
    kind = DecisionTreeRegressor if variable.ordered else DecisionTreeClassifier
    model = kind(min_samples_leaf=LEAF_ROWS, random_state=seed)
    model.fit(inputs[shaping], _target(variable, places)[shaping])
    leaf, tree = model.apply(inputs), model.tree_
    order, nodes = np.lexsort((values, leaf)), np.arange(tree.node_count)
    inner = tree.children_left >= 0
    assert (tree.children_left[inner] == nodes[inner] + 1).all(), "scikit-learn goes left first"
    return Forest(
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
