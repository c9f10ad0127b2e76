"""Rows drawn variable by variable, each from the leaf in which a tree puts what is known so far.

Sequential trees (Reiter 2005, "Using CART to generate partially synthetic public use microdata";
Nowok, Raab, Dibben 2016, the R package synthpop), with two additions. Every tree also sees a linear
guess of its variable, so that sums and strong ties need no staircase of splits. And the classes of
the target have trees of their own, so that what is rare stays as rare and as learnable as it was.

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
from gan_lab.synth.tabular.trees import Forest, Ints, grow

OnColumn = Callable[[int, int, str], None]
Codes = Callable[[NDArray[np.int64]], Places]  # of rows, by their group
Spans = dict[int, tuple[int, int]]  # lowest and highest place asked of a variable, by its number

CLASS_ROWS = 20  # a class with fewer has no trees of its own
CLASSES = 10  # a target with more of them is a variable like others, drawn last
RIDGE = 1e-4  # variance of columns, below which a difference of ties is no guess but noise
PLENTY, MOST_ROWS = 100, 200_000  # at most so many rows are drawn for each one asked for, at once


@dataclass
class Drawn:
    """Rows being drawn: their `group`, and all that is known, as places and as `scores`.

    Both (rows, codes and variables). Before a variable is drawn its place is the linear guess.
    """

    group: NDArray[np.int64]
    places: Places
    scores: Places

    def __getitem__(self, rows: NDArray[np.int64]) -> Drawn:
        return Drawn(self.group[rows], self.places[rows], self.scores[rows])


class Sequence:
    """The trees of all variables: `roots` (groups, variables) in a forest, and the `weights` of
    the linear guesses (groups, variables, codes and variables); `group_rows` learned from."""

    def __init__(
        self,
        variables: list[Variable],
        forest: Forest,
        roots: Ints,
        weights: Places,
        group_rows: NDArray[np.int64],
    ) -> None:
        self.variables, self.forest, self.roots, self.weights = variables, forest, roots, weights
        self.group_rows = group_rows
        self.codes = weights.shape[2] - len(variables)

    @classmethod
    def fit(
        cls,
        variables: list[Variable],
        places: Places,
        codes: Places,
        group: NDArray[np.int64],
        seed: int,
        on_column: OnColumn | None = None,
    ) -> Sequence:
        """Grow the trees from places (rows, variables) and what stands before them (rows, codes).

        Variables are learned side by side; `on_column(done, of, name)` hears of each, and what it
        raises ends the fit.
        """
        inputs = np.concatenate([codes, places], axis=1)
        scores = np.column_stack(
            [codes, *(each.score(mine) for each, mine in zip(variables, places.T, strict=True))]
        )
        groups, ahead = int(group.max()) + 1, codes.shape[1]
        weights = np.zeros((groups, len(variables), inputs.shape[1]), dtype=np.float32)

        def learn(number: int) -> list[Forest]:
            found, place = [], ahead + number
            for each in range(groups):
                rows = np.flatnonzero((group == each) & (places[:, number] != MISSING))
                known = np.asfortranarray(inputs[rows, : place + 1])
                before = scores[rows, :place]
                weights[each, number, :place] = _linear(before, scores[rows, place])
                known[:, place] = before @ weights[each, number, :place]
                found.append(grow(known, places[rows, number], variables[number], seed + number))
            return found

        trees: list[Forest] = []
        pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        try:
            for number, found in enumerate(pool.map(learn, range(len(variables)))):
                trees += found
                if on_column:
                    on_column(number + 1, len(variables), variables[number].name)
        finally:
            pool.shutdown(cancel_futures=True)
        forest, roots = Forest.of(trees)
        placed = np.array(roots, dtype=np.int32).reshape(len(variables), groups).T
        return cls(variables, forest, placed, weights, np.bincount(group))

    def shown(self, number: int) -> list[Ints]:
        """Return the places that a variable had in training, of each group, in no order."""
        begins = np.sort(self.forest.start[self.roots.ravel()])
        found = []
        for root in self.roots[:, number]:
            start, stop = self.forest.start[root], self.forest.stop[root]
            if self.forest.right[root]:
                beyond = np.searchsorted(begins, start, side="right")
                stop = begins[beyond] if beyond < len(begins) else len(self.forest.values)
            found.append(self.forest.values[start:stop])
        return found

    def draw(
        self, rows: int, codes: Codes, rng: np.random.Generator, spans: Spans | None = None
    ) -> Places | None:
        """Return the places of so many rows: (rows, variables); None where not one leads there.

        `spans` are met by each.
        """
        spans = spans or {}
        plenty = self._plenty(spans)
        most = MOST_ROWS // plenty
        parts = []
        for start in range(0, rows, most):
            part = self._draw(min(most, rows - start), plenty, codes, rng, spans)
            if part is None:
                return None
            parts.append(part)
        return np.concatenate(parts)

    def _draw(
        self, rows: int, plenty: int, codes: Codes, rng: np.random.Generator, spans: Spans
    ) -> Places | None:
        shares = self._group_shares(spans)
        group = rng.choice(len(shares), rows * plenty, p=shares)
        places = np.empty((len(group), self.codes + len(self.variables)), dtype=np.float32)
        places[:, : self.codes] = codes(group)
        drawn = Drawn(group, places, places.copy())
        for number, variable in enumerate(self.variables):
            start, stop = self._leaves(number, drawn)
            if number in spans:
                narrow = self._narrowed(start, stop, spans[number])
                weight = (narrow[1] - narrow[0]) / np.maximum(stop - start, 1)
                if number == len(self.variables) - 1 and len(shares) > 1:
                    weight /= self._met(spans[number])[drawn.group]  # so often was it chosen
                wanted = rows if number == max(spans) else len(weight)
                kept = _resampled(weight, wanted, rng)
                if kept is None:
                    return None
                drawn, start, stop = drawn[kept], narrow[0][kept], narrow[1][kept]
            found = self._picked(variable, start, stop, rng)
            self._take(number, drawn, found if number not in spans else found.clip(*spans[number]))
        return drawn.places[:, self.codes :]

    def _leaves(self, number: int, drawn: Drawn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the values of each row's leaf begin and end; of a gap they are none."""
        place, gap = self.codes + number, self.variables[number].gap
        drawn.places[:, place] = 0.0
        for each in np.unique(drawn.group):
            mine = drawn.group == each
            weights = self.weights[each, number, :place]
            drawn.places[mine, place] = drawn.scores[mine, :place] @ weights
        leaf = self.forest.leaves(self.roots[drawn.group, number].astype(np.int64), drawn.places)
        start, stop = self.forest.start[leaf].astype(np.int64), self.forest.stop[leaf]
        if gap is not None:
            stop = np.where(drawn.places[:, self.codes + gap] == 1.0, start, stop)
        return start, stop.astype(np.int64)

    def _narrowed(
        self, start: NDArray[np.int64], stop: NDArray[np.int64], span: tuple[int, int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the part of each leaf that lies in a span."""
        values = self.forest.values
        below = np.append(0, np.cumsum(values < span[0]))
        within = np.append(0, np.cumsum((values >= span[0]) & (values <= span[1])))
        first = start + below[stop] - below[start]
        return first, first + within[stop] - within[start]

    def _picked(
        self,
        variable: Variable,
        start: NDArray[np.int64],
        stop: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Places:
        """Return a place from each leaf. A number is moved at random by up to half the way to the
        next in the leaf, at its ends as far beyond, so that it is no copy: a common one to one that
        occurs, as its grid has it, and an atom not at all."""
        known = np.flatnonzero(stop > start)
        places = np.full(len(start), MISSING, dtype=np.float32)
        at = start[known] + (rng.random(len(known)) * (stop - start)[known]).astype(np.int64)
        values = self.forest.values
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

    def _take(self, number: int, drawn: Drawn, places: Places) -> None:
        drawn.places[:, self.codes + number] = places
        drawn.scores[:, self.codes + number] = self.variables[number].score(places)

    def _met(self, span: tuple[int, int]) -> NDArray[np.float64]:
        """Return the share of each group's rows whose target lies in a span."""
        shown = self.shown(len(self.variables) - 1)
        met = [((mine >= span[0]) & (mine <= span[1])).sum() for mine in shown]
        return np.array(met) / self.group_rows

    def _group_shares(self, spans: Spans) -> NDArray[np.float64]:
        """Return how often each group is drawn, given what is asked of the target."""
        last, shares = len(self.variables) - 1, self.group_rows.astype(float)
        if last in spans and len(shares) > 1:
            shares *= self._met(spans[last])
        return shares / shares.sum()

    def _plenty(self, spans: Spans) -> int:
        """Return how many rows to draw for each that is kept, by how often spans are met."""
        chance = 1.0
        for number, (low, high) in spans.items():
            shown = np.concatenate(self.shown(number))
            if number < len(self.variables) - 1 or len(self.roots) == 1:
                chance *= ((shown >= low) & (shown <= high)).mean()
        return int(np.clip(4 / chance, 4, PLENTY)) if chance < 1 else 1


def groups_of(target: Places) -> NDArray[np.int64]:
    """Return the group of each row, by the places of the target: a class of its own, or all
    classes that are too rare for that."""
    cell = (target - MISSING).astype(np.int64)
    count = np.bincount(cell)
    large = np.flatnonzero(count >= CLASS_ROWS)
    if not 1 < len(large) <= CLASSES:
        return np.zeros(len(target), dtype=np.int64)
    group = np.full(len(count), len(large))
    group[large] = np.arange(len(large))
    if 0 < count[count < CLASS_ROWS].sum() < CLASS_ROWS:  # to the commonest
        group[group == len(large)] = count[large].argmax()
    return group[cell]


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
) -> NDArray[np.int64] | None:
    """Return so many rows, each as often as its weight says (systematic resampling)."""
    mass = weight.cumsum()
    if not mass[-1] > 0:
        return None
    marks = (np.arange(rows) + rng.random()) * (mass[-1] / rows)
    return np.searchsorted(mass, marks, side="right").clip(max=len(weight) - 1)
