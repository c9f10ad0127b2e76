"""The conditions of a request for lives: failure modes, states, lengths, rows late in life."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gan_lab.errors import BadParameter
from gan_lab.schema import GenerateConfig
from gan_lab.synth.lives.life_table import LEFT, ROWS, Lives
from gan_lab.synth.lives.packed import Floats, Packed
from gan_lab.workspace.tables import LATE_LIFE

if TYPE_CHECKING:
    from gan_lab.synth.lives.model import LivesModel


class Conditions:
    """What a request wants, checked against a model: `combo_shares` of the combinations of
    conditions, `life_rows` (smallest, largest) or None, `state_shares` of the states or None,
    `late_life`, the share of rows in the last fifth of their life, or None.

    Raises `BadParameter` for what the model cannot draw.
    """

    def __init__(self, model: LivesModel, config: GenerateConfig) -> None:
        for name in config.conditions or {}:
            raise BadParameter(
                f"{name} was asked of a model of lives, which can choose failure_modes, states, "
                "life_rows and late_life: conditions on columns are for plain tables."
            )
        self.table, self.late_life = model.table, config.late_life
        self.life_rows = config.life_rows
        if self.late_life is not None:
            self._check_late_life()
        if self.life_rows is not None:
            self._check_life_rows(*self.life_rows)
        self.combo_shares = self._combo_shares(model, config.failure_modes)
        self.state_shares = _state_shares(model, config.states)

    @property
    def mean_rows(self) -> float:
        """The mean number of rows of a life, roughly."""
        rows = np.array(self.table.covariates[ROWS].values)
        if self.life_rows is not None:
            rows = np.clip(rows, *self.life_rows)
        return float(max(rows.mean(), 1.0))

    def met(self, covariates: dict[str, Floats]) -> NDArray[np.bool_]:
        """Return which lives have as many rows as wanted, and end late enough where that is."""
        rows, left = covariates[ROWS], covariates[LEFT]
        least, most = self.life_rows or (1, np.inf)
        found = (rows >= least) & (rows <= most)
        if self.late_life is not None:
            found &= left <= LATE_LIFE / 2 * (rows + left)
        return np.asarray(found)

    def enforced(self, covariates: dict[str, Floats]) -> dict[str, Floats]:
        """Return the covariates with lives made as wanted that chance did not bring about."""
        if self.life_rows is not None:
            covariates[ROWS] = np.clip(covariates[ROWS], *self.life_rows)
        if self.late_life is not None:
            early = covariates[LEFT] > LATE_LIFE / 2 * (covariates[ROWS] + covariates[LEFT])
            covariates[LEFT] = np.where(
                early, self.table.covariates[LEFT].values[0], covariates[LEFT]
            )
        return covariates

    def kept_rows(
        self, lives: Lives, packed: Packed, rng: np.random.Generator
    ) -> NDArray[np.bool_] | slice:
        """Return the rows to keep so that `late_life` of them lie in the last fifth of their lives.

        A life watched from its middle on has more of its rows late; where fewer are wanted than
        there are, its record ends early. Parts of rows are kept by chance, so that the share is met
        in lives of few rows too.
        """
        share = self.late_life
        if share is None:
            return slice(None)
        whole = (lives.elapsed + lives.remaining)[packed.starts[:-1]]
        late = lives.remaining <= LATE_LIFE * whole[packed.life]
        lates = np.bincount(packed.life, late, minlength=len(lives.rows))
        earlies = lives.rows - lates
        chance = rng.random((2, len(lives.rows)))
        keep_early = np.minimum(earlies, np.floor(lates * (1 - share) / share + chance[0]))
        keep_early = np.where(lates > 0, keep_early, earlies)
        fewer = np.minimum(lates, np.floor(keep_early * share / (1 - share) + chance[1]))
        keep_late = np.where((keep_early < earlies) | (earlies == 0), lates, fewer)
        first, last = earlies - keep_early, earlies + keep_late
        return np.asarray((packed.age >= first[packed.life]) & (packed.age < last[packed.life]))

    def _combo_shares(self, model: LivesModel, failure_modes: dict[str, float] | None) -> Floats:
        """Return the share of each combination of conditions, as wanted or as in training."""
        shares = np.array(model.record.facts["combo_counts"], dtype=np.float64)
        if self.late_life is not None:
            shares[self.table.endless] = 0.0
        shares /= shares.sum()
        if failure_modes is None:
            return shares
        names = model.failure_mode_names
        if not names:
            raise BadParameter(
                "failure_modes cannot be chosen: the training table has no column of failure modes "
                "that is constant within each life. Name one by `gan-lab import --failure-mode`."
            )
        mode = np.array(model.failure_mode_of_combo)
        natural = np.bincount(mode, shares, minlength=len(names)).astype(np.float64)
        for number, share in enumerate(_complete(failure_modes, names, natural, "failure mode")):
            mine = mode == number
            shares[mine] *= share / max(shares[mine].sum(), 1e-300)
        return shares / shares.sum()

    def _check_late_life(self) -> None:
        if self.table.rul is None:
            raise BadParameter(
                "late_life cannot be chosen: the training table has no remaining useful life."
            )
        left, rows = self.table.covariates[LEFT].values[0], self.table.covariates[ROWS].values[-1]
        if self.table.endless.all() or left > LATE_LIFE / 2 * (rows + left):
            raise BadParameter("late_life cannot be chosen: no training life is seen to its end.")

    def _check_life_rows(self, least: int, most: int) -> None:
        seen = self.table.covariates[ROWS].values
        if least > most or most < seen[0] or least > seen[-1]:
            raise BadParameter(
                f"life_rows={(least, most)} cannot be had: the training lives have {seen[0]:.0f} "
                f"to {seen[-1]:.0f} rows. Ask for a range that meets theirs."
            )


def _state_shares(model: LivesModel, states: dict[str, float] | None) -> Floats | None:
    """Return the share of each regime, where states are wanted."""
    if states is None:
        return None
    names = model.state_of_regime
    if "regime" not in model.context.chains or not names:
        raise BadParameter(
            "states cannot be chosen: the training table has no column of states that vary."
        )
    counts = np.array(model.record.facts["regime_counts"], dtype=np.float64)
    return _complete(states, names, counts / counts.sum(), "state")


def _complete(
    wanted: dict[str, float], names: list[str | None], natural: Floats, what: str
) -> Floats:
    """Return a share for every name: the wanted ones, the rest in their natural proportions."""
    for name, share in wanted.items():
        if name not in names:
            known = ", ".join(sorted(name for name in names if name is not None))
            raise BadParameter(
                f"There is no {what} {name!r} in the training table. There are: {known}."
            )
        if share > 0 and not natural[names.index(name)]:
            raise BadParameter(
                f"{what} {name!r} and late_life cannot be chosen together: of no training life of "
                "it is the end known."
            )
    free = np.where([name in wanted for name in names], 0.0, natural)
    shares = np.array([wanted.get(name or "", 0.0) for name in names])
    if free.sum() > 0:
        return np.asarray(shares + (1.0 - sum(wanted.values())) * free / free.sum())
    return np.asarray(shares / shares.sum())
