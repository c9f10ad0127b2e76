"""What a model says of the remaining life of lives that it has never seen, for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gan_lab.synth.report.prognosis import Fan, HeldOutPrognosis

if TYPE_CHECKING:
    import pandas as pd

    from gan_lab.synth.lives.sequential import SequentialTVAE

MAX_JUDGED, JUDGED_AGES, SHOWN_FANS = 20, 16, 6  # held-out lives, ages of each, lives drawn


def judge_held_out(model: SequentialTVAE, holdout: pd.DataFrame) -> HeldOutPrognosis | None:
    """Ask a model about lives that it has never seen, at several ages of each; None where the end
    of none is known."""
    life, rul, time = (getattr(model.table.roles, name) for name in ("life", "rul", "time"))
    if life is None or rul is None:
        return None
    holdout = holdout.sort_values(time, kind="stable") if time else holdout
    ends = holdout.groupby(life)[rul].last().dropna().head(MAX_JUDGED)
    if ends.empty:
        return None
    answer = model.prognose(holdout[holdout[life].isin(ends.index)])
    errors, held, late, fans = [], [], [], []
    for unit, age, left in zip(answer.units, answer.ages, ends.loc[answer.units], strict=True):
        ages = np.linspace(0, age, JUDGED_AGES + 2)[1:-1]
        history = answer.source.history(answer.units.get_loc(unit), ages)
        truth, interval = age + left - history.ages, history.interval(0.9).to_numpy()
        errors.append(np.abs(history.median.to_numpy() - truth))
        held.append((interval[:, 0] <= truth) & (truth <= interval[:, 1]))
        late.append(history.ages > 2 / 3 * (age + left))
        low, high = interval.T.tolist()
        fans.append(
            Fan(
                life=f"{life} {unit}", age=history.ages.tolist(), low=low, high=high,
                median=history.median.tolist(), end=age + left,
            )
        )  # fmt: skip
    error, inside, last = map(np.concatenate, (errors, held, late))
    return HeldOutPrognosis(
        unit=answer.unit, lives=len(ends), error=error.mean(), held=inside.mean(),
        late_error=error[last].mean() if last.any() else None,
        late_held=inside[last].mean() if last.any() else None, fans=fans[:SHOWN_FANS],
    )  # fmt: skip
