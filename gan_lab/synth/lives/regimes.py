"""Operating regimes: which columns make them, and the levels that such columns take.

Regimes are the `state` column, else the columns of few levels that do not depend on wear
(settings).
"""

from __future__ import annotations

import numpy as np

from gan_lab.errors import BadParameter, BadTable
from gan_lab.synth.lives.packed import Floats, Ints

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
    numbers: Floats,
    progress: Floats,
) -> tuple[list[str], Ints]:
    """Return the columns that make the regimes and the regime of each row; what is `flagged` tells
    an end and is no setting, unless it is named."""
    if wanted == "auto" and state is not None:
        wanted = state if state in levels else "none"
    if wanted == "none":
        return [], np.zeros(len(progress), dtype=np.int64)
    if wanted == "auto":
        free = {name: code for name, code in levels.items() if name not in flagged}
        return find_regimes(free, numbers, progress)
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
    levels: dict[str, Ints], numbers: Floats, progress: Floats
) -> tuple[list[str], Ints]:
    """Return the columns that make the regimes, and the regime of each row.

    A regime column has few `levels`, does not depend on wear (it is independent of the quarter of
    the life: `progress` is within [0, 1)), and explains the `numbers` (rows, columns); a further
    one must explain more than those before.
    """
    quarter = np.minimum((progress * 4).astype(np.int64), 3)
    free = {name: code for name, code in levels.items() if _independent_of_wear(code, quarter)}
    chosen: list[str] = []
    regime = np.zeros(len(progress), dtype=np.int64)
    explained = 0.0
    while free:
        gains = {name: _eta_squared(_joint(regime, code), numbers) for name, code in free.items()}
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


def _eta_squared(code: Ints, numbers: Floats) -> float:
    """Return the share of variance that a code explains, on average over columns of numbers."""
    if not numbers.shape[1]:
        return 0.0
    filled = np.where(np.isnan(numbers), np.nanmean(numbers, axis=0), numbers)
    count = np.bincount(code)[:, None]
    sums = np.stack([np.bincount(code, column) for column in filled.T], axis=1)
    between = (count * (sums / np.maximum(count, 1) - filled.mean(0)) ** 2).sum(0)
    total = ((filled - filled.mean(0)) ** 2).sum(0)
    return float(np.mean(between / np.maximum(total, 1e-300)))
