"""Operating regimes: which columns make them, and the levels that such columns take.

Regimes are the `state` column, else columns of few levels (settings) that predict lives left out
of the fit (`evidence`).
"""

from __future__ import annotations

import numpy as np

from gan_lab.errors import BadParameter, BadTable
from gan_lab.synth.lives.evidence import folds_of, level_gain, without_wear
from gan_lab.synth.lives.memory import sample_lives
from gan_lab.synth.lives.packed import Floats, Ints, Packed

MAX_LEVELS = 12
MAX_REGIMES = 30
MIN_LEVEL_SHARE = 0.002  # of the rows
MAX_LEVEL_WIDTH = 0.03  # of a column's range
MIN_GAIN = 0.05  # of the variance of the other columns, for one more column


def choose_regimes(
    wanted: str,
    state: str | None,
    levels: dict[str, Ints],
    flagged: list[str],
    numbers: dict[str, Floats],
    packed: Packed,
) -> tuple[list[str], Ints]:
    """Return the columns that make the regimes and the regime of each row; what is `flagged` tells
    an end and is no setting, unless it is named."""
    if wanted == "auto" and state is not None:
        wanted = state if state in levels else "none"
    if wanted == "none":
        return [], np.zeros(len(packed.life), dtype=np.int64)
    if wanted == "auto":
        free = {name: code for name, code in levels.items() if name not in flagged}
        return find_regimes(free, numbers, packed)
    names = [wanted] if wanted in levels else [name.strip() for name in wanted.split(",")]
    for name in names:
        if name not in levels:
            raise BadParameter(
                f"Column {name!r} cannot make the regimes: it does not gather in 2 to 12 levels. "
                f"Columns that do: {', '.join(levels) or 'none'}."
            )
    joint = np.unique(np.stack([levels[name] for name in names], 1), axis=0, return_inverse=True)
    if len(joint[0]) > MAX_REGIMES:
        raise BadTable(
            f"{' and '.join(names)} make {len(joint[0])} regimes; at most {MAX_REGIMES} can be "
            "modelled. Name other columns with regimes=, or none."
        )
    return names, joint[1].reshape(-1).astype(np.int64)


def find_regimes(
    levels: dict[str, Ints], numbers: dict[str, Floats], packed: Packed
) -> tuple[list[str], Ints]:
    """Return the columns that make the regimes, and the regime of each row.

    A regime column has few `levels` (rows,), which are independent of the quarter of the life and
    explain the other columns of `numbers` (rows,) in lives left out of the fit, wear apart; a
    further one must explain more than those before.
    """
    chosen: list[str] = []
    regime = np.zeros(len(packed.life), dtype=np.int64)
    if not (levels and numbers):
        return chosen, regime
    some = sample_lives(packed, np.zeros(len(packed.life), dtype=bool))
    fitted = Packed(np.unique(packed.life[some], return_counts=True)[1])
    fold, left = folds_of(fitted), without_wear(np.stack(list(numbers.values()), 1)[some], fitted)
    quarter = packed.age * 4 // packed.rows[packed.life]
    free = {name: code for name, code in levels.items() if _independent_of_wear(code, quarter)}
    explained = 0.0
    while free:
        gains = {}
        for name, code in free.items():
            others = [column not in (*chosen, name) for column in numbers]
            gains[name] = level_gain(_joint(regime, code)[some], left[:, others], fold)
        best = max(gains, key=lambda name: gains[name])
        joint = _joint(regime, free.pop(best))
        if gains[best] < explained + MIN_GAIN or joint.max() >= MAX_REGIMES:
            break
        chosen, regime, explained = [*chosen, best], joint, gains[best]
    return chosen, regime


def levels_of(values: Floats) -> Ints | None:
    """Return the level of each number where they gather in 2 to 12 tight groups, else None."""
    known = values[np.isfinite(values)]
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) < 2 or len(known) < len(values):
        return None
    group, share = np.arange(len(distinct)), counts / len(known)
    if len(distinct) > MAX_LEVELS:
        width = MAX_LEVEL_WIDTH * np.ptp(distinct)
        cuts = np.flatnonzero(np.diff(distinct) > width)
        group = np.searchsorted(cuts, np.arange(len(distinct)))
        share = np.bincount(group, counts) / len(known)
        widths = [np.ptp(distinct[group == g]) for g in range(group.max() + 1)]
        if not 1 <= len(cuts) < MAX_LEVELS or max(widths) > width:
            return None
    if share.min() < MIN_LEVEL_SHARE:
        return None
    return np.asarray(group[np.searchsorted(distinct, values)], dtype=np.int64)


def _joint(a: Ints, b: Ints) -> Ints:
    return np.unique(np.stack([a, b], axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def _independent_of_wear(code: Ints, quarter: Ints) -> bool:
    """Return whether Cramer's V of a level and the quarter of the life is no larger than chance
    makes it, given how often the level changes."""
    runs = 1 + int((code[1:] != code[:-1]).sum())
    levels = int(code.max())
    by_chance = np.sqrt(3 * levels / (runs * max(min(levels, 3), 1)))
    table = np.zeros((levels + 1, quarter.max() + 1))
    np.add.at(table, (code, quarter), 1.0)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    chi2 = ((table - expected) ** 2 / np.maximum(expected, 1e-12)).sum()
    cramer = np.sqrt(chi2 / table.sum() / max(min(table.shape) - 1, 1))
    return bool(cramer < 0.1 + 1.5 * by_chance)
