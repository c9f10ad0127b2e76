"""What a row's life, age, regime and hour are: the features of every network, and the Markov chains
that draw regimes, steps of time and patterns of missing values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.synth.lives.columns import STEP_BINS, TimeColumn, ranks
from gan_lab.synth.lives.degradation_curve import wear_features
from gan_lab.synth.lives.life_table import START, LifeTable, Lives
from gan_lab.synth.lives.markov_chain import MarkovChain
from gan_lab.synth.lives.packed import Floats, Ints, Packed

MAX_PATTERNS = 30
LAGS = (0.5, 0.8, 0.95, 0.98)  # decays of averages of past regimes, over 2 to 50 rows
# Day, week and year: one that was not seen twice is no season but the trend of these lives, and
# units of another month would be read wrongly by it.
PERIODS_S = (86_400.0, 7 * 86_400.0, 365.25 * 86_400.0)
DAY_TYPE_HOURS = 48  # of a working day and of a weekend day


@dataclass
class RowContext:
    """How features are made; `chains` are those that the table needs.

    `span` is the typical life in mean steps, `periods` how many of day, week and year play a part,
    `patterns` the combinations of missing columns that occur, one set for each of their chains.
    """

    span: float
    periods: int
    patterns: list[list[list[int]]]
    chains: dict[str, MarkovChain] = field(default_factory=dict)

    @classmethod
    def fit(cls, table: LifeTable, lives: Lives, packed: Packed) -> RowContext:
        """Count the chains of a table."""
        ends = packed.starts[1:] - 1
        span = float(max(np.median(lives.elapsed[ends]), 1.0))
        time = table.time
        self = cls(span, 0, [])
        if time.is_time:
            seconds = self.seconds(lives, packed)
            seen = min(np.ptp(seconds), float(lives.steps.sum()))
            self.periods = sum(bool(seen >= 2 * period) for period in PERIODS_S)
        if table.regimes > 1:
            hours = self.hours(table, lives, packed)
            contexts = DAY_TYPE_HOURS if self.periods else 1
            self.chains["regime"] = MarkovChain.fit(
                lives.regime, hours, packed, table.regimes, contexts
            )
        none = np.zeros(len(lives.regime), dtype=np.int64)
        if len(time.steps) > 1:
            symbols, count = _step_symbols(time, lives.steps, packed)
            self.chains["step"] = MarkovChain.fit(symbols, none, packed, count, 1)
        if lives.missing.any():
            context = lives.regime if table.regimes <= 10 else none
            for number, (patterns, symbols) in enumerate(_patterns(lives.missing)):
                self.patterns.append(patterns.astype(int).tolist())
                self.chains[f"missing{number}"] = MarkovChain.fit(
                    symbols, context, packed, len(patterns), int(context.max()) + 1
                )
        return self

    def hours(self, table: LifeTable, lives: Lives, packed: Packed) -> Ints:
        """Return the hour of each row, those of a weekend from 24 on; 0 where the time of day plays
        no part."""
        if not self.periods:
            return np.zeros(len(packed.life), dtype=np.int64)
        times = table.time.write(self.seconds(lives, packed)).dt
        weekend = (times.dayofweek >= 5).to_numpy(np.int64)
        return np.asarray(times.hour.to_numpy(np.int64) + 24 * weekend)

    def seconds(self, lives: Lives, packed: Packed) -> Floats:
        """Return the time of each row in the unit of the column of time."""
        total = np.cumsum(lives.steps)
        passed = total - total[packed.starts[packed.life]]
        return np.asarray(lives.covariates[START][packed.life] + passed)

    def features(self, table: LifeTable, lives: Lives, packed: Packed) -> NDArray[np.float32]:
        """Return what is known of each row before it is drawn, (rows, features)."""
        wear = wear_features(lives.elapsed, lives.remaining, self.span, table.cap)
        parts: list[NDArray[Any]] = [wear]
        if table.regimes > 1:
            now = np.eye(table.regimes)[lives.regime]
            parts += [now, packed.averages(now, LAGS)]
        if self.periods:
            waves = _calendar_waves(table.time.write(self.seconds(lives, packed)))
            parts.append(waves[:, : 2 * self.periods])
        parts.append(self.conditions(table, lives.combo)[packed.life])
        for column in table.life_columns:
            values = table.covariates[column.name].values
            scaled = (lives.covariates[column.name] - np.mean(values)) / (np.std(values) + 1e-9)
            parts.append(scaled[packed.life, None])
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def conditions(self, table: LifeTable, combo: Ints) -> NDArray[np.float32]:
        """Return the conditions of each life that are features, one-hot, (lives, n)."""
        tuples = np.array(table.combinations).reshape(len(table.combinations), -1)[combo]
        parts = [np.eye(table.conditions.widths[group])[tuples[:, group]] for group in table.inputs]
        return np.concatenate([np.zeros((len(combo), 0)), *parts], axis=1, dtype=np.float32)


def _calendar_waves(times: pd.Series[Any]) -> Floats:
    """Return sines and cosines of day, week and year, (rows, 6)."""
    hours = times.dt.hour + times.dt.minute / 60 + times.dt.second / 3600
    day = hours.to_numpy(np.float64) / 24
    week = (times.dt.dayofweek.to_numpy(np.float64) + day) / 7
    year = times.dt.dayofyear.to_numpy(np.float64) / 365.25
    waves = [wave(2 * np.pi * phase) for phase in (day, week, year) for wave in (np.sin, np.cos)]
    return np.stack(waves, axis=1)


def _step_symbols(time: TimeColumn, steps: Floats, packed: Packed) -> tuple[Ints, int]:
    """Return which of its levels each step is, or in which sixteenth of all steps where they vary
    freely, and how many there are; a life's first row counts as its second."""
    levels, first = np.array(time.steps), packed.age == 0
    taken, lone = steps.copy(), first & first[np.r_[1 : len(first), 0]]
    taken[first] = np.where(lone, levels[0], np.r_[taken[1:], levels[0]])[first]
    if time.varying:
        return (ranks(taken) * STEP_BINS).astype(np.int64), STEP_BINS
    return np.abs(taken[:, None] - levels).argmin(axis=1), len(levels)


def _patterns(missing: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], Ints]]:
    """Return sets of patterns of missing columns with the one each row has.

    One set where few combinations occur; else one per column, those missing always together as one.
    """
    patterns, symbols = np.unique(missing, axis=0, return_inverse=True)
    if len(patterns) <= MAX_PATTERNS:
        return [(patterns, symbols.reshape(-1))]
    masks, column = np.unique(missing, axis=1, return_inverse=True)
    return [
        (
            np.stack([np.zeros_like(column == m, dtype=bool), column.reshape(-1) == m]),
            mask.astype(np.int64),
        )
        for m, mask in enumerate(masks.T)
        if mask.any()
    ]
