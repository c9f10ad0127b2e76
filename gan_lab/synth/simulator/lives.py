"""Which lives there are: how each one fails, how long it lasts, and when its rows are taken."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma, sqrt

import numpy as np
from numpy.typing import NDArray

from gan_lab.errors import BadParameter
from gan_lab.schema import SeedConfig
from gan_lab.workspace.profiles import Life, Profile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIRST_START = np.datetime64("2015-01-01T00:00:00", "s")
START_SPREAD_H = 4 * 8766  # lives begin within four years
MIN_LIFE_ROWS = 5


@dataclass(frozen=True)
class Rows:
    """When each row was taken: lives lie one after another, each from its start to its failure.

    `starts`, `lengths` and `life_h` (hours from start to failure) have an entry for each life,
    `life`, `rul_h` and `timestamp` one for each row; rows of a life are `step_s` seconds apart.
    """

    life: Ints
    starts: Ints
    lengths: Ints
    rul_h: Floats
    life_h: Floats
    step_s: float
    timestamp: NDArray[np.datetime64]

    @property
    def progress(self) -> Floats:
        """The share of its life that has passed at each row, 1 at failure."""
        whole: Floats = self.life_h[self.life]
        left = np.divide(self.rul_h, whole, out=np.zeros_like(self.rul_h), where=whole > 0)
        passed: Floats = np.maximum(1 - left, 0.0)
        return passed


def plan_lives(
    profile: Profile, config: SeedConfig, rng: np.random.Generator
) -> tuple[Ints, Ints, float]:
    """Return each life's failure mode and number of rows, and the interval between rows (h)."""
    assert profile.life is not None and profile.interval_s is not None
    interval_h = profile.interval_s / 3600
    shares = choose_shares(
        {name: mode.share for name, mode in profile.failure_modes.items()},
        config.failure_modes,
    )
    usual = round(config.rows * interval_h / profile.life.mean_h)
    count = config.lives or max(1, min(4, config.rows // 25), usual)
    lives_of_mode = apportion(count, shares)
    modes = rng.permutation(np.repeat(np.arange(len(shares)), lives_of_mode))
    hours = draw_life_hours(profile.life, count, rng)
    total = config.rows
    if config.lives is not None:
        total = max(MIN_LIFE_ROWS * count, round(float(hours.sum()) / interval_h))
    rows_of_mode = apportion(total, np.where(lives_of_mode > 0, shares, 0))
    lengths = np.zeros(count, dtype=np.int64)
    for mode in np.unique(modes):
        lengths[modes == mode] = apportion(
            int(rows_of_mode[mode]), hours[modes == mode], MIN_LIFE_ROWS
        )
    stretch = max(1, round(float(hours.sum()) / (total * interval_h)))
    return modes, lengths, interval_h * stretch


def draw_life_hours(life: Life, count: int, rng: np.random.Generator) -> Floats:
    """Draw hours to failure, Weibull with the given shape, mean and spread.

    Three parameters (IEC 61649:2008): mean = location + scale G(1 + 1/k), spread = scale
    sqrt(G(1 + 2/k) - G(1 + 1/k)^2), G the gamma function; the location is the life nobody misses.
    """
    first, second = gamma(1 + 1 / life.shape), gamma(1 + 2 / life.shape)
    scale = life.spread_h / sqrt(second - first**2)
    location = max(0.0, life.mean_h - scale * first)
    return location + scale * rng.weibull(life.shape, count)


def lay_rows(lengths: Ints, interval_h: float, rng: np.random.Generator) -> Rows:
    """Place the rows in time, evenly; lives begin within four years."""
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    life = np.repeat(np.arange(len(lengths)), lengths)
    life_h: Floats = (lengths - 1) * np.float64(interval_h)
    to_end = lengths[life] - 1 - (np.arange(len(life)) - starts[life])
    rul_h: Floats = to_end * np.float64(interval_h)
    began_h = rng.integers(0, START_SPREAD_H, len(lengths))
    seconds = np.round((began_h[life] + life_h[life] - rul_h) * 3600).astype("timedelta64[s]")
    timestamp = (FIRST_START + seconds).astype("datetime64[us]")
    return Rows(life, starts, lengths, rul_h, life_h, 3600 * interval_h, timestamp)


def choose_shares(usual: dict[str, float], wanted: dict[str, float] | None) -> Floats:
    """Return the shares of failure modes: those wanted, the rest in the proportion of the usual."""
    wanted = wanted or {}
    for name in wanted:
        if name not in usual:
            raise BadParameter(f"There is no failure mode {name!r}. It has {', '.join(usual)}.")
    rest = sum(share for name, share in usual.items() if name not in wanted)
    left = 1 - sum(wanted.values())
    if left > 1e-9 and rest == 0:
        raise BadParameter(
            f"The shares of failure modes {wanted} add up to {1 - left:g} and name all there are: "
            "make it 1."
        )
    return np.array(
        [wanted.get(name, left * share / rest if rest else 0.0) for name, share in usual.items()]
    )


def apportion(total: int, weights: Floats, at_least: int = 0) -> Ints:
    """Divide a whole number in proportion to weights, by the largest remainders."""
    at_least = min(at_least, total // len(weights))
    rest = total - at_least * len(weights)
    exact = rest * weights / weights.sum()
    parts: Ints = np.floor(exact).astype(np.int64)
    missing = rest - int(parts.sum())
    parts[np.argsort(parts - exact, kind="stable")[:missing]] += 1
    parts += at_least
    return parts


def recur(source: Floats, memory: float, rows: Rows) -> Floats:
    """Return y with y_k = memory y_(k-1) + source_k within each life, all lives at a time."""
    value = source.copy()
    for step in range(1, int(rows.lengths.max())):
        here = (rows.starts + step)[rows.lengths > step]
        value[here] += memory * value[here - 1]
    return value
