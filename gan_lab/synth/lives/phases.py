"""The phases of a training of lives: the degradation curve, then the network of what it leaves.

Both hold their rate until held-out lives say enough, see `EarlyStopping`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gan_lab.schema import TrainConfig
from gan_lab.synth.lives.degradation_curve import Curve
from gan_lab.synth.lives.random_effects import CurveData, RandomEffects, curve_losses
from gan_lab.synth.network.schedule import EarlyStopping
from gan_lab.synth.network.training import VALIDATION_ROWS, Objective, Trainer, TvaeObjective
from gan_lab.synth.network.tvae_network import Batch, Network

STEADY_STEPS = (1_500, 1_000)  # of each phase where no held-out lives decide
PATIENCE_STEPS = (200, 40)  # of each phase
MIN_DELTA = (0.002, 0.0003)  # nats a row and column, of each phase
MIN_EPOCH_STEPS = 4  # very few rows are seen several times in an epoch
COMMON_STEPS = 100  # in which the curve learns conditions, before it learns how lives differ
CURVE_RATE = 5e-3
HELD_RATE = 0.5  # of the highest: a phase holds its rate
ELBO_SHARE = 0.5  # of `loss_factor`: SDV's default is then the evidence lower bound itself


class CurveObjective(Objective):
    """The loss of the degradation curve; the random effects of lives are estimated before each
    epoch, and after `common_steps` the curve learns how lives differ."""

    fast = ("log_sigma",)

    def __init__(
        self, curve: Curve, data: CurveData, held_out: CurveData, config: TrainConfig, epochs: int
    ) -> None:
        super().__init__(curve, len(data.life))
        self.curve, self.data, self.held_out, self.seed = curve, data, held_out, config.seed
        self.passes = passes(self.rows, config)
        self.steps = epoch_steps(self.rows, config)
        # Without conditions there is nothing to learn first but which life has which length.
        conditions = data.conditions.shape[1]
        self.common_steps = min(COMMON_STEPS, 0.2 * epochs * self.steps) if conditions else 0
        self.effects: RandomEffects

    def before_epoch(self, epoch: int) -> None:
        """Estimate the random effects, given the curve as it is."""
        common = epoch * self.steps < self.common_steps
        self.curve.train_random_effects(not common)
        estimate = RandomEffects.zero if common else RandomEffects.fit
        self.effects = estimate(self.curve, self.data)
        self.curve.level_share.copy_(self.effects.level_share)

    def losses(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return reconstruction and KL of the chosen rows, nats a row."""
        return curve_losses(self.curve, self.data, self.effects, chosen, generator)

    def validation(self) -> float | None:
        """Return the loss of held-out lives, nats a row; None where there are none."""
        if not len(self.held_out.rows):
            return None
        generator = torch.Generator().manual_seed(self.seed)
        effects = RandomEffects.fit(self.curve, self.held_out, self.effects.by_condition)
        chosen = torch.randperm(len(self.held_out.life), generator=generator)[:VALIDATION_ROWS]
        return float(sum(curve_losses(self.curve, self.held_out, effects, chosen, generator)))


def curve_trainer(
    objective: CurveObjective, config: TrainConfig, epochs: int, columns: float, pace: float = 1.0
) -> Trainer:
    """Return the first phase, of lives with so many columns, at so many times its usual rate."""
    schedule = early_stopping(0, epochs, pace * CURVE_RATE, objective.steps, columns)
    return Trainer(objective, schedule, config, (config.seed * 7 + 1) * 1_000_003)


def network_trainer(
    network: Network, batch: Batch, held_out: Batch, config: TrainConfig, epochs: int, columns: int
) -> Trainer:
    """Return the second phase, of lives with so many columns."""
    factor = config.loss_factor * ELBO_SHARE
    objective = TvaeObjective(network, batch, held_out, config, factor)
    objective.passes = passes(len(batch), config)
    rate, steps = HELD_RATE * config.learning_rate, epoch_steps(len(batch), config)
    schedule = early_stopping(1, epochs, rate, steps, columns)
    return Trainer(objective, schedule, config, (config.seed * 7 + 2) * 1_000_003)


def passes(rows: int, config: TrainConfig) -> int:
    """Return how many times an epoch sees each row."""
    return math.ceil(MIN_EPOCH_STEPS * config.batch_size / max(rows, config.batch_size))


def epoch_steps(rows: int, config: TrainConfig) -> int:
    """Return of how many steps an epoch is."""
    return math.ceil(passes(rows, config) * rows / config.batch_size)


def early_stopping(
    phase: int, epochs: int, rate: float, steps: int, columns: float
) -> EarlyStopping:
    """Return the schedule of a phase (0 or 1) of at most so many epochs of so many steps, for rows
    of so many columns."""
    return EarlyStopping(
        epochs,
        rate,
        steady=max(2, math.ceil(STEADY_STEPS[phase] / steps)),
        patience=max(2, math.ceil(PATIENCE_STEPS[phase] / steps)),
        min_delta=MIN_DELTA[phase] * columns,
    )
