"""The fit of a model of lives: two phases of epochs, each resumable.

First the degradation curve with the random effects of each life, then the conditional TVAE of what
it leaves. Everything between the phases is computed anew from table and weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.lives.degradation_curve import Curve
from gan_lab.synth.lives.phases import CurveObjective, curve_trainer, network_trainer
from gan_lab.synth.lives.population import Population
from gan_lab.synth.lives.random_effects import RandomEffects
from gan_lab.synth.lives.residual import Residual
from gan_lab.synth.lives.training_lives import TrainingLives
from gan_lab.synth.network.build import fingerprint
from gan_lab.synth.network.training import OnCheckpoint, OnEpoch, Trainer, Training


class Fitting:
    """One fit of a table of lives; after `run`, `curve`, `effects`, `residual` and `history` are
    there."""

    def __init__(self, table: pd.DataFrame, roles: Roles, config: TrainConfig) -> None:
        self.config = config
        self.fingerprint = fingerprint(table, roles, config)
        self.lives = TrainingLives(table, roles, config)

    def run(
        self,
        on_epoch: OnEpoch | None = None,
        resume: bytes | None = None,
        on_checkpoint: OnCheckpoint | None = None,
    ) -> None:
        """Run both phases, from the checkpoint `resume` where there is one."""
        rows = int((~self.lives.held_out_rows).sum())
        training = Training(
            self.fingerprint, rows, self.config.epochs, on_epoch, resume, on_checkpoint
        )
        training.run(self._curve_phase())
        training.run(self._network_phase(training.epochs_left))
        self.history, self.stopped = training.history, training.stopped
        self.curve.eval()
        self.residual.tvae.network.eval()
        self.residual.tvae.fit_prior(self.batch, self.config.seed)

    def population(self) -> Population:
        """Fit how lives differ: their random effects, and the scores of their numbers."""
        lives = self.lives
        mean = self.effects.mean.numpy().astype(np.float64)
        variance = self.effects.deviation.square().mean(dim=0).numpy().astype(np.float64)
        quantiles = lives.table.covariates
        scores = [
            quantiles[n].scores(v) for n, v in lives.arrays.covariates.items() if np.ptp(v) > 0
        ]
        return Population.fit(
            np.column_stack([mean, *scores]),
            lives.arrays.combo,
            len(lives.table.combinations),
            np.r_[variance, np.zeros(len(scores))],
        )

    def facts(self) -> dict[str, Any]:
        """Return what the fit found that drawing and notes need."""
        lives, table = self.lives, self.lives.table
        regimes = np.bincount(lives.arrays.regime, minlength=table.regimes)
        return {
            "lives": len(lives.packed.rows),
            "rows": len(lives.features),
            "held_out": int(lives.held_out.sum()),
            "combo_counts": np.bincount(
                lives.arrays.combo, minlength=len(table.combinations)
            ).tolist(),
            "regime_counts": regimes.tolist(),
        }

    def _curve_phase(self) -> Trainer:
        """Return the first phase, which fits `curve`."""
        lives = self.lives
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            inputs = lives.features.shape[1] + lives.drivers.width
            self.curve = Curve(inputs, lives.values.shape[1])
        epochs = self.config.epochs // 2 if lives.values.shape[1] else 0
        times = 2 if lives.drivers else 1  # each row is seen, a part of its columns each time
        objective = CurveObjective(
            self.curve, lives.curve_data(~lives.held_out), lives.curve_data(lives.held_out),
            self.config, epochs,
        )  # fmt: skip
        return curve_trainer(objective, self.config, epochs, lives.columns / times)

    def _network_phase(self, epochs: int) -> Trainer:
        """Fit all steps between curve and network, and return the second phase."""
        lives, packed = self.lives, self.lives.packed
        by_condition = RandomEffects.fit(self.curve, lives.curve_data(~lives.held_out)).by_condition
        every = lives.curve_data(np.ones_like(lives.held_out))
        self.effects = RandomEffects.fit(self.curve, every, by_condition)
        effects = self.effects.mean.numpy()[packed.life]
        value, hidden = lives.drivers.predict(
            self.curve, lives.features, effects, lives.arrays.numbers, packed
        )
        residual = (lives.values - value)[:, : len(lives.table.sensors)]
        static = np.concatenate([lives.features, effects], axis=1)
        self.residual, rows = Residual.fit(residual, hidden, static.shape[1], lives, self.config)
        tvae = self.residual.tvae
        batch = tvae.network.batch(rows, tvae.conditions(static, lives.arrays.codes, packed))
        held_out = torch.from_numpy(lives.held_out_rows)
        self.batch = batch[~held_out]
        epochs = epochs if tvae.encoding.varies else 0
        return network_trainer(
            tvae.network, self.batch, batch[held_out], self.config, epochs, lives.columns
        )
