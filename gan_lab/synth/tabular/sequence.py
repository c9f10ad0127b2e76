"""Rows drawn variable by variable, each from the leaf in which a tree puts what is known so far.

Sequential trees (Reiter 2005, "Using CART to generate partially synthetic public use microdata";
Nowok, Raab, Dibben 2016, the R package synthpop), with one addition: every tree also sees a linear
guess of its variable, so that sums and strong ties need no staircase of splits.

Where values are asked for, rows are drawn in plenty and those kept, by chance, that lead there
(sampling importance resampling, Rubin 1987): every row meets what was asked, and what comes before
is as likely as it is beside such a value.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gan_lab.synth.tabular.ranks import MISSING, Places, Variable
from gan_lab.synth.tabular.trees import Tree, grow

OnVariable = Callable[[str], None]
Spans = dict[int, tuple[int, int]]  # lowest and highest place asked of a variable, by its number

RIDGE = 1e-4  # variance of columns, below which a difference of ties is no guess but noise
PLENTY, MOST_ROWS = 100, 200_000  # at most so many rows are drawn for each one asked for, at once


@dataclass(frozen=True)
class Sequence:
    """A tree of each variable, and the `weights` of its linear guess (variables, variables)."""

    variables: list[Variable]
    trees: list[Tree]
    weights: Places

    @classmethod
    def fit(
        cls, variables: list[Variable], places: Places, seed: int, on_variable: OnVariable
    ) -> Sequence:
        """Grow the trees from places (rows, variables), side by side; `on_variable(name)` hears of
        each, and what it raises ends the fit."""
        scores = np.column_stack(
            [each.score(mine) for each, mine in zip(variables, places.T, strict=True)]
        )
        weights = np.zeros((len(variables), len(variables)), dtype=np.float32)

        def learn(number: int) -> Tree:
            rows = np.flatnonzero(places[:, number] != MISSING)
            known = np.asfortranarray(places[rows, : number + 1])
            before, wanted = scores[rows, :number], known[:, number].copy()
            weights[number, :number] = _linear(before, scores[rows, number])
            known[:, number] = before @ weights[number, :number]
            return grow(known, wanted, variables[number], seed + number)

        trees = []
        pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        try:
            for variable, tree in zip(
                variables, pool.map(learn, range(len(variables))), strict=True
            ):
                trees.append(tree)
                on_variable(variable.name)
        finally:
            pool.shutdown(cancel_futures=True)
        return cls(variables, trees, weights)

    def draw(self, rows: int, rng: np.random.Generator, spans: Spans) -> tuple[Places, float]:
        """Return the places of so many rows, (rows, variables), each of which meets the `spans`,
        and how likely that is; no rows and 0 where not one leads there."""
        plenty = self._plenty(spans)
        if not plenty:
            return np.empty((0, len(self.variables)), dtype=np.float32), 0.0
        count = max(1, -(-rows * plenty // MOST_ROWS))
        sizes = [len(part) for part in np.array_split(np.arange(rows), count)]
        parts = [self._draw(size, plenty, rng, spans) for size in sizes]
        chances = [chance for _, chance in parts]
        places = np.concatenate([found for found, _ in parts])
        return (places, float(np.mean(chances))) if all(chances) else (places[:0], 0.0)

    def _draw(
        self, rows: int, plenty: int, rng: np.random.Generator, spans: Spans
    ) -> tuple[Places, float]:
        places = np.empty((rows * plenty, len(self.variables)), dtype=np.float32)
        scores, chance = places.copy(), 1.0
        for number, (variable, tree) in enumerate(zip(self.variables, self.trees, strict=True)):
            places[:, number] = scores[:, :number] @ self.weights[number, :number]
            start, stop = tree.leaves(places[:, : number + 1])
            if variable.gap is not None:
                stop = np.where(places[:, variable.gap] == 1.0, start, stop)
            if span := spans.get(number):
                first, last = tree.narrowed(start, stop, span)
                weight = (last - first) / np.maximum(stop - start, 1)
                chance *= float(weight.mean())
                if not chance:
                    return places[:0], 0.0
                kept = _resampled(weight, rows if number == max(spans) else len(weight), rng)
                places, scores, start, stop = places[kept], scores[kept], first[kept], last[kept]
            found = tree.picked(variable, start, stop, rng)
            places[:, number] = found.clip(*span) if span else found
            scores[:, number] = variable.score(places[:, number])
        return places, chance

    def _plenty(self, spans: Spans) -> int:
        """Return how many rows to draw for each that is kept, by how often spans are met; 0 where
        one of them never is."""
        chance = 1.0
        for number, (low, high) in spans.items():
            shown = self.trees[number].values
            chance *= ((shown >= low) & (shown <= high)).mean() if len(shown) else 0.0
        if not chance:
            return 0
        return int(np.clip(4 / chance, 4, PLENTY)) if chance < 1 else 1


def _linear(known: Places, scores: Places) -> Places:
    """Return the weights of a sum of what is known (rows, columns) that comes nearest to scores."""
    if not known.size:
        return np.zeros(known.shape[1], dtype=np.float32)
    apart = known.astype(np.float64) - known.mean(axis=0)
    square = apart.T @ apart
    square.flat[:: len(square) + 1] += RIDGE * len(known) + 1e-9
    wanted = apart.T @ (scores - scores.mean(dtype=np.float64))
    return np.linalg.solve(square, wanted).astype(np.float32)


def _resampled(
    weight: NDArray[np.float64], rows: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return so many rows, each as often as its weight says (systematic resampling)."""
    mass = weight.cumsum()
    marks = (np.arange(rows) + rng.random()) * (mass[-1] / rows)
    return np.searchsorted(mass, marks, side="right").clip(max=len(weight) - 1)
