"""The trees of a table: one sequence of them for each class of the column that matters, so that
what is rare stays as rare and as learnable as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_lab.synth.network.encoding import Encoding
from gan_lab.synth.network.model_file import part
from gan_lab.synth.tabular.ranks import MISSING, Places, Ranks
from gan_lab.synth.tabular.sequence import Sequence, Spans
from gan_lab.synth.tabular.trees import Ints, Tree

OnColumn = Callable[[int, int, str], None]

MAX_ROWS = 50_000  # that trees learn from; more of them are no better
PILOT_ROWS = 500  # of each class, that say how often it meets conditions
CLASS_ROWS = 20  # a class with fewer has no trees of its own
CLASSES = 10  # a target with more of them is a variable like others, drawn last


@dataclass(frozen=True)
class TreeModel:
    """The `ranks` of a table, the `sequences` of trees of its classes, and the rows of each."""

    ranks: Ranks
    sequences: list[Sequence]
    class_rows: NDArray[np.int64]

    @classmethod
    def fit(
        cls,
        encoding: Encoding,
        table: pd.DataFrame,
        target: Any,
        seed: int,
        on_column: OnColumn | None = None,
    ) -> Self:
        """Learn trees from the rows of a table; `on_column(done, of, name)` hears of each, and
        what it raises ends the fit."""
        if len(table) > MAX_ROWS:
            rng = np.random.default_rng(seed)
            table = table.iloc[np.sort(rng.choice(len(table), MAX_ROWS, replace=False))]
        ranks, places = Ranks.fit(encoding, table.reset_index(drop=True), target)
        variables, of_row = ranks.variables, np.zeros(len(table), dtype=np.int64)
        if target is not None and not variables[-1].ordered:
            of_row = classes_of(places[:, -1])
        class_rows, done = np.bincount(of_row), 0

        def say(name: str) -> None:
            nonlocal done
            done += 1
            if on_column:
                on_column(done, len(class_rows) * len(variables), name)

        sequences = [
            Sequence.fit(variables, places[of_row == number], seed, say)
            for number in range(len(class_rows))
        ]
        return cls(ranks, sequences, class_rows)

    def draw(self, rows: int, rng: np.random.Generator, spans: Spans) -> Places | None:
        """Return the places of so many rows, which meet the spans, class by class; None where not
        one can."""
        shares = self.class_rows / self.class_rows.sum()
        drawn = [np.empty((0, len(self.ranks.variables)), dtype=np.float32)] * len(self.sequences)
        if spans:  # some rows of each class, to see how often it meets them
            found = [each.draw(PILOT_ROWS, rng, spans) for each in self.sequences]
            shares *= [chance for _, chance in found]
            if not shares.any():
                return None
            drawn, shares = [places for places, _ in found], shares / shares.sum()
        sizes = rng.multinomial(rows, shares)
        for number, (sequence, size) in enumerate(zip(self.sequences, sizes, strict=True)):
            while len(drawn[number]) < size:
                more = sequence.draw(int(size) - len(drawn[number]), rng, spans)[0]
                drawn[number] = np.concatenate([drawn[number], more])
        return np.concatenate([places[:n] for places, n in zip(drawn, sizes, strict=True)])

    @cached_property
    def shown(self) -> list[Ints]:
        """The places that each variable had in training, in no order."""
        trees = zip(*(each.trees for each in self.sequences), strict=True)
        return [np.concatenate([tree.values for tree in each]) for each in trees]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the JSON values from which `restore` goes on."""
        arrays: dict[str, NDArray[Any]] = {"class_rows": self.class_rows}
        for number, variable in enumerate(self.ranks.variables):
            arrays |= {f"{number}.values": variable.values, f"{number}.rows": variable.rows}
        for each, sequence in enumerate(self.sequences):
            arrays[f"class{each}.weights"] = sequence.weights
            for number, tree in enumerate(sequence.trees):
                place = f"class{each}.{number}."
                arrays |= {place + field.name: getattr(tree, field.name) for field in fields(Tree)}
        tensors = {name: torch.tensor(array) for name, array in arrays.items()}
        meta = {"gaps": [each.gap for each in self.ranks.variables], "target": self.ranks.target}
        return tensors, meta

    @classmethod
    def restore(cls, encoding: Encoding, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Self:
        """Return the model that `state` was called of."""
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        ranks = Ranks.from_arrays(encoding, arrays, meta["gaps"], meta["target"])
        sequences = []
        for each in range(len(arrays["class_rows"])):
            mine = part(arrays, f"class{each}.")
            trees = [Tree(**part(mine, f"{number}.")) for number in range(len(ranks.variables))]
            sequences.append(Sequence(ranks.variables, trees, mine["weights"]))
        return cls(ranks, sequences, arrays["class_rows"])


def classes_of(target: Places) -> NDArray[np.int64]:
    """Return the class of each row, by the places of the target: one of its own, or one of all
    that are too rare for that."""
    cell = (target - MISSING).astype(np.int64)
    count = np.bincount(cell)
    large = np.flatnonzero(count >= CLASS_ROWS)
    if not 1 < len(large) <= CLASSES:
        return np.zeros(len(target), dtype=np.int64)
    number = np.full(len(count), len(large))
    number[large] = np.arange(len(large))
    if 0 < count[count < CLASS_ROWS].sum() < CLASS_ROWS:  # to the commonest
        number[number == len(large)] = count[large].argmax()
    return number[cell]
