"""Small tables of lives, a small network, and short words to fit and draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.lives.prognosis import left_out
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.network.training import OnCheckpoint, OnEpoch

ROLES = Roles(life="unit", time="t", rul="rul")
MACHINE_ROLES = Roles(
    life="machine", time="time", rul="rul", state="state", failure_mode="failure_mode"
)
SMALL = TrainConfig(
    epochs=6, embedding_dim=8, compress_dims=(32,), decompress_dims=(32,), batch_size=200
)


def fit(
    table: pd.DataFrame,
    roles: Roles = ROLES,
    config: TrainConfig = SMALL,
    on_epoch: OnEpoch | None = None,
    resume: bytes | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    **changed: object,
) -> SequentialTVAE:
    """Fit a model, by default a small one; `changed` are fields of its configuration.

    Its prognosis, which takes most of such a fit, is learned in an epoch and judged by one life:
    nothing that is drawn asks for it.
    """
    config = config.model_copy(update=changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(left_out, "MAX_JUDGED", 1)
        patch.setattr(left_out, "STEPS", 1)
        patch.setattr(left_out, "MORE_STEPS", 1)
        return SequentialTVAE.fit(table, roles, config, on_epoch, resume, on_checkpoint)


def draw(model: SequentialTVAE, **request: Any) -> pd.DataFrame:
    """Return all rows of a request in one table."""
    return pd.concat(model.sample(**request))


def of_each(table: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Return one value for each life, in all of its rows."""
    return values[table["unit"].to_numpy()]


def simple_lives(lives: int = 24, rows: int = 40) -> pd.DataFrame:
    """Lives of one length whose heat rises towards the end."""
    unit, t = np.repeat(np.arange(lives), rows), np.tile(np.arange(rows), lives)
    heat = np.random.default_rng(0).normal(size=len(t)) + np.exp(-(rows - 1 - t) / 8)
    return pd.DataFrame({"unit": unit, "t": t, "rul": rows - 1 - t, "heat": heat})


def wearing_machines(lives: int = 24, seed: int = 0) -> pd.DataFrame:
    """Lives with all that a real table has: gaps, categories, counters, states, two failure
    modes."""
    rng = np.random.default_rng(seed)
    parts = []
    for life in range(lives):
        rows = int(rng.integers(30, 60))
        age = np.arange(rows)
        left = rows - 1 - age
        state = np.repeat(rng.integers(0, 3, rows // 5 + 1), 5)[:rows]
        mode = "bearing" if life % 4 == 0 else "winding"
        wear = np.exp(-left / 8) * (3 if mode == "bearing" else 1)
        heat = 40 + 10 * state + 20 * wear + rng.normal(0, 1, rows) + rng.normal()
        gap = np.convolve(rng.random(rows) < 0.02, np.ones(4), "same") > 0
        parts.append(
            pd.DataFrame(
                {
                    "machine": life + 100,
                    "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(age + 60 * life, "h"),
                    "state": np.array(["idle", "half", "full"])[state],
                    "heat": np.where(gap, np.nan, heat.round(1)),
                    "speed": np.array([0, 700, 1500])[state],
                    "starts": 5 + np.cumsum(rng.random(rows) < 0.3),
                    "alarm": wear + rng.normal(0, 0.1, rows) > 0.5,
                    "load": (100 * rng.random(rows)).round().astype(int),
                    "firmware": "v2",
                    "site": np.array(["north", "south"])[life % 2],
                    "failure_mode": mode,
                    "rul": left,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def two_kinds(lives: int = 40, rows: int = 60) -> pd.DataFrame:
    """Lives of two failure modes that are far apart, each a bit different from the next."""
    rng, life = np.random.default_rng(0), np.arange(lives).repeat(rows)
    table = pd.DataFrame({"unit": life, "t": np.tile(np.arange(rows), lives)})
    table["rul"] = rows - 1 - table["t"]
    table["mode"] = np.array(["a", "b"])[life % 2]
    own = rng.normal(size=lives)[life] + 6.0 * (life % 2)
    table["heat"] = own + 0.3 * rng.normal(size=len(life))
    table["wear"] = np.exp(-table["rul"] / 10) * (1 + (life % 2)) + 0.1 * rng.normal(size=len(life))
    return table
