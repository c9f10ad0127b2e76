"""Machines whose end is known: sensors that rise as it comes near, each life at its own pace."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.lives.sequential import SequentialTVAE

ROLES = Roles(life="unit", time="hour", rul="rul")
CONFIG = TrainConfig(epochs=40, batch_size=100, embedding_dim=4, compress_dims=(16,),
                     decompress_dims=(16,), regimes="none", drivers="none")  # fmt: skip


def lives(count: int, seed: int, first: int = 1) -> pd.DataFrame:
    """Return lives of 40 to 90 hours: two sensors that wear, one that does not."""
    rng, parts = np.random.default_rng(seed), []
    for unit in range(first, first + count):
        length = int(rng.integers(40, 91))
        left = np.arange(length)[::-1]
        wear = np.exp(-left / 12)
        pace = rng.normal(1, 0.15)
        parts.append(
            pd.DataFrame(
                {
                    "unit": unit,
                    "hour": np.arange(1, length + 1),
                    "vibration": 2 + 3 * pace * wear + rng.normal(0, 0.12, length),
                    "heat": 60 + 8 * wear - 0.03 * left + rng.normal(0, 0.5, length),
                    "room": rng.normal(20, 1, length),
                    "rul": left,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def cut(table: pd.DataFrame, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Return lives cut at a random age, as they run, and what remained of each."""
    rng = np.random.default_rng(seed)
    share = dict(zip(table["unit"].unique(), rng.uniform(0.4, 0.97, table["unit"].nunique()),
                     strict=True))  # fmt: skip
    length = table.groupby("unit")["hour"].transform("max")
    running = table[table["hour"] <= table["unit"].map(share) * length]
    return running.drop(columns="rul"), running.groupby("unit")["rul"].last()


@pytest.fixture(scope="session")
def model() -> SequentialTVAE:
    """A model of sixteen lives."""
    return SequentialTVAE.fit(lives(16, seed=1), ROLES, CONFIG)
