"""A fitted model of lives: its steps, what it found, and its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from gan_lab.errors import BadParameter
from gan_lab.schema import Epoch, TrainConfig
from gan_lab.synth.lives.conditional_tvae import WIDTHS, ConditionalTVAE
from gan_lab.synth.lives.degradation_curve import Curve
from gan_lab.synth.lives.dependence import Dependence
from gan_lab.synth.lives.drivers import Drivers
from gan_lab.synth.lives.level import LifeLevel
from gan_lab.synth.lives.life_table import LifeTable
from gan_lab.synth.lives.markov_chain import MarkovChain
from gan_lab.synth.lives.memory import Autoregression
from gan_lab.synth.lives.population import Population
from gan_lab.synth.lives.residual import Residual
from gan_lab.synth.lives.row_context import RowContext
from gan_lab.synth.lives.variance import VarianceModel
from gan_lab.synth.network.build import build_network
from gan_lab.synth.network.encoding import Column, Encoding
from gan_lab.synth.network.latent_prior import Prior
from gan_lab.synth.network.model_file import load_file, part, save_file


@dataclass
class TrainingRecord:
    """How a model was trained: its configuration, counts of the training lives, its epochs."""

    config: TrainConfig
    facts: dict[str, Any]
    history: list[Epoch]


@dataclass(eq=False)
class LivesModel:
    """A fitted model of lives."""

    table: LifeTable
    context: RowContext
    drivers: Drivers
    curve: Curve
    wear_curve: Curve  # of all training lives, that prognosis reads wear by
    residual: Residual
    population: Population
    record: TrainingRecord

    @property
    def config(self) -> TrainConfig:
        """The configuration of the training."""
        return self.record.config

    @property
    def history(self) -> list[Epoch]:
        """The epochs of the training."""
        return self.record.history

    @property
    def failure_modes(self) -> list[str]:
        """The failure modes that can be chosen."""
        return [name for name in self.failure_mode_names if name is not None]

    @property
    def failure_mode_names(self) -> list[str | None]:
        """Every failure mode of the training lives; None: it is missing."""
        column, _ = self._failure_column()
        return [] if column is None else column.names

    @property
    def failure_mode_of_combo(self) -> list[int]:
        """The failure mode of each combination of conditions, a place among
        `failure_mode_names`."""
        return self._failure_column()[1]

    @property
    def states(self) -> list[str]:
        """The operating states that can be chosen, where one column of states makes the
        regimes."""
        return [name for name in self.state_of_regime if name is not None]

    @property
    def state_of_regime(self) -> list[str | None]:
        """The operating state that each regime is (None: missing), where a column of states makes
        them."""
        for group, column in enumerate(self.table.categories.groups):
            if [str(column.name)] == self.table.regime_columns:
                return [column.names[given[group]] for given in self.table.given]
        return []

    def notes(self) -> list[str]:
        """Return what the model found and decided by itself, a sentence each."""
        names, facts = self.table.regime_columns, self.record.facts
        regimes = f"{self.table.regimes} regimes from {', '.join(names)}" if names else "one regime"
        held = facts["held_out"]
        decided = (
            f"{held} held-out lives decided when it was enough"
            if held
            else "no lives were left out of the fit to decide when it was enough"
        )
        shares = ", ".join(f"{share:.0%}" for share in self.population.shares)
        groups = (
            f"They wear in {len(self.population.shares)} ways that no column names ({shares} of "
            "lives): hidden failure modes, or kinds of machine."
        )
        driving = [self.table.sensors[track].name for track in self.drivers.tracks]
        follow = f", the other numbers follow {' and '.join(driving)}" if driving else ""
        return [
            f"{facts['lives']} lives of {facts['rows']} rows, {regimes}{follow}.",
            *[groups] * (len(self.population.shares) > 1),
            f"{len(self.history)} of at most {self.config.epochs} epochs: {decided}.",
        ]

    def _failure_column(self) -> tuple[Column | None, list[int]]:
        name = self.table.roles.failure_mode
        for group, column in enumerate(self.table.conditions.groups):
            if column.name == name:
                return column, [combo[group] for combo in self.table.combinations]
        return None, []

    def save(self, path: Path) -> None:
        """Write the model as one sealed file (safetensors: tensors and JSON, no pickle)."""
        residual, tvae = self.residual, self.residual.tvae
        parts = {
            "curve": self.curve.state_dict(),
            "wear_curve": self.wear_curve.state_dict(),
            "network": tvae.network.state_dict(),
            "prior": tvae.prior.tensors(),
            "drivers": _tensors(self.drivers),
            "level_width": _tensors(residual.level.width),
            "level": {"root": _tensor(residual.level.root)},
            "memory": _tensors(residual.memory),
            "variance": _tensors(residual.variance),
            "dependence": _tensors(residual.dependence),
            "population": _tensors(self.population),
        }
        parts |= {f"chain_{k}": _tensors(chain) for k, chain in self.context.chains.items()}
        meta = {
            "model": "sequential",
            "table": self.table.to_json(),
            "span": self.context.span,
            "periods": self.context.periods,
            "patterns": self.context.patterns,
            "chains": list(self.context.chains),
            "encoding": tvae.encoding.to_json(),
            "groups": tvae.groups,
            "network_conditions": tvae.network.conditions,
            "config": self.config.model_dump(),
            "facts": self.record.facts,
            "history": [[getattr(e, name) for name in Epoch.__slots__] for e in self.history],
        }
        tensors = {f"{part}.{k}": v for part, found in parts.items() for k, v in found.items()}
        save_file(path, tensors, meta)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model; raises `BadParameter` for a file that is missing, altered or of another
        kind."""
        tensors, meta = load_file(path)
        if meta.get("model") != "sequential":
            raise BadParameter(f"The model file {path} holds no model of lives.")

        def arrays(name: str) -> dict[str, Any]:
            return {k: v.numpy() for k, v in part(tensors, f"{name}.").items()}

        config = TrainConfig.model_validate(meta["config"])
        encoding = Encoding.from_json(meta["encoding"])
        network = build_network(encoding, config, meta["network_conditions"], WIDTHS)
        network.load_state_dict(part(tensors, "network."))
        prior = Prior(config.embedding_dim, **part(tensors, "prior."))
        curve = Curve.from_weights(part(tensors, "curve."))
        chains = {name: MarkovChain(**arrays(f"chain_{name}")) for name in meta["chains"]}
        return cls(
            LifeTable.from_json(meta["table"]),
            RowContext(meta["span"], meta["periods"], meta["patterns"], chains),
            Drivers(**arrays("drivers")),
            curve.eval(),
            Curve.from_weights(part(tensors, "wear_curve.")).eval(),
            Residual(
                level=LifeLevel(VarianceModel(**arrays("level_width")), **arrays("level")),
                memory=Autoregression(**arrays("memory")),
                variance=VarianceModel(**arrays("variance")),
                dependence=Dependence(**arrays("dependence")),
                tvae=ConditionalTVAE(encoding, meta["groups"], network.eval(), prior),
            ),
            Population(**arrays("population")),
            TrainingRecord(config, meta["facts"], [Epoch(*values) for values in meta["history"]]),
        )


def _tensors(step: Any) -> dict[str, Tensor]:
    """Return the arrays of a step by the names of its attributes."""
    return {name: _tensor(values) for name, values in vars(step).items()}


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))
