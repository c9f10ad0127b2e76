"""The seam to SDV: a fitted model as a file that a plain SDV installation loads and samples from.

What this stands on of sdv and cloudpickle is named in `ASSUMED` and held by
tests/synth/tabular/test_sdv_contract.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gan_lab.errors import GanLabError
from gan_lab.synth.network.encoding import CategoricalColumn, Column, Encoding
from gan_lab.synth.network.latent_prior import Prior
from gan_lab.synth.network.tvae_network import Network
from gan_lab.workspace.files import written_beside

ASSUMED = (
    "TVAESynthesizer(metadata) with update_transformers, preprocess and fit_processed_data",
    "TVAESynthesizer draws with _model.sample(rows) after _model.set_random_state(state)",
    "a transformer of None leaves a column as it is, both ways",
    "save writes the synthesizer with cloudpickle and load reads it",
    "cloudpickle.register_pickle_by_value writes the classes of a package into the file",
)
ROWS = 200  # rows that SDV sees of the model, to learn names and types from


class SdvRows:
    """What SDV's synthesizer holds in place of ctgan's TVAE: it is pickled with its own code."""

    def __init__(self, encoding: Encoding, network: Network, prior: Prior) -> None:
        self.encoding, self.network, self.prior = encoding, network.cpu(), prior
        self.set_random_state(0)

    def set_random_state(self, state: Any) -> None:
        """Take SDV's seed: an integer, or its pair of generators, or None for any seed."""
        seed = state[1].initial_seed() if isinstance(state, tuple) else state
        self.random = np.random.default_rng(seed)

    def sample(self, rows: int) -> pd.DataFrame:
        """Draw rows as the model itself does."""
        generator = torch.Generator().manual_seed(int(self.random.integers(2**62)))
        encoded = self.network.draw(self.prior.sample(rows, generator), generator)
        return self.encoding.decode(encoded)


def export_sdv(encoding: Encoding, network: Network, prior: Prior, path: Path) -> None:
    """Write a file for `sdv.utils.load_synthesizer` or `TVAESynthesizer.load`; it needs no gan_lab.

    It is a cloudpickle, as all of SDV's are: load it only where you trust it, and under the same
    minor version of Python. Writes beside `path` and moves into place.
    """
    import cloudpickle
    from sdv.metadata import Metadata
    from sdv.single_table import TVAESynthesizer

    import gan_lab

    rows = SdvRows(encoding, network, prior)
    table = rows.sample(ROWS)
    columns = {column.name: _describe(column) for column in encoding.columns}
    metadata = Metadata.load_from_dict({"tables": {"table": {"columns": columns}}})
    synthesizer = TVAESynthesizer(metadata, enforce_rounding=False, enforce_min_max_values=False)
    try:
        synthesizer.auto_assign_transformers({"table": table})
        synthesizer.update_transformers(dict.fromkeys(columns))
        synthesizer.preprocess({"table": table})
    except Exception as error:
        raise GanLabError(f"SDV cannot describe this table: {error}") from error
    synthesizer._model, synthesizer._fitted = rows, True
    cloudpickle.register_pickle_by_value(gan_lab)
    try:
        with written_beside(path) as beside:
            synthesizer.save(beside)
    finally:
        cloudpickle.unregister_pickle_by_value(gan_lab)


def _describe(column: Column) -> dict[str, str]:
    if isinstance(column, CategoricalColumn):
        return {"sdtype": "categorical"}
    return {"sdtype": "datetime" if column.is_time else "numerical"}
