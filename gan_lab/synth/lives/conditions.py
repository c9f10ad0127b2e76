"""The conditions of a request for lives: shares of failure modes and of operating states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gan_lab.errors import BadParameter
from gan_lab.schema import GenerateConfig
from gan_lab.synth.lives.packed import Floats

if TYPE_CHECKING:
    from gan_lab.synth.lives.model import LivesModel


def combo_shares(model: LivesModel, config: GenerateConfig) -> Floats:
    """Return the share of each combination of conditions, as wanted or as in training.

    Raises `BadParameter` for what the model cannot draw.
    """
    for name in config.conditions or {}:
        raise BadParameter(
            f"{name} was asked of a model of lives, which can choose failure_modes and states: "
            "conditions on columns are for plain tables."
        )
    shares = np.array(model.record.facts["combo_counts"], dtype=np.float64)
    shares /= shares.sum()
    if config.failure_modes is None:
        return shares
    names = model.failure_mode_names
    if not names:
        raise BadParameter(
            "failure_modes cannot be chosen: the training table has no column of failure modes "
            "that is constant within each life. Name one by `gan-lab import --failure-mode`."
        )
    mode = np.array(model.failure_mode_of_combo)
    natural = np.bincount(mode, shares, minlength=len(names)).astype(np.float64)
    for number, share in enumerate(_complete(config.failure_modes, names, natural, "failure mode")):
        mine = mode == number
        shares[mine] *= share / max(shares[mine].sum(), 1e-300)
    return shares / shares.sum()


def state_shares(model: LivesModel, config: GenerateConfig) -> Floats | None:
    """Return the share of each regime, where states are wanted; raises `BadParameter` likewise."""
    if config.states is None:
        return None
    names = model.state_of_regime
    if "regime" not in model.context.chains or not names:
        raise BadParameter(
            "states cannot be chosen: the training table has no column of states that vary."
        )
    counts = np.array(model.record.facts["regime_counts"], dtype=np.float64)
    return _complete(config.states, names, counts / counts.sum(), "state")


def _complete(
    wanted: dict[str, float], names: list[str | None], natural: Floats, what: str
) -> Floats:
    """Return a share for every name: the wanted ones, the rest in their natural proportions."""
    for name in wanted:
        if name not in names:
            known = ", ".join(sorted(name for name in names if name is not None))
            raise BadParameter(
                f"There is no {what} {name!r} in the training table. There are: {known}."
            )
    free = np.where([name in wanted for name in names], 0.0, natural)
    shares = np.array([wanted.get(name or "", 0.0) for name in names])
    if free.sum() > 0:
        return np.asarray(shares + (1.0 - sum(wanted.values())) * free / free.sum())
    return np.asarray(shares / shares.sum())
