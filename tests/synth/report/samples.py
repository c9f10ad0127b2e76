"""Tables that the tests of the report share, and its verdict but for what trains models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gan_lab.schema import Roles
from gan_lab.synth.report import fidelity, physics, privacy
from gan_lab.synth.report.compared_tables import Sides, compare
from gan_lab.synth.report.finding import Finding
from gan_lab.synth.report.verdict import Verdict, judge
from gan_lab.synth.report.windows import windows_of
from gan_lab.workspace.profiles import Profile

TURBOFAN = Roles(life="unit", time="cycle", rul="rul")
WEARING = Roles(life="life", time="age", rul="rul", state="state")
Parts = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def wearing(lives: int, seed: int, rows: int = 40) -> pd.DataFrame:
    """Lives of four sensors: two show wear, the third follows the first, the fourth is noise."""
    rng = np.random.default_rng(seed)
    life, age = np.repeat(np.arange(lives), rows), np.tile(np.arange(rows), lives)
    wear, own = np.exp((age - rows) / 10), rng.uniform(-1, 1, (lives, 4))[life]
    noise = rng.normal(0, 0.2, (len(life), 4))
    heat, vibration, _, hum = (own + noise + np.outer(wear, [5, -4, 0, 0])).T
    state = np.where(wear > 0.5, "worn", np.where(age < 8, "starting", "running"))
    return pd.DataFrame(
        {"life": life, "age": age, "heat": heat, "vibration": vibration,
         "pressure": 2 * heat + noise[:, 2], "hum": hum, "state": state, "rul": rows - 1 - age}
    )  # fmt: skip


def three(seed: int = 0, lives: tuple[int, int, int] = (24, 24, 12)) -> Parts:
    """A second real sample, training and held-out lives."""
    return tuple(wearing(count, 10 * seed + place) for place, count in enumerate(lives))  # type: ignore[return-value]


def parts(table: pd.DataFrame, life: str, seed: int, share: float = 0.4) -> Parts:
    """Three tables of different lives: a second real sample, training, held out."""
    lives = np.random.default_rng(seed).permutation(table[life].unique())
    cut = int(share * len(lives))
    groups = (lives[:cut], lives[cut : 2 * cut], lives[2 * cut :])
    return tuple(table[table[life].isin(g)].reset_index(drop=True) for g in groups)  # type: ignore[return-value]


def verdict(
    tables: Parts, roles: Roles = WEARING, profile: Profile | None = None, conditions: str = ""
) -> Verdict:
    """The verdict on all that needs no training of models: quick enough to be asked often."""
    sides = compare(*tables, roles, profile, seed=0)
    memory = privacy.privacy(sides, tables[0], tables[1], windows_of(sides))
    found = [*of_columns(sides), *privacy.remembered(memory, sides.few)]
    return judge(found, sides, conditions)


def of_columns(sides: Sides) -> list[Finding]:
    """What is found of columns, one by one and in pairs."""
    pairs = physics.relations(sides)
    return [
        *physics.physics(sides),
        *physics.wear(pairs, sides.roles.rul),
        *fidelity.shapes(fidelity.fidelity(sides).columns),
        *physics.broken_relations(pairs),
    ]


def accused(found: Verdict) -> dict[str, set[str]]:
    """Return the columns that each kind of finding is held against."""
    kinds: dict[str, set[str]] = {}
    for finding in found.findings:
        if finding.level in ("bad", "care"):
            kinds.setdefault(finding.kind, set()).update(finding.columns)
    return kinds
