"""A table of lives as a training sees it: arrays, features, drivers, and which lives are held
out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.lives.degradation_curve import WEAR_FEATURES
from gan_lab.synth.lives.drivers import Drivers, find_drivers, named_drivers
from gan_lab.synth.lives.life_table import LifeTable
from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.random_effects import CurveData
from gan_lab.synth.lives.row_context import RowContext

MIN_LIVES = 8  # to hold some of them out
HELD_OUT_SHARE, MAX_HELD_OUT = 0.12, 200
MAX_INDICATORS = 6  # of a category, that the random effects of a life are estimated from
MIN_INDICATOR_SHARE = 0.005  # of the rows


class TrainingLives:
    """What all steps are fitted to.

    `values` (rows, columns) are the numbers in units of their regime's spread, then indicators of
    the categories `groups` that are drawn; `held_out` (lives,) only decide when training is enough,
    `validation` (rows,) which terms of a step are worth their coefficients.
    """

    def __init__(self, table: pd.DataFrame, roles: Roles, config: TrainConfig) -> None:
        self.table, self.arrays = LifeTable.fit(table, roles, config.regimes)
        self.packed = packed = Packed(self.arrays.rows)
        self.held_out = choose_held_out(len(packed.rows), config)
        self.context = RowContext.fit(self.table, self.arrays, packed)
        self.conditions = self.context.conditions(self.table, self.arrays.combo)
        self.features = self.context.features(self.table, self.arrays, packed)
        self.groups = [
            g for g, cells in enumerate(zip(*self.table.given, strict=True)) if min(cells) < 0
        ]
        indicators = _indicators(self.arrays.codes[:, self.groups])
        self.values = np.concatenate([self._standardized(), indicators], axis=1)
        self.validation = self.held_out_rows
        if not self.validation.any():  # every other life, or of one the last quarter of each 400
            alone = len(packed.rows) == 1
            self.validation = packed.age % 400 > 300 if alone else packed.life % 2 == 1
        self.drivers = self._drivers(config.drivers)

    @property
    def held_out_rows(self) -> NDArray[np.bool_]:
        """Which rows are of held-out lives, (rows,)."""
        return self.held_out[self.packed.life]

    @property
    def columns(self) -> int:
        """How many columns a row has that are drawn, or given by its regime."""
        return len(self.table.sensors) + len(self.table.categories.groups)

    def curve_data(self, chosen: NDArray[np.bool_]) -> CurveData:
        """Return the rows of the chosen lives (lives,) as the degradation curve sees them."""
        rows = chosen[self.packed.life]
        features, values = self.features[rows], self.values[rows]
        life, each = (np.cumsum(chosen) - 1)[self.packed.life[rows]], self.arrays.rows[chosen]
        if self.drivers:  # each row twice: for the drivers, and for what follows them
            driving = self.drivers.among(values.shape[1])
            known = self.drivers.features(self.arrays.numbers, self.packed)[rows]
            features = np.block([[features, np.zeros_like(known)], [features, known]])
            values = np.r_[np.where(driving, values, np.nan), np.where(driving, np.nan, values)]
            life, each = np.tile(life, 2), 2 * each
        arrays = features, values, life, each, self.conditions[chosen]
        return CurveData(*(torch.from_numpy(array) for array in arrays))

    def _standardized(self) -> NDArray[np.float32]:
        """Return the numbers in units of their regime's spread; NaN where they are missing or
        constant."""
        regime, lives = self.arrays.regime, self.arrays
        center, spread = np.array(self.table.center), np.array(self.table.spread)
        values = np.where(lives.missing | self.table.still[regime], np.nan, lives.numbers)
        return np.asarray((values - center[regime]) / spread[regime], dtype=np.float32)

    def _drivers(self, wanted: str) -> Drivers:
        numbers = self.arrays.numbers
        candidates = self.table.may_drive & np.isfinite(numbers).all(axis=0)
        if wanted == "auto":
            features = self.features[:, WEAR_FEATURES:]
            found = find_drivers(candidates, numbers, features, self.packed)
        else:
            names = [column.name for column in self.table.sensors]
            found = named_drivers(wanted, names, candidates)
        return Drivers.fit(found, numbers)


def choose_held_out(lives: int, config: TrainConfig) -> NDArray[np.bool_]:
    """Return which lives only decide when training is enough; none where they are too few."""
    held = np.zeros(lives, dtype=bool)
    if config.early_stopping and lives >= MIN_LIVES:
        count = min(MAX_HELD_OUT, max(1, round(HELD_OUT_SHARE * lives)))
        held[np.random.default_rng(config.seed).choice(lives, count, replace=False)] = True
    return held


def _indicators(codes: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return whether a row takes each frequent cell of each category, standardized: lives differ
    in these as they do in numbers."""
    found = []
    for column in codes.T:
        share = np.bincount(column) / max(len(column), 1)
        frequent = np.argsort(-share)[:MAX_INDICATORS]
        for cell in [cell for cell in frequent if share[cell] >= MIN_INDICATOR_SHARE][1:]:
            spread = np.sqrt(share[cell] * (1 - share[cell]))
            found.append(((column == cell) - share[cell]) / spread)
    return np.array(found, dtype=np.float32).reshape(len(found), len(codes)).T
