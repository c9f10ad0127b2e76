"""How a machine ages: damage by the law of the failure mode that ends each life."""

from __future__ import annotations

import numpy as np

from gan_lab.synth.simulator.lives import Floats, Ints, Rows
from gan_lab.workspace.profiles import Profile

EXPONENT_SPREAD = 0.15  # of its logarithm, from life to life


def grow_damage(
    profile: Profile, modes: Ints, rows: Rows, rng: np.random.Generator
) -> dict[str, Floats]:
    """Return the damage by each failure mode at each row: 0 as new, 1 (a little more) at failure.

    Units differ: the constant of each law is spread lognormally from life to life.
    """
    usual = np.array([mode.exponent for mode in profile.failure_modes.values()])[modes]
    exponent = (usual * np.exp(EXPONENT_SPREAD * rng.standard_normal(len(modes))))[rows.life]
    severity = rng.uniform(1.0, 1.1, len(modes))[rows.life]
    worn, damage = rows.progress, {}
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
