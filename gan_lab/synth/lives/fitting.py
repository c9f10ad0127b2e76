"""The fit of a model of lives: the table as arrays, then two phases of epochs, each resumable.

First the degradation curve with the embedding of each life, then the conditional TVAE of what it
leaves. Everything between the phases is computed anew from table and weights, so a checkpoint holds
only the weights, the optimizer, and where the phase stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.lives.drivers import Drivers
from gan_lab.synth.lives.life_table import LifeTable
from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.phases import curve_trainer, network_trainer
from gan_lab.synth.lives.population import Population
from gan_lab.synth.lives.residual import Residual
from gan_lab.synth.lives.row_context import Situation
from gan_lab.synth.lives.wear_curve import WEAR_FEATURES, Curve, CurveData, Embeddings
from gan_lab.synth.network.build import check_names, fingerprint
from gan_lab.synth.network.training import OnCheckpoint, OnEpoch, Trainer, Training

LEAST_LIVES = 8  # to hold some of them out
HELD_OUT_SHARE, MOST_HELD_OUT = 0.12, 200
MOST_INDICATORS = 6  # of a category, that the embedding of a life is inferred from


class Fitting:
    """One fit of a table of lives."""

    def __init__(self, table: pd.DataFrame, roles: Roles, config: TrainConfig) -> None:
        self.config = config
        check_names(table)
        self.fingerprint = fingerprint(table, roles, config)
        self.table, self.lives, self.traits, self.combo = LifeTable.fit(
            table, roles, config.regimes
        )
        self.packed = Packed(self.lives.rows)
        self.held_out = choose_held_out(len(self.lives.rows), config)
        self.situation = Situation.fit(self.table, self.lives, self.traits, self.packed)
        self.told = self.situation.told(self.table, self.combo)
        self.features = self.situation.features(
            self.table, self.lives, self.traits, self.combo, self.packed
        )
        self.groups = [
            g for g, cells in enumerate(zip(*self.table.given, strict=True)) if min(cells) < 0
        ]
        self.values = np.concatenate(
            [_standardized(self.table, self.lives), _indicators(self.lives.codes[:, self.groups])],
            axis=1,
        )
        self.judging = self.held_out[self.packed.life]
        if not self.judging.any():  # every other life, or of one alone the last quarter of each 400
            age, life = self.packed.age, self.packed.life
            self.judging = life % 2 == 1 if len(self.lives.rows) > 1 else age % 400 > 300
        self.drivers = Drivers.of(
            config.drivers, [track.name for track in self.table.tracks],
            self.table.may_drive & ~self.lives.missing.any(axis=0), self.lives.numbers,
            self.features[:, WEAR_FEATURES:], self.packed, self.judging,
        )  # fmt: skip

    def run(
        self,
        on_epoch: OnEpoch | None,
        resume: bytes | None,
        on_checkpoint: OnCheckpoint | None,
    ) -> None:
        """Run both phases; afterwards `curve` and `residual` are fitted."""
        rows = int((~self.held_out[self.packed.life]).sum())
        training = Training(
            self.fingerprint, rows, self.config.epochs, on_epoch, resume, on_checkpoint
        )
        training.run(self._curve_phase())
        training.run(self._residual_phase(training.epochs_left))
        self.history = training.history
        self.curve.eval()
        self.residual.network.eval()
        self.residual.fit_prior(self.batch, self.config.seed)

    def population(self) -> Population:
        """Fit how lives differ, from the embeddings and the traits of the training lives."""
        mean = self.embeddings.mean.numpy().astype(np.float64)
        known = self.embeddings.deviation.square().mean(dim=0).numpy().astype(np.float64)
        scores = [self.table.traits[n].scores(v) for n, v in self.traits.items() if np.ptp(v) > 0]
        traits = np.column_stack([mean, *scores])
        spread = np.r_[known, np.zeros(len(scores))]
        return Population.fit(traits, self.combo, len(self.table.tuples), spread)

    def facts(self) -> dict[str, Any]:
        """Return what the fit found that drawing and notes need."""
        return {
            "lives": len(self.lives.rows),
            "rows": len(self.features),
            "held_out": int(self.held_out.sum()),
            "combo_counts": np.bincount(self.combo, minlength=len(self.table.tuples)).tolist(),
            "regime_counts": np.bincount(self.lives.regime, minlength=self.table.regimes).tolist(),
        }

    def _curve_phase(self) -> Trainer:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            told = self.features.shape[1] + self.drivers.width
            self.curve = Curve(told, self.values.shape[1])
        epochs = self.config.epochs // 2 if self.values.shape[1] else 0
        times = 2 if self.drivers else 1  # each row is seen, a part of its columns each time
        return curve_trainer(
            self.curve, self._of(~self.held_out), self._of(self.held_out), self.config, epochs,
            (times * len(self.features), self._columns / times),
        )  # fmt: skip

    @property
    def _columns(self) -> int:
        return len(self.table.tracks) + len(self.table.categories.groups)

    def _of(self, chosen: NDArray[np.bool_]) -> CurveData:
        """Return the rows of the chosen lives as the curve sees them."""
        rows = chosen[self.packed.life]
        features, values = self.features[rows], self.values[rows]
        life, each = (np.cumsum(chosen) - 1)[self.packed.life[rows]], self.lives.rows[chosen]
        if self.drivers:  # each row twice: what drives, and what is told of it and follows
            driving = self.drivers.among(values.shape[1])
            told = self.drivers.told(self.lives.numbers, self.packed)[rows]
            untold = np.zeros_like(told)
            features = np.block([[features, untold], [features, told]])
            values = np.r_[np.where(driving, values, np.nan), np.where(driving, np.nan, values)]
            life, each = np.tile(life, 2), 2 * each
        return CurveData(
            torch.from_numpy(features), torch.from_numpy(values), torch.from_numpy(life),
            torch.from_numpy(each), torch.from_numpy(self.told[chosen]),
        )  # fmt: skip

    def _residual_phase(self, epochs: int) -> Trainer:
        follows = Embeddings.infer(self.curve, self._of(~self.held_out)).follows
        everyone = np.ones_like(self.held_out)
        self.embeddings = Embeddings.infer(self.curve, self._of(everyone), follows)
        w = self.embeddings.mean.numpy()[self.packed.life]
        told = np.concatenate([self.features, w], axis=1)
        value, hidden = self.drivers.levels(
            self.curve, self.features, w, self.lives.numbers, self.packed
        )
        residual = (self.values - value)[:, : len(self.table.tracks)]
        self.residual, joint = Residual.prepare(
            residual, hidden, self.lives, self.table, self.groups, told.shape[1], self.packed,
            self.drivers, self.held_out, self.judging, self.config,
        )  # fmt: skip
        network = self.residual.network
        batch = network.batch(joint, self.residual.conditions(told, self.lives.codes, self.packed))
        held = torch.from_numpy(self.held_out[self.packed.life])
        self.batch = batch[~held]
        epochs = epochs if self.residual.encoding.varies else 0
        size = len(self.features), self._columns
        return network_trainer(network, self.batch, batch[held], self.config, epochs, size)


def choose_held_out(lives: int, config: TrainConfig) -> NDArray[np.bool_]:
    """Return which lives only decide when training is enough; none where they are too few."""
    held = np.zeros(lives, dtype=bool)
    if config.early_stopping and lives >= LEAST_LIVES:
        count = min(MOST_HELD_OUT, max(1, round(HELD_OUT_SHARE * lives)))
        held[np.random.default_rng(config.seed).choice(lives, count, replace=False)] = True
    return held


def _standardized(table: LifeTable, lives: Any) -> NDArray[np.float32]:
    center, spread = np.array(table.center), np.array(table.spread)
    unknown = lives.missing | table.still[lives.regime]
    values = np.where(unknown, np.nan, lives.numbers)
    found = (values - center[lives.regime]) / spread[lives.regime]
    return np.asarray(found, dtype=np.float32)


def _indicators(codes: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return whether a row takes each frequent cell of each category, standardized: lives differ
    in these as they do in numbers."""
    found = []
    for column in codes.T:
        share = np.bincount(column) / max(len(column), 1)
        frequent = [cell for cell in np.argsort(-share)[:MOST_INDICATORS] if share[cell] >= 0.005]
        for cell in frequent[1:]:
            spread = np.sqrt(share[cell] * (1 - share[cell]))
            found.append(((column == cell) - share[cell]) / spread)
    return np.array(found, dtype=np.float32).reshape(len(found), len(codes)).T
