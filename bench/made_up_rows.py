"""Plain tables made up for the benchmark of rows: each has a trouble that real ones have.

Each maker returns a table and its target.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

Made = tuple[pd.DataFrame, str]


def tied(rows: int = 2_200, columns: int = 55) -> Made:
    """Columns that five hidden causes tie strongly, some of them skewed, one the sum of two."""
    rng = np.random.default_rng(3)
    causes = rng.normal(size=(rows, 5))
    causes[:, 0] = rng.gamma(2, 1, rows)
    found = causes @ rng.normal(size=(5, columns)) + 0.05 * rng.normal(size=(rows, columns))
    found[:, ::7] = np.exp(0.5 * found[:, ::7])
    found[:, 1] = found[:, 0] + found[:, 2]
    table = pd.DataFrame(found.round(4), columns=[f"v{n}" for n in range(columns)])
    wear = causes[:, 0] * 1.2 + causes[:, 1] * causes[:, 2]
    table["fault"] = np.where(wear > np.quantile(wear, 0.93), "worn", "good")
    return table, "fault"


def gaps(rows: int = 5_000) -> Made:
    """Windows of sensors: mean, spread and ends of each, in three states; sensors that are off as
    groups."""
    rng = np.random.default_rng(4)
    load, wear = rng.beta(2, 2, rows), rng.random(rows) ** 2
    state = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    columns = {}
    for n in range(6):
        level = rng.normal(size=3) * 3
        mean = level[state] + load * rng.normal() * 4 + wear * rng.normal() * 3
        mean = mean + rng.normal(size=rows) * 0.4
        spread = 0.3 + 0.2 * load + 0.3 * wear * rng.random() + 0.1 * rng.gamma(2, 0.2, rows)
        least, most = (mean + sign * spread * rng.gamma(6, 0.25, rows) for sign in (-1, 1))
        columns |= {f"s{n}_mean": mean, f"s{n}_std": spread, f"s{n}_min": least}
        columns |= {f"s{n}_max": most, f"s{n}_range": most - least}
    table = pd.DataFrame(columns).round(3)
    for n, share in enumerate([0.15, 0.1, 0.05]):
        off = rng.random(rows) < share * (1 + state)
        group = [name for name in table if name.startswith((f"s{n}_", f"s{n + 3}_"))]
        table.loc[off, group] = np.nan
    table["state"] = np.array(["idle", "part", "full"])[state]
    table["wear"] = (wear * 100).round(1)
    return table, "wear"


def rare(rows: int = 16_000) -> Made:
    """Failures of 0.7 %, sixty sites, two sensors that are lost together."""
    rng = np.random.default_rng(5)
    site, load = rng.integers(0, 60, rows), rng.gamma(3, 10, rows)
    heat = 20 + 0.8 * load + 3 * rng.normal(size=60)[site] + rng.normal(0, 3, rows)
    shaken, age = np.exp(0.02 * load + 0.3 * rng.normal(size=rows)), rng.integers(0, 4_000, rows)
    hazard = 0.08 * (heat - 45) + 0.8 * np.log(shaken) + 0.0004 * age
    hazard = hazard + 0.2 * rng.normal(size=rows)
    table = pd.DataFrame(
        {
            "site": [f"site {n}" for n in site],
            "load": load.round(1),
            "heat": heat.round(2),
            "vibration": shaken.round(3),
            "current": (load * 0.4 + rng.standard_t(3, rows)).round(2),
            "age": age,
            "shift": rng.choice(["early", "late", "night"], rows),
            "pressure": (50 - 0.2 * load + rng.normal(0, 1, rows)).round(2),
            "noise": rng.normal(size=rows).round(4),
            "failure": (hazard > np.quantile(hazard, 0.993)).astype(int),
        }
    )
    table.loc[rng.random(rows) < 0.06, ["vibration", "noise"]] = np.nan
    return table, "failure"


def grid(rows: int = 9_000) -> Made:
    """A simulator's grid: settings on a few levels, and what formulas make of them."""
    rng = np.random.default_rng(6)
    speed, feed = rng.choice(np.arange(10, 60, 5), rows), rng.choice([0.5, 1, 1.5, 2, 3, 4], rows)
    coolant, kind = rng.choice(np.linspace(0, 1, 11), rows), rng.integers(0, 3, rows)
    hard = np.array([1.0, 0.7, 0.4])[kind]
    force = hard * speed**0.8 * feed**1.1 * (1 + 0.2 * coolant)
    power = force * speed / 9.5
    table = {
        "speed": speed,
        "feed": feed,
        "coolant": coolant.round(2),
        "material": np.array(["steel", "brass", "aluminium"])[kind],
        "force": force.round(2),
        "heat": (20 + 3 * force**0.6 + 5 * coolant).round(3),
        "power": power.round(2),
        "rough": (feed**2 / 8 * (1 + 0.1 * hard)).round(4),
        "vibration": (0.1 * force + rng.gamma(2, 0.3, rows)).round(3),
        "wear": (0.02 * power**1.2 * feed).round(4),
    }
    return pd.DataFrame(table), "wear"


def twice(rows: int = 6_000) -> Made:
    """Twelve sensors; one row in ten is another row once more."""
    rng = np.random.default_rng(7)
    causes = rng.normal(size=(rows, 4))
    found = causes @ rng.normal(size=(4, 12)) + 0.3 * rng.normal(size=(rows, 12))
    table = pd.DataFrame(found.round(3), columns=[f"x{n}" for n in range(12)])
    table["fault"] = np.where(causes[:, 0] + causes[:, 1] ** 2 > 2.5, "bad", "good")
    other = np.where(rng.random(rows) < 0.1, rng.integers(0, rows, rows), np.arange(rows))
    return table.iloc[other].reset_index(drop=True), "fault"


TABLES: dict[str, Callable[[], Made]] = {
    "tied columns": tied,
    "gaps": gaps,
    "0.7 % failures": rare,
    "a grid": grid,
    "rows twice": twice,
}
