"""The model of lives that learns, draws and answers: `fit`, `sample`, `prognose`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import pandas as pd

from gan_lab.errors import BadParameter
from gan_lab.schema import GenerateConfig, Roles, TrainConfig
from gan_lab.synth.lives.drawing import Drawing
from gan_lab.synth.lives.fitting import Fitting
from gan_lab.synth.lives.model import LivesModel, TrainingRecord
from gan_lab.synth.lives.prognosis.answer import Asked
from gan_lab.synth.lives.prognosis.error_variance import ErrorVariance
from gan_lab.synth.lives.prognosis.left_out import (
    Check,
    LeftOut,
    fit_curve,
    leave_lives_out,
    prognosis_facts,
)
from gan_lab.synth.lives.prognosis.prognosis import Prognosis
from gan_lab.synth.network.device import one_thread
from gan_lab.synth.network.training import OnCheckpoint, OnEpoch


class SequentialTVAE(LivesModel):
    """A model of lives, learned from a table and drawn from."""

    @classmethod
    @one_thread()
    def fit(
        cls,
        table: pd.DataFrame,
        roles: Roles,
        config: TrainConfig,
        on_epoch: OnEpoch | None = None,
        resume: bytes | None = None,
        on_checkpoint: OnCheckpoint | None = None,
        check: Check | None = None,
    ) -> Self:
        """Learn the lives of a table; `config.epochs` is the most it may take.

        `on_epoch` is called after every epoch; True stops, and the model fitted so far is returned.
        `check` is called often while it is learned what prognoses are worth, and may raise.
        `on_checkpoint(epoch, state)` may call `state()` for the bytes that `resume` takes.
        Raises `BadTable` for a table that cannot be learned from, `TaskFailed` if training
        diverges.
        """
        fitting = Fitting(table, roles, config)
        fitting.run(on_epoch, resume, on_checkpoint)
        lives = fitting.lives
        left_out, wear_curve = LeftOut(), fitting.curve
        if not fitting.stopped:
            left_out, errors = leave_lives_out(lives, config, check)
            everyone = np.ones(len(lives.packed.rows), dtype=bool)
            wear_curve = fit_curve(lives, everyone, config, fitting.curve, check)
            ErrorVariance.give(errors, wear_curve)
        facts = fitting.facts() | prognosis_facts(lives, left_out)
        return cls(
            lives.table,
            lives.context,
            lives.drivers,
            fitting.curve,
            wear_curve,
            fitting.residual,
            fitting.population(),
            TrainingRecord(config, facts, fitting.history),
        )

    def sample(
        self,
        rows: int | None = None,
        lives: int | None = None,
        seed: int = 0,
        first_life: int = 1,
        conditions: GenerateConfig | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Draw exactly so many rows, or so many whole lives, in chunks of about 100,000 rows.

        Lives are numbered from `first_life`. Of rows, the last life is observed from its middle on.
        The same seed gives the same rows. Raises `BadParameter` for a condition that cannot be met.
        """
        if (rows is None) == (lives is None):
            raise BadParameter(f"Ask for rows or for lives, not for rows={rows} and lives={lives}.")
        if (rows or lives or 0) < 1:
            raise BadParameter(f"rows={rows}, lives={lives}: ask for at least one.")
        return Drawing(self, seed, conditions).chunks(rows, lives, first_life)

    def prognose(
        self, running: pd.DataFrame, progress: Callable[[float, str], None] | None = None
    ) -> Prognosis:
        """Return how long units that still run will last, one row a unit.

        `running` holds their rows under the table's own column names; see `Running.read` for what
        it may lack. `progress(share, words)` is called now and then. Raises `BadTable`.
        """
        return Asked(self, running).all(progress)
