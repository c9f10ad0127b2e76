"""The fit of a model of lives: the table as arrays, then two phases of epochs, each resumable.

First the degradation curve with the embedding of each life, then the conditional TVAE of what it
leaves. Everything between the phases is computed anew from table and weights, so a checkpoint holds
only the weights, the optimizer, and where the phase stands.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_lab.errors import BadParameter
from gan_lab.schema import Epoch, Roles, TrainConfig
from gan_lab.synth.lives.drivers import Drivers
from gan_lab.synth.lives.life_table import LifeTable
from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.phases import Phase, Plan
from gan_lab.synth.lives.population import Population
from gan_lab.synth.lives.residual import Residual
from gan_lab.synth.lives.row_context import Situation
from gan_lab.synth.lives.wear_curve import WEAR_FEATURES, Curve, CurveData, Embeddings, curve_losses
from gan_lab.synth.network.build import check_names, fingerprint
from gan_lab.synth.network.device import OnCheckpoint, OnEpoch, use_bfloat16
from gan_lab.synth.network.model_file import pack, part, unpack
from gan_lab.synth.network.tvae_network import Batch

VALIDATION_ROWS = 20_000  # of held-out lives, that are asked after each epoch
LEAST_LIVES = 8  # to hold some of them out
HELD_OUT_SHARE, MOST_HELD_OUT = 0.12, 200
STEADY_STEPS = (1_500, 1_000)  # of each phase where no held-out lives decide
PATIENCE_STEPS = (200, 140)  # of each phase
COMMON_STEPS = 100  # in which conditions of lives are learned before lives are told apart
LEAST_GAIN = (0.002, 0.0003)  # nats a row and column, of each phase
HELD_RATE = 0.5  # of the highest of one cycle: a phase holds its rate, a cycle only touches it
MOST_INDICATORS = 6  # of a category, that the embedding of a life is inferred from
ELBO_SHARE = 0.5  # of `loss_factor`: SDV's default is then the evidence lower bound itself


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
        self.history: list[Epoch] = []
        self.stopped = False

    def run(
        self,
        on_epoch: OnEpoch | None,
        resume: bytes | None,
        on_checkpoint: OnCheckpoint | None,
    ) -> None:
        """Run both phases; afterwards `curve` and `residual` are fitted."""
        tensors, meta = self._resumed(resume)
        self.history = [Epoch(*values) for values in meta.get("history", [])]
        reports = on_epoch, on_checkpoint
        first = self._curve_phase()
        if meta.get("phase", 1) == 1:
            if meta:
                first.restore(part(tensors, "phase."), meta["numbers"])
            self._run(1, first, {}, *reports)
        else:
            self.curve.load_state_dict(part(tensors, "curve."))
        resumed = meta["numbers"]["epoch"] if meta.get("phase", 1) == 2 else 0
        del first  # and the rows that it holds
        second = self._residual_phase(self.config.epochs - len(self.history) + resumed)
        if resumed:
            second.restore(part(tensors, "phase."), meta["numbers"])
        if not self.stopped:
            self._run(2, second, self.curve.state_dict(), *reports)
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

    def _curve_phase(self) -> Phase:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            told = self.features.shape[1] + self.drivers.width
            self.curve = Curve(told, self.values.shape[1])
        taught, asked = self._of(~self.held_out), self._of(self.held_out)

        def infer() -> None:
            # Without conditions there is nothing to learn first but which life has which length.
            alike = bool(taught.told.shape[1]) and phase.epoch * phase.steps < common
            self.curve.tell_apart(not alike)
            found = Embeddings.nobody if alike else Embeddings.infer
            self.embeddings = found(self.curve, taught)
            self.curve.level_share.copy_(self.embeddings.level_share)

        def loss(chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            return curve_losses(self.curve, taught, self.embeddings, chosen, generator)

        def validate() -> float | None:
            if not len(asked.rows):
                return None
            generator = torch.Generator().manual_seed(self.config.seed)
            found = Embeddings.infer(self.curve, asked, self.embeddings.follows)
            chosen = torch.randperm(len(asked.life), generator=generator)[:VALIDATION_ROWS]
            return float(sum(curve_losses(self.curve, asked, found, chosen, generator)))

        most = self.config.epochs // 2 if self.values.shape[1] else 0
        plan = self._plan(0, most, 5e-3, times=2 if self.drivers else 1)
        phase = Phase(
            self.curve, loss, validate, len(taught.life), plan, self.config,
            salt=1, before_epoch=infer, faster=("log_sigma",),
        )  # fmt: skip
        common = min(COMMON_STEPS, 0.2 * most * phase.steps)
        return phase

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

    def _residual_phase(self, most: int) -> Phase:
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
        self.batch, apart = batch[~held], _some(batch[held], self.config.seed)
        config = self.config
        factor = config.loss_factor * ELBO_SHARE

        def loss(chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            noise = torch.randn(len(chosen), config.embedding_dim, generator=generator)
            return network.losses(self.batch[chosen], noise)

        def validate() -> float | None:
            if not len(apart):
                return None
            generator = torch.Generator().manual_seed(config.seed)
            noise = torch.randn(len(apart), config.embedding_dim, generator=generator)
            reconstruction, kl = network.losses(apart, noise)
            return float(factor * reconstruction + kl)

        most = most if self.residual.encoding.varies else 0
        plan = self._plan(1, most, HELD_RATE * config.learning_rate)
        return Phase(
            network, loss, validate, len(self.batch), plan, config, salt=2,
            factor=factor, after_step=network.clamp_sigma,
            half=use_bfloat16(config.precision, network.device),
        )  # fmt: skip

    def _plan(self, phase: int, most: int, rate: float, times: int = 1) -> Plan:
        """Return how long a phase takes that sees each row so many times in an epoch, a part of its
        columns each time."""
        steps = max(1, math.ceil(times * len(self.features) / self.config.batch_size))
        columns = (len(self.table.tracks) + len(self.table.categories.groups)) / times
        return Plan(
            most=most,
            steady=max(2, math.ceil(STEADY_STEPS[phase] / steps)),
            patience=max(2, math.ceil(PATIENCE_STEPS[phase] / steps)),
            least=LEAST_GAIN[phase] * columns,
            rate=rate,
        )

    def _run(
        self, number: int, phase: Phase, before: dict[str, Tensor],
        on_epoch: OnEpoch | None, on_checkpoint: OnCheckpoint | None,
    ) -> None:  # fmt: skip
        while not phase.finished and not self.stopped:
            started = time.perf_counter()
            reconstruction, kl, validation = phase.run_epoch()
            seconds = time.perf_counter() - started
            epoch = Epoch(
                epoch=len(self.history) + 1,
                epochs=self.config.epochs,
                loss=phase.factor * reconstruction + kl,
                reconstruction=reconstruction,
                kl=kl,
                validation=validation,
                seconds=seconds,
                rows_per_second=int((~self.held_out[self.packed.life]).sum()) / seconds,
            )
            self.history.append(epoch)
            if on_checkpoint is not None:
                on_checkpoint(epoch.epoch, lambda: self._state(number, phase, before))
            self.stopped = bool(on_epoch is not None and on_epoch(epoch))

    def _state(self, number: int, phase: Phase, before: dict[str, Tensor]) -> bytes:
        tensors, numbers = phase.state()
        saved = {f"phase.{k}": v for k, v in tensors.items()}
        saved |= {f"curve.{k}": v for k, v in before.items()}
        history = [[getattr(epoch, name) for name in Epoch.__slots__] for epoch in self.history]
        return pack(
            saved,
            {
                "fingerprint": self.fingerprint,
                "phase": number,
                "numbers": numbers,
                "history": history,
            },
        )

    def _resumed(self, resume: bytes | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if resume is None:
            return {}, {}
        tensors, meta = unpack(resume, "The checkpoint")
        if meta.get("fingerprint") != self.fingerprint or "phase" not in meta:
            raise BadParameter(
                "The checkpoint belongs to another table or configuration. Start the training anew."
            )
        return tensors, meta


def _some(rows: Batch, seed: int) -> Batch:
    """Return as many rows as are asked after each epoch."""
    generator = torch.Generator().manual_seed(seed)
    return rows[torch.randperm(len(rows), generator=generator)[:VALIDATION_ROWS]]


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
