"""How a machine ages: damage by the law of the failure mode that ends each life, and its repair."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.simulator.lives import Floats, Ints, Rows
from gan_lab.workspace.profiles import Profile

RESTORED = 0.5  # of the wear since the last maintenance
EXPONENT_SPREAD = 0.15  # of its logarithm, from life to life


def maintain(rows: Rows, every_h: float | None) -> tuple[Ints, Floats]:
    """Return how often each row's machine has been maintained, and its age as a share of the end's.

    Imperfect repair: each maintenance takes back a share of the age since the last one (type I of
    Kijima, J. Appl. Prob. 26, 1989). The life keeps the hours of the profile.
    """
    whole_h = rows.life_h[rows.life]
    passed_h = whole_h - rows.rul_h
    done = np.zeros(len(whole_h), dtype=np.int64)
    if every_h:
        in_life = np.maximum(np.ceil(whole_h / every_h) - 1, 0)  # none at the failure itself
        done = np.minimum(passed_h // every_h, in_life).astype(np.int64)
        passed_h = passed_h - RESTORED * every_h * done
        whole_h = whole_h - RESTORED * every_h * in_life
    worn: Floats = np.divide(passed_h, whole_h, out=np.ones_like(whole_h), where=whole_h > 0)
    return done, np.clip(worn, 0.0, 1.0)


def grow_damage(
    profile: Profile, modes: Ints, rows: Rows, worn: Floats, rng: np.random.Generator
) -> dict[str, Floats]:
    """Return the damage by each failure mode at each row: 0 as new, 1 (a little more) at failure.

    Units differ: the constant of each law is spread lognormally from life to life.
    """
    usual = np.array([mode.exponent for mode in profile.failure_modes.values()])[modes]
    exponent = (usual * np.exp(EXPONENT_SPREAD * rng.standard_normal(len(modes))))[rows.life]
    severity = rng.uniform(1.0, 1.1, len(modes))[rows.life]
    damage = {}
    for index, (name, mode) in enumerate(profile.failure_modes.items()):
        here = modes[rows.life] == index
        grown = np.zeros(len(worn))
        grown[here] = severity[here] * wear(mode.wear, worn[here], exponent[here])
        damage[name] = grown
    return damage


def wear(law: str, progress: Floats, exponent: Floats) -> Floats:
    """Return the damage, 0 to 1, after this share of the life.

    exponential: (e^(kp) - 1) / (e^k - 1), growth in proportion to the damage, as bearings show
    (Gebraeel et al., IIE Transactions 37, 2005). power: p^k (Archard wear at k = 1, ISO/TR 13881's
    wear-out above). paris: crack length by da/dN = C dK^m, dK ~ sqrt(a) (Paris and Erdogan, J.
    Basic Eng. 85, 1963), from a tenth of the critical length to the whole, m the exponent.
    """
    if law == "exponential":
        return np.expm1(exponent * progress) / np.expm1(exponent)
    if law == "power":
        return progress**exponent
    first = 0.1
    half = np.where(np.abs(exponent / 2 - 1) < 1e-6, 1e-6, exponent / 2 - 1)
    length = first * (1 - progress * (1 - first**half)) ** (-1 / half)
    return (length - first) / (1 - first)
