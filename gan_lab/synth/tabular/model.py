"""The model of plain tables: sequential trees, or a TVAE.

A table and a configuration in, a fitted model out, rows out of that. Trees are nearest to the
table. With `decoder="network"` a TVAE (Xu et al. 2019, arXiv:1907.00503) draws, cell by cell from
the softmax; its codes are drawn from a prior fitted to those of the training rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import CONDITIONS, FAILURE_NAME, Epoch, GenerateConfig, Roles, TrainConfig
from gan_lab.synth.network.build import build_network, fingerprint
from gan_lab.synth.network.device import one_thread
from gan_lab.synth.network.encoding import Encoding
from gan_lab.synth.network.latent_prior import Prior
from gan_lab.synth.network.model_file import load_file, part, save_file
from gan_lab.synth.network.schedule import EarlyStopping, planned_epochs
from gan_lab.synth.network.training import (
    OnCheckpoint,
    OnEpoch,
    Trainer,
    Training,
    TvaeObjective,
)
from gan_lab.synth.network.tvae_network import Batch, Network
from gan_lab.synth.tabular.conditions import Conditions
from gan_lab.synth.tabular.tree_model import OnColumn, TreeModel

CHUNK_ROWS = 25_000
PRIOR_COMPONENTS = 20


class TabularTVAE:
    """A fitted model of rows without order: `trees`, or a `network` and the `prior` of its
    codes."""

    def __init__(
        self,
        encoding: Encoding,
        network: Network | None,
        prior: Prior | None,
        trees: TreeModel | None,
        roles: Roles,
        config: TrainConfig,
        history: list[Epoch],
    ) -> None:
        self.encoding, self.network, self.prior, self.trees = encoding, network, prior, trees
        self.roles, self.config, self.history = roles, config, history

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
        on_column: OnColumn | None = None,
    ) -> Self:
        """Learn the rows of a table, all columns but the life.

        Of trees `on_column(done, of, name)` hears of each column, and may raise. Of a network
        `on_epoch` is called after every epoch; True stops, and what is trained so far is returned;
        `on_checkpoint(epoch, state)` may call `state()` for the bytes that `resume` takes.
        Raises `BadTable` for a table that cannot be learned from, `BadParameter` for a target that
        is no column, `TaskFailed` if training diverges.
        """
        table = table.drop(columns=[roles.life] if roles.life in table.columns else [])
        _check_table(table)
        encoding = Encoding.fit(table)
        if not encoding.varies:
            raise BadTable("Every column of the table is constant: there is nothing to learn.")
        target = _target(encoding, roles, config)
        model = cls(encoding, None, None, None, roles, config, [])
        if config.decoder == "trees":
            model.trees = TreeModel.fit(encoding, table, target, config.seed, on_column)
        else:
            model._train(table, on_epoch, resume, on_checkpoint)
        return model

    def _train(
        self,
        table: pd.DataFrame,
        on_epoch: OnEpoch | None,
        resume: bytes | None,
        on_checkpoint: OnCheckpoint | None,
    ) -> None:
        """Train the network and fit its prior."""
        config = self.config
        network = build_network(self.encoding, config)
        rows, held_out = _split(network.batch(self.encoding.encode(table)), config)
        epochs, name = planned_epochs(len(rows), config), fingerprint(table, self.roles, config)
        training = Training(name, len(rows), epochs, on_epoch, resume, on_checkpoint)
        objective = TvaeObjective(network, rows, held_out, config, config.loss_factor)
        schedule = EarlyStopping(epochs, config.learning_rate, epochs, epochs, 0.0)
        training.run(Trainer(objective, schedule, config, config.seed * 1_000_003 + 1))
        network.eval()
        self.network, self.history = network, training.history
        self.prior = Prior.fit(network, rows, PRIOR_COMPONENTS, config.seed)

    def sample(
        self,
        rows: int | None = None,
        lives: int | None = None,
        seed: int = 0,
        first_life: int = 1,
        conditions: GenerateConfig | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Draw rows, in chunks of 25,000 so that memory stays constant; same seed, same rows.

        Conditions on columns are met exactly. Raises `BadParameter` for lives and conditions of
        lives, which a model of plain rows cannot honour, and for what no training row showed.
        """
        _check_request(rows, lives, conditions)
        rows = 10_000 if rows is None else rows
        wanted = conditions.conditions if conditions else None
        if self.trees is None:
            if wanted:
                raise BadParameter(
                    f"{', '.join(wanted)} cannot be chosen: this model was trained with "
                    "decoder='network'. Train with decoder='trees'."
                )
            return self._network_chunks(rows, seed)
        met = Conditions(self.trees, wanted or {})
        return self._tree_chunks(rows, seed, met)

    def _tree_chunks(self, rows: int, seed: int, met: Conditions) -> Iterator[pd.DataFrame]:
        assert self.trees is not None
        for number, portions in enumerate(met.portions(rows, CHUNK_ROWS)):
            rng, drawn = np.random.default_rng([seed, number]), []
            for size, spans in portions:
                places = self.trees.draw(size, rng, spans)
                if places is None:
                    raise met.unmet()
                drawn.append(places)
            places = rng.permutation(np.concatenate(drawn))  # rows of a class lie side by side
            chunk = self.trees.ranks.decode(places)
            start = number * CHUNK_ROWS
            chunk.index = pd.RangeIndex(start, start + len(chunk))
            yield chunk

    def _network_chunks(self, rows: int, seed: int) -> Iterator[pd.DataFrame]:
        assert self.network is not None and self.prior is not None
        for number, start in enumerate(range(0, rows, CHUNK_ROWS)):
            size = min(CHUNK_ROWS, rows - start)
            generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
            z = self.prior.sample(size, generator)
            chunk = self.encoding.decode(self.network.draw(z, generator))
            chunk.index = pd.RangeIndex(start, start + size)
            yield chunk

    def save(self, path: Path) -> None:
        """Write the model as one sealed file (safetensors: tensors and JSON, no pickle)."""
        tensors: dict[str, Tensor] = {}
        meta: dict[str, Any] = {
            "model": "tabular",
            "encoding": self.encoding.to_json(),
            "roles": self.roles.model_dump(),
            "config": self.config.model_dump(),
            "history": [astuple(epoch) for epoch in self.history],
        }
        if self.network and self.prior:
            tensors |= {f"network.{k}": v for k, v in self.network.state_dict().items()}
            tensors |= {f"prior.{k}": v for k, v in self.prior.tensors().items()}
        if self.trees:
            found, meta["trees"] = self.trees.state()
            tensors |= {f"trees.{name}": tensor for name, tensor in found.items()}
        save_file(path, tensors, meta)

    def export_sdv(self, path: Path) -> None:
        """Write a file that SDV loads and samples from without this package; see `export`.

        Raises `BadParameter` for a model of trees.
        """
        from gan_lab.synth.tabular.sdv_export import export_sdv

        if self.network is None or self.prior is None:
            raise BadParameter(
                "This model is trees, and what an SDV file holds is a network. Train with "
                "decoder='network'."
            )
        export_sdv(self.encoding, self.network, self.prior, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model; raises `BadParameter` for a file that is missing, altered or of another
        kind."""
        tensors, meta = load_file(path)
        if meta.get("model") != "tabular":
            raise BadParameter(f"The model file {path} holds no model of plain tables.")
        config = TrainConfig.model_validate(meta["config"])
        encoding = Encoding.from_json(meta["encoding"])
        history = [Epoch(*values) for values in meta["history"]]
        roles = Roles.model_validate(meta["roles"])
        model = cls(encoding, None, None, None, roles, config, history)
        if "trees" in meta:
            model.trees = TreeModel.restore(encoding, part(tensors, "trees."), meta["trees"])
        else:
            model.network = build_network(encoding, config)
            model.network.load_state_dict(part(tensors, "network."))
            model.network.eval()
            model.prior = Prior(config.embedding_dim, **part(tensors, "prior."))
        return model


def _target(encoding: Encoding, roles: Roles, config: TrainConfig) -> Any:
    """Return the column that matters, None where nobody knows: named, else what a machine's data
    is for, else what is called like a failure."""
    names = {str(column.name): column for column in encoding.columns}
    if config.target is not None:
        if config.target not in names:
            raise BadParameter(f"target={config.target!r} is no column: {', '.join(names)}.")
        return names[config.target].name
    for role in (roles.rul, roles.failure_mode):
        if role in names:
            return names[role].name
    flags = [column for column in encoding.groups if not column.stretches]
    return next((each.name for each in flags if FAILURE_NAME.search(str(each.name))), None)


def _check_table(table: pd.DataFrame) -> None:
    rows, columns = table.shape
    if rows < max(2, columns):
        raise BadTable(
            f"The table has {rows:,} rows and {columns} columns: fewer rows than columns cannot be "
            "learned from. Add rows or drop columns."
        )


def _split(rows: Batch, config: TrainConfig) -> tuple[Batch, Batch]:
    """Return the rows to learn and those kept apart to watch the loss."""
    kept = int(len(rows) * config.validation)
    if kept < 1 or len(rows) - kept < 2:
        return rows, rows[:0]
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(rows), generator=generator)
    return rows[order[kept:]], rows[order[:kept]]


def _check_request(rows: int | None, lives: int | None, conditions: GenerateConfig | None) -> None:
    wanted = conditions.lives if conditions and conditions.lives else lives  # of all splits
    if wanted is not None:
        raise BadParameter(
            f"lives={wanted} was asked of a model of plain rows. Ask for rows, or train a "
            "sequential model."
        )
    for name in CONDITIONS:
        value = getattr(conditions, name) if conditions else None
        if value is None:
            continue
        raise BadParameter(
            f"{name}={value} was asked of a model of plain rows, which cannot honour it. "
            "Leave it out, train a sequential model, or ask for values of columns: conditions."
        )
    if rows is not None and rows < 1:
        raise BadParameter(f"rows={rows} cannot be drawn. Ask for at least one row.")
