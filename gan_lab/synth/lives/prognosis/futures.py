"""How the sensors of a running unit may go on: the noise of its past is kept, that of its future
drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from gan_lab.synth.lives.drawing import Drawing, Drawn
from gan_lab.synth.lives.life_table import LEFT, ROWS
from gan_lab.synth.lives.packed import Floats, Ints, Packed
from gan_lab.synth.lives.prognosis.remaining_life import Posterior, WearReader
from gan_lab.synth.lives.prognosis.running import Running
from gan_lab.synth.lives.residual import Noise

if TYPE_CHECKING:
    from gan_lab.synth.lives.model import LivesModel


def draw_futures(
    model: LivesModel, reader: WearReader, running: Running, unit: int, posterior: Posterior,
    combos: list[int], n: int, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """Draw `n` continuations of a unit; see `Prognosis.futures`.

    Remaining life and conditions come from the posterior, the random effects from the curve that
    draws lives, given these.
    """
    rng = np.random.default_rng([seed, unit])
    probability = posterior.probability[0]
    chosen = rng.choice(probability.size, size=n, p=probability.ravel())
    place, cell = np.unravel_index(chosen, probability.shape)
    edges = posterior.edges[0]
    left = edges[cell] + rng.random(n) * (edges[cell + 1] - edges[cell])
    combo = np.array(combos)[place]
    reader = replace(reader, curve=model.curve)
    evidence = {
        each: reader.evidence(reader.blocks(running, each), unit) for each in np.unique(combo)
    }
    whole = running.lives.elapsed[running.packed.starts[unit + 1] - 1] + left
    nearest = np.abs(np.log(reader.lengths[None] / whole[:, None])).argmin(axis=1)
    weight = 1 / model.curve.beta
    effects = np.stack(
        [
            evidence[c].draw_random_effects(0, g, weight, rng)
            for c, g in zip(combo, nearest, strict=True)
        ]
    )
    return _Continuation(model, running, unit, seed).draw(combo, effects, left, rng)


class _Continuation(Drawing):
    """Draws whole lives whose first rows are a unit's own."""

    def __init__(self, model: LivesModel, running: Running, unit: int, seed: int) -> None:
        super().__init__(model, seed, None)
        self.rows = slice(running.packed.starts[unit], running.packed.starts[unit + 1])
        self.past, self.unit = running, unit
        self.past_rows = self.rows.stop - self.rows.start

    def draw(
        self, combo: Ints, effects: Floats, left: Floats, rng: np.random.Generator
    ) -> pd.DataFrame:
        """Return the rows after the unit's last one, of as many futures as there are `combo`."""
        table, own = self.table, self.past.lives
        more = np.maximum(np.round(left), 1.0)
        middle = {name: np.median(q.values) for name, q in table.covariates.items()}
        known = {name: values[self.unit] for name, values in own.covariates.items()}
        covariates = {name: np.full(len(combo), v) for name, v in (middle | known).items()}
        covariates[ROWS], covariates[LEFT] = self.past_rows + more, np.zeros(len(combo))
        lives, packed = self._draw_times(combo, covariates, rng)
        ours = packed.age < self.past_rows
        before = (self.rows.start + packed.age)[ours]
        lives.steps[ours] = own.steps[before]
        lives.elapsed = table.time.elapsed(lives.steps, packed) + own.elapsed[self.rows.start]
        end = lives.elapsed[packed.starts[1:] - 1]
        lives.remaining = end[packed.life] - lives.elapsed
        drawn = Drawn(lives, packed, rng)
        lives.regime = self._draw_regimes(drawn)
        lives.regime[ours] = own.regime[before]
        features = self.model.context.features(table, lives, packed)
        of_rows = effects[packed.life].astype(np.float32)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        noise, cells = self.model.residual.draw(
            np.concatenate([features, of_rows], axis=1), lives.regime, packed, generator
        )
        noise = self._with_past(noise, drawn, features, of_rows, before)
        lives.numbers = self._with_gaps(self._numbers(drawn, features, of_rows, noise), drawn)
        lives.codes = table.cells(self._codes(lives.regime, cells), lives, packed, rng)
        seconds = self.model.context.seconds(lives, packed)
        ids = np.arange(len(combo))
        frame = table.write(lives, ids, seconds)[~ours]
        future = packed.life[~ours]
        if table.roles.life is not None:
            frame = frame.drop(columns=[table.roles.life])
        frame.insert(0, "unit", self.past.units[self.unit])
        frame.insert(1, "future", future)
        return frame

    def _with_past(
        self, noise: Noise, drawn: Drawn, features: Any, effects: Any, before: Ints
    ) -> Noise:
        """Return the noise with that of the unit's own rows in place of what was drawn for them."""
        model, table, packed, regime = self.model, self.table, drawn.packed, drawn.lives.regime
        ours = packed.age < self.past_rows
        known = np.zeros((len(packed.life), len(table.sensors)))
        known[ours] = np.nan_to_num(self.past.lives.numbers[before])
        value, hidden = model.drivers.predict(
            model.curve, features, effects, known if model.drivers else None, packed
        )
        value = value[:, : len(table.sensors)]
        past = Packed(np.full(len(packed.rows), self.past_rows))
        residual = self.past.values[before] - value[ours]
        step = model.residual
        relative = step.level.width.relative(hidden[ours])
        level = self._level(residual / relative, past)
        residual = np.nan_to_num(residual - level[past.life] * relative).astype(np.float64)
        innovation = step.memory.transform(residual, past, regime[ours])
        found = noise.innovation.copy()
        found[ours] = innovation / step.variance.deviation(hidden[ours])
        return replace(noise, innovation=found, level=level)

    def _level(self, residual: Floats, past: Packed) -> Floats:
        """Return the level of each future's past, (futures, columns): its mean, shrunk by what its
        rows tell (Henderson 1975)."""
        known = np.maximum(past.sums(np.isfinite(residual)), 1)
        mean = past.sums(np.nan_to_num(residual)) / known
        within = past.sums(np.nan_to_num((residual - mean[past.life]) ** 2)) / known / known
        between = (self.model.residual.level.root**2).sum(axis=1)
        return np.asarray(mean * between / np.maximum(between + within, 1e-12))
