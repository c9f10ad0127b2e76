"""Asks a model how long units that still run will last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gan_lab.errors import BadTable
from gan_lab.synth.lives.packed import Floats
from gan_lab.synth.lives.prognosis.futures import draw_futures
from gan_lab.synth.lives.prognosis.life_length import LifeLength
from gan_lab.synth.lives.prognosis.prognosis import LEVELS, Prognosis
from gan_lab.synth.lives.prognosis.remaining_life import (
    Blocks,
    Posterior,
    WearReader,
    combinations,
    row_weights,
)
from gan_lab.synth.lives.prognosis.running import Running, answer_unit

if TYPE_CHECKING:
    from gan_lab.synth.lives.model import LivesModel

KEPT_UNITS = 1_000  # whose rows stay with the answer, so that it can be followed
Progress = Callable[[float, str], None]


@dataclass
class Asked:
    """Units that run, as a table, and the model that is asked of them; `answered` are units whose
    answer is known already."""

    model: LivesModel
    frame: pd.DataFrame
    answered: dict[Any, _Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        model, facts = self.model, self.model.record.facts
        self.running = Running.read(model.table, self.frame)
        self.left_out = facts["prognosis"]
        self.unit, self.rate = answer_unit(model.table)
        prior = facts["life_length"]
        self.length = LifeLength(np.array(prior["mean"]), prior["spread"], prior["freedom"])
        self.seen = np.array(facts["lengths"])
        self.reader = WearReader.of(
            model.table, model.context, model.drivers, model.wear_curve, self.seen
        )
        self.groups = combinations(model.table, np.array(facts["combo_counts"]))
        self.blocks: dict[int, Blocks] = {
            combo: self.reader.blocks(self.running, combo) for combo in self.groups
        }

    def all(self, progress: Progress | None = None) -> Prognosis:
        """Return the answer for every unit at its last row."""
        units = self.running.units
        for place, unit in enumerate(units):
            if progress is not None:
                progress(place / len(units), f"{place:,} of {len(units):,} units answered")
            if unit not in self.answered:
                self.answered[unit] = self._answer(place)
        parts = [self.answered[unit] for unit in units]
        return self._prognosis(parts, pd.Index(units), list(range(len(units))))

    def update(self, rows: pd.DataFrame) -> Prognosis:
        """Return the answer for all units, of which some now have more rows, or are new."""
        roles = self.model.table.roles
        for name in (roles.life, roles.time):
            if name in self.frame and name not in rows:
                raise BadTable(f"The new rows have no column {name!r}: add it.")
        frame, life = pd.concat([self.frame, rows], ignore_index=True), roles.life
        moved = set(rows[life]) if life in rows and life in self.frame else set(self.answered)
        known = {unit: each for unit, each in self.answered.items() if unit not in moved}
        return Asked(self.model, frame, known).all()

    def history(self, unit: int, ages: Floats | None = None) -> Prognosis:
        """Return the answers for a unit at ages in the answer's unit; all of its own, where none
        are named."""
        if ages is None:
            ages = np.unique(next(iter(self.blocks.values())).ends[self._of(unit)])
        else:
            ages = np.atleast_1d(ages) / self.rate
        index = pd.Index(ages * self.rate, name="age")
        return self._prognosis([self._answer(unit, ages)], index, [unit] * len(ages))

    def futures(self, n: int, units: list[int], seed: int) -> pd.DataFrame:
        """Draw continuations; see `Prognosis.futures`."""
        found = []
        for unit in units:
            answer = self._answer(unit)
            posterior, combos = answer.posterior, answer.combos
            found.append(
                draw_futures(
                    self.model, self.reader, self.running, unit, posterior, combos, n, seed
                )
            )
        return pd.concat(found, ignore_index=True)

    def _answer(self, unit: int, ages: Floats | None = None) -> _Answer:
        """Return what is believed of a unit at some ages, or at its last row."""
        able = self.running.able(unit, self.groups)
        evidence = {combo: self.reader.evidence(self.blocks[combo], unit, ages) for combo in able}
        # Readings unlike those of lives left out say less: nothing alike was learned from.
        misfit = np.min([each.misfit() for each in evidence.values()], axis=0)
        own = next(iter(evidence.values())).ages
        temper = row_weights(self.left_out["temper"], own, self.model.context.span)
        temper /= np.maximum(misfit / self.left_out["misfit"], 1.0)
        posterior = Posterior.of(evidence, self.reader.lengths, self.length, able, temper)
        return _Answer(own, posterior.widened(self.left_out["shape"]), list(evidence))

    def _of(self, unit: int) -> slice:
        starts = next(iter(self.blocks.values())).starts
        return slice(int(starts[unit]), int(starts[unit + 1]))

    def _prognosis(self, parts: list[_Answer], index: pd.Index[Any], units: list[int]) -> Prognosis:
        ages = np.concatenate([part.ages for part in parts])
        quantiles = np.concatenate([part.posterior.quantiles(LEVELS) for part in parts])
        health = np.concatenate([part.health() for part in parts])
        modes = pd.DataFrame(np.concatenate([self._modes(part) for part in parts]), index=index)
        names = self.model.failure_mode_names
        modes = modes.set_axis([str(name) for name in names], axis=1) if names else modes
        oldest = self.seen.max()
        remarks = [list(self.running.remarks[unit]) for unit in units]
        for remark, age in zip(remarks, ages, strict=True):
            if age > oldest:
                remark.append(
                    f"older than any training life ({oldest * self.rate:.4g} {self.unit}): give "
                    "its rows since the last failure, where these are of more than one life"
                )
        kept = self if len(self.running.units) <= KEPT_UNITS else None
        return Prognosis(
            index, ages * self.rate, quantiles * self.rate, health, self.unit, modes,
            ["; ".join(each) for each in remarks], self.left_out["figures"],
            kept,
        )  # fmt: skip

    def _modes(self, part: _Answer) -> Floats:
        names, of_combo = self.model.failure_mode_names, self.model.failure_mode_of_combo
        found = np.zeros((len(part.ages), len(names)))
        shares = part.posterior.probability.sum(axis=2)
        for place, combo in enumerate(part.combos):
            if names:
                found[:, of_combo[combo]] += shares[:, place]
        return found


@dataclass
class _Answer:
    """What is believed of one unit at some ages (mean steps), under some combinations."""

    ages: Floats
    posterior: Posterior
    combos: list[int]

    def health(self) -> Floats:
        """Return the share of its life that the unit has left, (ages,)."""
        left = self.posterior.remaining
        share = left / (left + self.ages[:, None] + 1e-9)
        return np.asarray((self.posterior.probability.sum(axis=1) * share).sum(axis=1))
