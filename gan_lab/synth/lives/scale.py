"""Step scale: a map of one column to a scale on which its noise is the same at every level.

A sensor that reads ten times as much often scatters ten times as much: a worn bearing's vibration,
a gas in oil. On such a scale the degradation curve is as exact for the healthy machine as for the
failing one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

from gan_lab.synth.lives.packed import Floats, Ints, Packed

MIN_RATIO = 3.0  # of the noise at one level to that at another, to be worth a scale
LEVELS, LEVEL_ROWS = 25, 40  # how many levels noise is measured at, each from so many rows
MIN_NOISE, MAX_NOISE = 0.01, 100.0  # at a level, of a column's mean noise
KNOTS = 100
FOURTH_DIFFERENCE = (1, -4, 6, -4, 1)  # of neighbours: whatever is smooth is gone from it
REACH = 3  # rows to either side of a row that its noise and level are read from


@dataclass
class Scale:
    """A rising, piecewise linear map from `readings` to `scaled` values; without knots, the
    identity."""

    readings: list[float] = field(default_factory=list)
    scaled: list[float] = field(default_factory=list)

    @classmethod
    def fit(cls, values: Floats, regime: Ints, packed: Packed) -> Scale:
        """Stabilise the variance of a column (AVAS, Tibshirani 1988): the slope at a level is one
        over the noise there, measured by fourth differences of neighbours in one regime."""
        level, noise = _noise_by_level(values, regime, packed)
        if not len(level) or np.ptp(np.log(noise)) < np.log(MIN_RATIO):
            return cls()
        known = values[np.isfinite(values)]
        even = np.linspace(known.min(), known.max(), KNOTS)
        readings = np.unique(np.r_[even, np.quantile(known, np.linspace(0, 1, KNOTS))])
        slope = np.exp(-np.interp(readings, level, np.log(noise)))
        scaled = np.r_[0.0, np.cumsum(np.diff(readings) * (slope[1:] + slope[:-1]) / 2)]
        return cls(readings.tolist(), scaled.tolist())

    def transform(self, readings: Floats) -> Floats:
        """Return readings on the scale; NaN stays."""
        return np.interp(readings, self.readings, self.scaled) if self.readings else readings

    def inverse_transform(self, scaled: Floats) -> Floats:
        """Return the readings of scaled values, within the range of the training rows."""
        return np.interp(scaled, self.scaled, self.readings) if self.readings else scaled


def _noise_by_level(values: Floats, regime: Ints, packed: Packed) -> tuple[Floats, Floats]:
    """Return levels, rising, and the mean noise at each; none where there are too few rows."""
    key = packed.life * (int(regime.max()) + 1) + regime
    known = np.isfinite(values)
    by_regime = [values[known & (regime == number)] for number in range(int(regime.max()) + 1)]
    constant = [not len(some) or np.ptp(some) == 0 for some in by_regime]
    values = np.where(np.array(constant)[regime], np.nan, values)
    for order in (np.arange(len(values)), np.lexsort((packed.age, key))):
        same = np.cumsum(np.r_[True, np.diff(key[order]) != 0])
        middle = np.arange(REACH, len(order) - REACH)
        middle = middle[same[middle - REACH] == same[middle + REACH]]
        if len(middle) > 20 * LEVEL_ROWS:  # else rows of one regime lie apart: follow the regime
            break
    rows = values[order]
    change = np.abs(sum(f * rows[middle + k - 2] for k, f in enumerate(FOURTH_DIFFERENCE)))
    level = (rows[middle - REACH] + rows[middle + REACH]) / 2
    moving = np.isfinite(change + level) & (change != 0)  # a sensor at rest shows no noise
    level, change = level[moving], change[moving]
    order = np.argsort(level, kind="stable")
    level, change = level[order], change[order]
    if len(level) < 10 * LEVEL_ROWS:
        return level[:0], level[:0]
    reach = np.log(len(level) / LEVEL_ROWS)  # finer bins at the ends, where wear shows
    shares = expit(np.linspace(-reach, reach, LEVELS))
    starts = np.unique(np.r_[0, (shares * len(level)).astype(int)])
    rows_each = np.diff(np.r_[starts, len(level)])
    levels, first = np.unique(np.add.reduceat(level, starts) / rows_each, return_index=True)
    noise = np.add.reduceat(change, starts) / rows_each / change.mean()
    log = np.log(np.clip(noise, MIN_NOISE, MAX_NOISE))
    smooth = np.convolve(np.pad(log, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    return levels, np.exp(smooth[first])
