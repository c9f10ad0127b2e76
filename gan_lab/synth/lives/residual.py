"""What the degradation curve leaves: level, memory, variance, dependence and scores, one after the
other.

Fitting runs the steps down from readings to scores, drawing runs them up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.conditional_tvae import Cells, ConditionalTVAE
from gan_lab.synth.lives.dependence import Dependence
from gan_lab.synth.lives.level import LifeLevel
from gan_lab.synth.lives.memory import Autoregression
from gan_lab.synth.lives.packed import Floats, Ints, Packed, Real
from gan_lab.synth.lives.training_lives import TrainingLives
from gan_lab.synth.lives.variance import VarianceModel
from gan_lab.synth.network.encoding import Encoded


@dataclass
class Noise:
    """What chance draws for lives: `innovation` (rows, columns), life by life, in units of its
    standard deviation, and the `level` of each life (lives, columns)."""

    innovation: Floats
    level: Floats


@dataclass
class Residual:
    """The fitted steps."""

    level: LifeLevel
    memory: Autoregression
    variance: VarianceModel
    dependence: Dependence
    tvae: ConditionalTVAE

    @classmethod
    def fit(
        cls,
        residual: NDArray[Real],
        hidden: NDArray[np.float32],
        static: int,
        lives: TrainingLives,
        config: TrainConfig,
    ) -> tuple[Residual, Encoded]:
        """Fit everything but the network's weights; return it with the encoded rows.

        `residual` (rows, columns) is NaN where a reading is missing or constant, `hidden` the
        curve's last layer, `static` how many features the network sees of a row.
        """
        table, packed, validation = lives.table, lives.packed, lives.validation
        regime = lives.arrays.regime
        known, fixed = np.isfinite(residual), table.still[regime]
        # Drivers are drawn before there is a hidden layer that knows them: they cannot use it.
        driving = lives.drivers.among(residual.shape[1])
        level = LifeLevel.fit(residual, hidden, packed, validation, lives.held_out, driving)
        whole = _without_gaps(level.transform(residual, hidden, packed), config.seed)
        whole = np.where(fixed, 0.0, whole)
        memory = Autoregression.fit(whole, packed, table.still, validation, lives.drivers.tracks)
        innovation = memory.transform(whole, packed, regime)
        seen = np.where(known, innovation, np.nan)
        variance = VarianceModel.fit(hidden, seen, validation, driving)
        innovation = innovation / variance.deviation(hidden)
        dependence = Dependence.fit(innovation)
        # What is missing or constant is filled too: nobody will see it, and it is no atom.
        left = np.where(fixed, np.nan, dependence.transform(innovation))
        tvae, rows = ConditionalTVAE.build(
            _without_gaps(left, config.seed + 1), table.categories.groups, lives.arrays.codes,
            lives.groups, static, config,
        )  # fmt: skip
        return cls(level, memory, variance, dependence, tvae), rows

    def draw(
        self,
        static: NDArray[np.float32],
        regime: Ints,
        packed: Packed,
        generator: torch.Generator,
    ) -> tuple[Noise, Cells]:
        """Draw the noise of lives, and their cells (rows, groups), life by life."""
        scores, cells = self.tvae.draw(static, packed, generator)
        fixed = self.memory.fixed[packed.pack(regime)]
        innovation = self.dependence.inverse_transform(scores, fixed)
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        level = self.level.draw(len(packed.rows), rng)
        return Noise(packed.unpack(innovation), level), packed.unpack(cells)

    def inverse_transform(
        self,
        noise: Noise,
        hidden: NDArray[np.float32],
        regime: Ints,
        packed: Packed,
    ) -> Floats:
        """Return the residuals (rows, columns) that noise becomes, life by life, given the curve's
        last hidden layer."""
        innovation = noise.innovation * self.variance.deviation(hidden)
        residual = self.memory.inverse_transform(innovation, packed, regime)
        return self.level.inverse_transform(residual, noise.level, hidden, packed)


def _without_gaps(residual: NDArray[Real], seed: int) -> Floats:
    """Return residuals without gaps: a missing one is that of another row of the same column."""
    rng, whole = np.random.default_rng(seed), residual.astype(np.float64)
    for column in whole.T:
        gone = np.isnan(column)
        if gone.all():
            column[:] = 0.0
        elif gone.any():
            column[gone] = rng.choice(column[~gone], size=int(gone.sum()))
    return whole
