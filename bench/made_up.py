"""Machines made up for the benchmark of lives: what wears, drifts and differs is known here.

Each maker returns so many lives and the roles of their columns. They are other than the machines
of the catalogue: six regimes of altitude, two failure modes, temperatures that lag states or a
drifting load by up to fifty rows, an hourly pump with shifts, seasons and drivers that vary within
a state, few columns, and more columns than lives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.schema import Roles

Made = tuple[pd.DataFrame, Roles]
CYCLES = Roles(life="unit", time="cycle", rul="rul")
CAP = 125  # cycles
STATES = np.array(["idle", "part", "full"])
SETTINGS = np.array(
    [[0, 0, 100], [10, 0.25, 100], [20, 0.7, 100], [25, 0.62, 60], [35, 0.84, 100], [42, 0.84, 100]]
)


def six_regimes(lives: int, modes: int = 1, sensors: int = 14) -> Made:
    """Turbofans at six altitudes: three settings, sensors, one value given by the regime, a
    count."""
    rng = np.random.default_rng(0)
    base = rng.normal(0, 1, (6, sensors)) * rng.uniform(2, 60, sensors)
    base += rng.uniform(100, 2000, sensors)
    noise = rng.uniform(0.3, 3, sensors)
    slope = rng.normal(0, 1, (modes, sensors)) * noise * 5
    mixing = rng.normal(0, 0.4, (sensors, sensors)) + np.eye(sensors)
    frames = []
    for unit in range(lives):
        rows = _length(rng)
        regime = rng.choice(6, rows, p=[0.15, 0.15, 0.15, 0.15, 0.15, 0.25])
        mode, left = int(rng.integers(modes)), np.arange(rows)[::-1]
        wear = np.exp(-left / rng.uniform(25, 60)) * rng.uniform(0.8, 1.2)
        wear = (wear + 0.1 * rng.uniform() * np.arange(rows) / rows)[:, None]
        grown = wear * slope[mode] * rng.normal(1, 0.1, sensors) * (1 + 0.1 * regime[:, None])
        found = base[regime] + grown + rng.normal(0, 0.5, sensors) * noise
        found += (rng.normal(0, 1, (rows, sensors)) @ mixing) * noise
        settings = SETTINGS[regime] + rng.normal(0, [0.002, 0.0004, 0], (rows, 3))
        columns: dict[str, object] = {"unit": unit, "cycle": np.arange(rows)}
        columns |= {f"setting_{n}": column.round(4) for n, column in enumerate(settings.T)}
        columns |= {f"s{n}": x.round(2 if n % 3 else 1) for n, x in enumerate(found.T)}
        columns["demand"] = np.array([2388, 2319, 2388, 1915, 2212, 2300])[regime]
        columns["count"] = (found[:, 0] / 3).round().astype(int)
        columns["rul"] = np.minimum(left, CAP)
        if modes > 1:
            columns["mode"] = f"mode {mode}"
        frames.append(pd.DataFrame(columns))
    roles = CYCLES.model_copy(update={"failure_mode": "mode"}) if modes > 1 else CYCLES
    return pd.concat(frames, ignore_index=True), roles


def two_modes(lives: int, sensors: int = 14) -> Made:
    """One regime, two failure modes, each with its own directions of wear."""
    rng = np.random.default_rng(7)
    noise = rng.uniform(0.3, 3, sensors)
    slope = rng.normal(0, 1, (2, sensors)) * noise * 5
    frames = []
    for unit in range(lives):
        rows = _length(rng)
        mode, left = int(rng.integers(2)), np.arange(rows)[::-1]
        wear = np.exp(-left / rng.uniform(25, 60))[:, None]
        found = rng.normal(0, 1, sensors) * 0.5 * noise + wear * slope[mode]
        found = found + rng.normal(0, 1, (rows, sensors)) * noise
        columns: dict[str, object] = {"unit": unit, "cycle": np.arange(rows)}
        columns |= {f"s{n}": x.round(2) for n, x in enumerate(found.T)}
        columns |= {"rul": np.minimum(left, CAP), "mode": f"mode {mode}"}
        frames.append(pd.DataFrame(columns))
    roles = CYCLES.model_copy(update={"failure_mode": "mode"})
    return pd.concat(frames, ignore_index=True), roles


def late_temperatures(lives: int, drifts: bool = False) -> Made:
    """Three states of load, or one that drifts; a winding that lags it, and its oil that lags the
    winding."""
    rng = np.random.default_rng(5)
    frames = []
    for unit in range(lives):
        rows = int(rng.uniform(120, 320))
        left = np.arange(rows)[::-1]
        chosen = rng.integers(0, 3, rows)
        changes = np.flatnonzero(rng.random(rows) < 0.1)
        state = chosen[np.r_[0, changes][np.searchsorted(changes, np.arange(rows), side="right")]]
        load = np.array([0.0, 0.6, 1.0])[state]
        if drifts:
            load = np.clip(0.7 + _drift(rng.normal(0, 0.08, rows), 0.95), 0.05, 1.3)
        wear = np.exp(-left / rng.uniform(30, 70))
        heat = (20 + 60 * load**2) * (1 + 0.15 * wear)
        winding = _drift(0.12 * heat, 0.88, first=20 + rng.normal(0, 3))
        oil = _drift(0.04 * winding, 0.96, first=20)
        columns = {
            "unit": unit,
            "cycle": np.arange(rows),
            "load" if drifts else "state": load.round(3) if drifts else STATES[state],
            "winding": (winding + rng.normal(0, 0.4, rows)).round(2),
            "oil": (oil + rng.normal(0, 0.3, rows)).round(2),
            "vibration": (1 + load + 2 * wear + rng.normal(0, 0.15, rows)).round(3),
            "current": (12 * load + rng.normal(0, 0.2, rows)).round(2),
            "rul": left,
        }
        frames.append(pd.DataFrame(columns))
    roles = CYCLES if drifts else CYCLES.model_copy(update={"state": "state"})
    return pd.concat(frames, ignore_index=True), roles


def hourly_pump(lives: int, fails: bool = True) -> Made:
    """Hourly readings: shifts and weekends, a load that drifts, a temperature that lags, seasons of
    the day."""
    rng = np.random.default_rng(1)
    growth = rng.normal(0, 1, 4)
    frames = []
    for unit in range(lives):
        rows = int(rng.uniform(200, 700))
        start = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=int(rng.integers(0, 4000)))
        time = start + pd.to_timedelta(np.arange(rows), "h")
        hour = time.hour.to_numpy()
        on = ((hour >= 6) & (hour < 22) & (time.dayofweek.to_numpy() < 5)).astype(float)
        load = on * np.clip(0.7 + 0.3 * _drift(rng.normal(0, 0.15, rows), 0.9), 0.2, 1.1)
        ambient = 15 + 8 * np.sin(2 * np.pi * (hour - 9) / 24)
        ambient = ambient + 0.3 * np.cumsum(rng.normal(0, 0.2, rows))
        temperature = _drift(0.25 * (ambient + 45 * load**2), 0.75, first=ambient[0])
        left = np.arange(rows)[::-1]
        wear = np.exp(-left / rng.uniform(40, 120)) * rng.uniform(0.7, 1.3)
        shaken = on * (1.2 + 0.8 * load + 3 * wear) * np.exp(rng.normal(0, 0.08, rows))
        columns: dict[str, object] = {
            "unit": unit,
            "time": time,
            "load": load.round(3),
            "ambient": ambient.round(1),
            "temperature": (temperature + 8 * wear + rng.normal(0, 0.3, rows)).round(1),
            "vibration": (shaken + 0.05 + 0.02 * rng.random(rows)).round(3),
            "running": on.astype(bool),
            "current": (12 * load + rng.normal(0, 0.1, rows) * on).round(2),
        }
        for number, grown in enumerate(growth):
            noise = _drift(0.3 * rng.normal(0, 1, rows), 0.95)
            columns[f"x{number}"] = (noise + 3 * grown * wear + rng.normal(0, 0.5)).round(3)
        if fails:
            columns["rul"] = left.astype(float)
        frames.append(pd.DataFrame(columns))
    roles = Roles(life="unit", time="time", rul="rul" if fails else None)
    return pd.concat(frames, ignore_index=True), roles


def wide(lives: int, sensors: int = 60) -> Made:
    """More columns than lives, driven by six hidden factors; each column of each life has a level
    of its own."""
    rng = np.random.default_rng(2)
    loading = rng.normal(0, 1, (6, sensors))
    slope = rng.normal(0, 1, sensors) * (rng.random(sensors) < 0.5) * 2
    frames = []
    for unit in range(lives):
        rows = int(rng.uniform(100, 350))
        factors = np.stack([_drift(rng.normal(0, 0.6, rows), 0.8) for _ in range(6)], axis=1)
        left = np.arange(rows)[::-1]
        wear = np.exp(-left / rng.uniform(30, 70))[:, None]
        found = factors @ loading + wear * slope * 3 + rng.normal(0, 0.7, sensors)
        found = found + rng.normal(0, 0.5, (rows, sensors))
        found[:, -6:] = np.exp(0.4 * found[:, -6:])
        columns: dict[str, object] = {"unit": unit, "cycle": np.arange(rows)}
        columns |= {f"v{n}": x.round(3) for n, x in enumerate(found.T)} | {"rul": left}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True), CYCLES


def four_columns(lives: int) -> Made:
    """Four sensors, of which one counts and one is skewed."""
    rng = np.random.default_rng(3)
    frames = []
    for unit in range(lives):
        rows = int(rng.uniform(150, 400))
        left = np.arange(rows)[::-1]
        wear = np.exp(-left / rng.uniform(30, 70))
        columns = {
            "unit": unit,
            "cycle": np.arange(rows),
            "a": (20 + 5 * wear + rng.normal(0, 1, rows) + rng.normal()).round(2),
            "b": (3 - wear + rng.normal(0, 0.2, rows) + 0.3 * rng.normal()).round(3),
            "c": np.floor(rng.gamma(2, 3, rows) + 4 * wear),
            "d": np.exp(rng.normal(0, 0.3, rows) + wear).round(3),
            "rul": np.minimum(left, 130),
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True), CYCLES


def _length(rng: np.random.Generator) -> int:
    return int(np.clip(rng.gamma(9, 23), 60, 450))


def _drift(pushed: NDArray[np.float64], kept: float, first: float = 0.0) -> NDArray[np.float64]:
    """Return a value that keeps so much of itself in each step, and is pushed."""
    from scipy.signal import lfilter

    return np.asarray(lfilter([1.0], [1.0, -kept], pushed, zi=[kept * first])[0])


MACHINES: dict[str, tuple[Callable[[int], Made], int]] = {  # name: maker, training lives
    "six regimes": (six_regimes, 90),
    "six regimes, two modes": (partial(six_regimes, modes=2), 90),
    "six regimes, 240 lives": (partial(six_regimes, sensors=5), 240),
    "two modes": (two_modes, 80),
    "late temperatures": (late_temperatures, 40),
    "late temperatures, drifting load": (partial(late_temperatures, drifts=True), 40),
    "hourly pump": (hourly_pump, 32),
    "hourly, no failures": (partial(hourly_pump, fails=False), 25),
    "wide": (wide, 48),
    "four columns": (four_columns, 20),
}
