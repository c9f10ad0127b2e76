"""A network for a table, and the fingerprint by which a checkpoint knows its table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pandas as pd
import torch

from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.network.device import choose_device
from gan_lab.synth.network.encoding import Encoding
from gan_lab.synth.network.tvae_network import Network

WIDTHS = (128, 128)  # of layers, where the configuration names none


def build_network(
    encoding: Encoding, config: TrainConfig, conditions: int = 0, widths: Sequence[int] = WIDTHS
) -> Network:
    """Return an untrained network for an encoding, with layers of these `widths` where the
    configuration names none; its first weights depend on `config.seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = Network(
            len(encoding.modal),
            encoding.widths,
            config.embedding_dim,
            widths if config.compress_dims is None else config.compress_dims,
            widths if config.decompress_dims is None else config.decompress_dims,
            conditions,
        )
    return network.to(choose_device(config.device))


def fingerprint(table: pd.DataFrame, roles: Roles, config: TrainConfig) -> str:
    """Return a hash of a table, its roles and a configuration: what a checkpoint must agree
    with."""
    digest = hashlib.sha256((config.model_dump_json() + roles.model_dump_json()).encode())
    digest.update(repr([(str(name), str(table[name].dtype)) for name in table.columns]).encode())
    for name in table.columns:
        hashes = pd.util.hash_pandas_object(table[name], index=False)
        digest.update(hashes.to_numpy().tobytes())
    return digest.hexdigest()
