"""The model of lives: run-to-failure trajectories, whole lives at a time.

A mixed-effects degradation curve with an embedding of the life (`degradation`), a Markov chain of
regimes (`regimes`), columns that the others follow (`drivers`), a variance that follows level and
wear (`scatter`), a conditional TVAE for what is left (`residual`), and a map to the values that are
seen (`calibration`). `fitting` trains them, `drawing` draws from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from gan_lab.errors import BadParameter
from gan_lab.schema import Epoch, TrainConfig
from gan_lab.synth.lives.calibration import Calibration
from gan_lab.synth.lives.dependence import Dependence
from gan_lab.synth.lives.drivers import Drivers
from gan_lab.synth.lives.life_table import LifeTable
from gan_lab.synth.lives.memory import Past
from gan_lab.synth.lives.population import Population
from gan_lab.synth.lives.regimes import Chain
from gan_lab.synth.lives.residual import Residual
from gan_lab.synth.lives.row_context import Situation
from gan_lab.synth.lives.variance import Scatter
from gan_lab.synth.lives.wear_curve import Curve
from gan_lab.synth.network.build import build_network
from gan_lab.synth.network.encoding import Column, Encoding
from gan_lab.synth.network.latent_prior import Prior
from gan_lab.synth.network.model_file import load_file, part, save_file

RESIDUAL_PARTS = ("past", "dependence", "scatter", "level")


class LivesModel:
    """A fitted model of lives; `history` holds what each epoch said."""

    def __init__(
        self,
        table: LifeTable,
        situation: Situation,
        drivers: Drivers,
        curve: Curve,
        residual: Residual,
        population: Population,
        calibration: Calibration,
        config: TrainConfig,
        facts: dict[str, Any],
        history: list[Epoch],
    ) -> None:
        self.table, self.situation = table, situation
        self.drivers, self.curve = drivers, curve
        self.residual, self.population, self.calibration = residual, population, calibration
        self.config, self.facts, self.history = config, facts, history

    @property
    def failure_modes(self) -> list[str]:
        """The failure modes that can be asked for."""
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
        """The operating states that can be asked for, where one column of states makes the
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
        names, facts = self.table.regime_columns, self.facts
        regimes = f"{self.table.regimes} regimes from {', '.join(names)}" if names else "one regime"
        held = facts["held_out"]
        decided = (
            f"{held} held-out lives decided when it was enough"
            if held
            else "no lives were held out, so the number of epochs was planned"
        )
        driving = [self.table.tracks[track].name for track in self.drivers.tracks]
        follow = f", the other numbers follow {' and '.join(driving)}" if driving else ""
        return [
            f"{facts['lives']} lives of {facts['rows']} rows, {regimes}{follow}.",
            f"{len(self.history)} of at most {self.config.epochs} epochs: {decided}.",
        ]

    def _failure_column(self) -> tuple[Column | None, list[int]]:
        name = self.table.roles.failure_mode
        for group, column in enumerate(self.table.conditions.groups):
            if column.name == name:
                return column, [combo[group] for combo in self.table.tuples]
        return None, []

    def save(self, path: Path) -> None:
        """Write the model as one sealed file (safetensors: tensors and JSON, no pickle)."""
        parts: dict[str, dict[str, Any]] = {
            "curve": self.curve.state_dict(),
            "network": self.residual.network.state_dict(),
            "prior": self.residual.prior.tensors(),
            "residual": {
                name: torch.from_numpy(np.ascontiguousarray(getattr(self.residual, name)))
                for name in ("gain", "lowest", "highest", "offsets")
            },
        }
        arrays: dict[str, Any] = {name: getattr(self.residual, name) for name in RESIDUAL_PARTS}
        arrays |= {"population": self.population, "calibration": self.calibration}
        arrays["drivers"] = self.drivers
        for name, made in arrays.items():
            parts[name] = {k: torch.from_numpy(v) for k, v in vars(made).items()}
        for name, chain in self.situation.chains.items():
            parts[f"chain_{name}"] = {
                "first": torch.from_numpy(chain.first),
                "following": torch.from_numpy(chain.following),
            }
        meta = {
            "model": "sequential",
            "table": self.table.to_json(),
            "span": self.situation.span,
            "clocked": self.situation.clocked,
            "patterns": self.situation.patterns,
            "chains": list(self.situation.chains),
            "encoding": self.residual.encoding.to_json(),
            "groups": self.residual.groups,
            "network_conditions": self.residual.network.conditions,
            "config": self.config.model_dump(),
            "facts": self.facts,
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
        network = build_network(encoding, config, meta["network_conditions"])
        network.load_state_dict(part(tensors, "network."))
        prior = Prior(config.embedding_dim, **part(tensors, "prior."))
        curve = Curve.shaped_like(part(tensors, "curve."))
        chains = {name: Chain(**arrays(f"chain_{name}")) for name in meta["chains"]}
        return cls(
            LifeTable.from_json(meta["table"]),
            Situation(meta["span"], meta["clocked"], meta["patterns"], chains),
            Drivers(**arrays("drivers")),
            curve.eval(),
            Residual(
                past=Past(**arrays("past")),
                scatter=Scatter(**arrays("scatter")),
                level=Scatter(**arrays("level")),
                dependence=Dependence(**arrays("dependence")),
                encoding=encoding,
                groups=meta["groups"],
                network=network.eval(),
                prior=prior,
                **arrays("residual"),
            ),
            Population(**arrays("population")),
            Calibration(**arrays("calibration")),
            config,
            meta["facts"],
            [Epoch(*values) for values in meta["history"]],
        )
