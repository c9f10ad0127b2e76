"""How a machine is used: its operating state at each row, and the drivers of its sensors."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.simulator.lives import (
    FIRST_START,
    Floats,
    Ints,
    Rows,
    apportion,
    recur,
)
from gan_lab.workspace.profiles import Profile

DEMAND_MEMORY_S = 4 * 3600
WORKING_LOAD = 0.25  # of rated; a state that never goes above it is rest, in which nothing fails


def operate(
    profile: Profile, rows: Rows, rng: np.random.Generator
) -> tuple[Ints, dict[str, Floats]]:
    """Return each row's operating state and what drives the sensors: load, losses, speed, ambient.

    The demand on the machine has a daily and a weekly pattern and a memory of hours (a first-order
    autoregression); ranked over the table and cut at the cumulated shares, it gives states that
    hold their shares exactly. A machine fails at work: the last row of a life is under load.
    """
    states = profile.states
    whole = sum(state.share for state in states.values())
    shares = np.array([state.share / whole for state in states.values()])
    day = (rows.timestamp - FIRST_START) / np.timedelta64(1, "D")
    weekend = ((day + 3) % 7) >= 5  # 2015-01-01 was a Thursday
    memory = np.exp(-rows.step_s / DEMAND_MEMORY_S)
    noise = rng.standard_normal(len(day)) * np.sqrt(1 - memory**2)
    noise[rows.starts] /= np.sqrt(1 - memory**2)  # as spread as the rows after it
    daily, weekly = resolved(rows, 1), resolved(rows, 7)
    pattern = daily * np.cos(2 * np.pi * (day - 14 / 24)) - 0.8 * weekly * weekend
    demand = recur(noise, memory, rows) + pattern
    resting = float(shares[[state.load[1] < WORKING_LOAD for state in states.values()]].sum())
    at_work = rng.uniform(min(resting, 0.999), 1, len(rows.lengths))
    demand[rows.starts + rows.lengths - 1] = np.quantile(demand, at_work)
    rank = np.empty(len(day), dtype=np.int64)
    rank[np.argsort(demand, kind="stable")] = np.arange(len(day))
    edges = np.concatenate(([0], np.cumsum(apportion(len(day), shares))))
    state = np.searchsorted(edges, rank, side="right") - 1
    within = (rank - edges[state] + 0.5) / np.maximum(np.diff(edges)[state], 1)
    loads, speeds = (
        np.array([getattr(item, name) for item in states.values()]) for name in ("load", "speed")
    )
    load = loads[state, 0] + within * (loads[state, 1] - loads[state, 0])
    speed = speeds[state, 0] + within * (speeds[state, 1] - speeds[state, 0])
    ambient = _ambient(profile.ambient, day, daily, rng)
    return state, {"load": load, "losses": load**2, "speed": speed, "ambient": ambient}


def resolved(rows: Rows, period_days: float) -> float:
    """Return how much of a periodic pattern shows at the interval of the rows: 1 all, 0 none.

    What a mean over each interval leaves of a sine, sin(x) / x with x = pi interval / period, and
    nothing beyond the period: rows at one hour of every fifth day would always meet the machine in
    the same state.
    """
    return float(np.sinc(min(rows.step_s / 86_400 / period_days, 1.0)))


def _ambient(
    climate: tuple[float, float], day: Floats, daily: float, rng: np.random.Generator
) -> Floats:
    """The mean, and the amplitude shared between year (coldest mid-January), day and weather."""
    mean, amplitude = climate
    year = -np.cos(2 * np.pi * (day - 15) / 365.25)
    hour = np.cos(2 * np.pi * (day - 15 / 24))
    weather: Floats = 0.2 * rng.standard_normal(len(day))
    return mean + amplitude * (0.6 * year + 0.3 * daily * hour + weather)
