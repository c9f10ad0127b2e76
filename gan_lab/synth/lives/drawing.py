"""How lives are drawn: who they are, when their rows are taken, how they wear, and noise.

All lives of a chunk are drawn at once, row by row; chunks keep memory constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gan_lab.schema import GenerateConfig
from gan_lab.synth.lives.columns import STEP_BINS
from gan_lab.synth.lives.conditions import combo_shares, state_shares
from gan_lab.synth.lives.degradation_curve import EFFECTS
from gan_lab.synth.lives.life_table import LEFT, ROWS, START, Lives
from gan_lab.synth.lives.packed import Floats, Ints, Packed
from gan_lab.synth.lives.residual import Noise

if TYPE_CHECKING:
    from gan_lab.synth.lives.model import LivesModel

CHUNK_ROWS = 100_000
GOLDEN = 0.6180339887498949


@dataclass
class Drawn:
    """Lives before they are written, and the random numbers to go on with."""

    lives: Lives
    packed: Packed
    rng: np.random.Generator


class Drawing:
    """One request for lives: a model, a seed and the conditions that hold for it."""

    def __init__(self, model: LivesModel, seed: int, config: GenerateConfig | None) -> None:
        self.model, self.table, self.seed = model, model.table, seed
        config = config or GenerateConfig()
        self.combo_shares = combo_shares(model, config)
        self.state_shares = state_shares(model, config)
        self.mean_rows = max(float(np.mean(model.table.covariates[ROWS].values)), 1.0)

    def chunks(
        self, rows: int | None, lives: int | None, first_life: int
    ) -> Iterator[pd.DataFrame]:
        """Draw exactly so many rows, or so many whole lives; the last life of rows is cut at its
        start."""
        done_rows = done_lives = number = 0
        while done_rows < rows if rows is not None else done_lives < (lives or 0):
            count = max(1, int(CHUNK_ROWS / self.mean_rows))
            if rows is None:
                count = min(count, (lives or 0) - done_lives)
            else:
                count = min(count, int((rows - done_rows) / self.mean_rows) + 1)
            ids = np.arange(done_lives, done_lives + count)
            chunk, size = self._chunk(number, ids, ids + first_life)
            if rows is not None and done_rows + len(chunk) > rows:
                chunk = _cut(chunk, size, rows - done_rows)
            chunk.index = pd.RangeIndex(done_rows, done_rows + len(chunk))
            done_rows, done_lives, number = done_rows + len(chunk), done_lives + count, number + 1
            yield chunk

    def _chunk(self, number: int, places: Ints, ids: Ints) -> tuple[pd.DataFrame, Ints]:
        """Draw lives; return their rows and how many each has."""
        drawn = self._draw(number, places)
        seconds = self.model.context.seconds(drawn.lives, drawn.packed)
        return self.table.write(drawn.lives, ids, seconds), drawn.packed.rows

    def _draw(self, number: int, places: Ints) -> Drawn:
        """Draw the lives of one chunk."""
        rng = np.random.default_rng([self.seed, number])
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        combo, effects, covariates = self._draw_lives(places, rng)
        lives, packed = self._draw_times(combo, covariates, rng)
        drawn = Drawn(lives, packed, rng)
        lives.regime = self._draw_regimes(drawn)
        features = self.model.context.features(self.table, lives, packed)
        of_rows = effects[packed.life].astype(np.float32)
        noise, cells = self.model.residual.draw(
            np.concatenate([features, of_rows], axis=1), lives.regime, packed, generator
        )
        lives.numbers = self._with_gaps(self._numbers(drawn, features, of_rows, noise), drawn)
        codes = self._codes(lives.regime, cells)
        lives.codes = self.table.cells(codes, lives, packed, rng)
        lives.lacking = self.table.draw_lacking(combo, rng)
        return drawn

    def _draw_lives(
        self, places: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Floats, dict[str, Floats]]:
        """Draw who the lives with these places in the request are: their combination of conditions,
        random effects and covariates.

        Combinations lie side by side from 0 to 1, and lives are laid over them by the golden ratio:
        evenly, however many come of it.
        """
        shares, population = self.combo_shares, self.model.population
        place = (np.random.default_rng(self.seed).random() + places * GOLDEN) % 1.0
        combo = np.searchsorted(np.cumsum(shares), place, side="right")
        combo = np.minimum(combo, len(shares) - 1)
        drawn = population.draw(combo, rng)
        return combo, drawn[:, :EFFECTS], self._covariates(drawn[:, EFFECTS:])

    def _covariates(self, scores: Floats) -> dict[str, Floats]:
        """Return the covariates of normal scores; one that all lives share needs none."""
        found, used = {}, 0
        for name, quantiles in self.table.covariates.items():
            if quantiles.values[0] == quantiles.values[-1]:
                found[name] = np.full(len(scores), quantiles.values[0])
            else:  # the longest of ten lives is not the longest there can be
                draw = quantiles.draw_beyond if name == ROWS else quantiles.draw
                found[name] = draw(scores[:, used])
                used += 1
        found[ROWS] = np.maximum(np.round(found[ROWS]), 1)
        found[START] = self.table.time.on_grid(found[START], self.table.covariates[START].values[0])
        return found

    def _draw_times(
        self, combo: Ints, covariates: dict[str, Floats], rng: np.random.Generator
    ) -> tuple[Lives, Packed]:
        """Draw when the rows of each life are taken, and how far from its end each is."""
        rows = covariates[ROWS].astype(np.int64)
        packed, time = Packed(rows), self.table.time
        none = np.zeros((len(packed.life), 0))
        zeros = np.zeros(len(packed.life), dtype=np.int64)
        steps = np.full(len(packed.life), time.steps[0])
        chain = self.model.context.chains.get("step")
        if chain is not None:
            symbols = chain.draw(zeros, packed, rng)
            steps = np.array(time.steps)
            if time.varying:
                share = (symbols + rng.random(len(symbols))) / STEP_BINS
                steps = time.on_grid(np.interp(share, np.linspace(0, 1, len(steps)), steps), 0.0)
            else:
                steps = steps[symbols]
        steps = np.where(packed.age > 0, steps, 0.0)
        elapsed = time.elapsed(steps, packed)
        left = np.where(self.table.endless[combo], np.nan, covariates[LEFT])
        remaining = (elapsed[packed.starts[1:] - 1] + left)[packed.life] - elapsed
        return Lives(
            rows, combo, covariates, elapsed, remaining, zeros, none, none.astype(np.int16), steps,
            none.astype(bool),
        ), packed  # fmt: skip

    def _draw_regimes(self, drawn: Drawn) -> Ints:
        context, shares = self.model.context, self.state_shares
        chain = context.chains.get("regime")
        if chain is None:
            return drawn.lives.regime
        hours = context.hours(self.table, drawn.lives, drawn.packed)
        seed = int(drawn.rng.integers(2**31))
        if shares is not None:
            chain = chain.with_shares(shares, hours, drawn.packed, seed)
        return chain.draw(hours, drawn.packed, np.random.default_rng(seed))

    def _numbers(
        self,
        drawn: Drawn,
        features: NDArray[np.float32],
        effects: NDArray[np.float32],
        noise: Noise,
    ) -> Floats:
        """Return the columns of numbers: drivers first, then what follows them."""
        model, table, packed, regime = self.model, self.table, drawn.packed, drawn.lives.regime
        center, spread = np.array(table.center)[regime], np.array(table.spread)[regime]
        fixed = np.array(table.fixed, dtype=np.float64)[regime]
        known: Floats | None = None  # the drivers, as they will be written
        numbers = np.zeros_like(fixed)
        for _ in range(2 if model.drivers else 1):
            curve, hidden = model.drivers.predict(model.curve, features, effects, known, packed)
            curve = curve[:, : len(table.sensors)]
            residual = model.residual.inverse_transform(noise, hidden, regime, packed)
            numbers = np.where(np.isnan(fixed), center + spread * (curve + residual), fixed)
            if model.drivers and known is None:
                known = table.as_written(numbers, model.drivers.tracks)
        return numbers

    def _with_gaps(self, numbers: Floats, drawn: Drawn) -> Floats:
        """Return the numbers with as many gaps as the training lives have."""
        regime, context = drawn.lives.regime, self.model.context
        for number, patterns in enumerate(context.patterns):
            chain = context.chains[f"missing{number}"]
            given = regime if len(chain.first) > 1 else np.zeros_like(regime)
            gone = np.array(patterns, dtype=bool)[chain.draw(given, drawn.packed, drawn.rng)]
            numbers[gone] = np.nan
        return numbers

    def _codes(self, regime: Ints, cells: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the cells of all categories: those drawn, and those that the regime gives."""
        given = np.array(self.table.given, dtype=np.int16)[regime]
        codes = given.copy()
        for place, group in enumerate(self.model.residual.tvae.groups):
            codes[:, group] = np.where(given[:, group] < 0, cells[:, place], given[:, group])
        return codes


def _cut(chunk: pd.DataFrame, size: Ints, rows: int) -> pd.DataFrame:
    """Keep whole lives and, of the last one, only its end, so that the rows are exactly so many."""
    ends = np.cumsum(size)
    whole = int(np.searchsorted(ends, rows, side="right"))
    before = int(ends[whole - 1]) if whole else 0
    if before == rows:
        return chunk.iloc[:rows]
    return pd.concat([chunk.iloc[:before], chunk.iloc[ends[whole] - (rows - before) : ends[whole]]])
