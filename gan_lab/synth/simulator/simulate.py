"""The simulator: run-to-failure lives of one machine, from its profile.

A life starts as new, wears by the law of the failure mode that will end it, and ends at failure. At
each moment the machine is in an operating state with a load, a speed and an ambient temperature;
sensors follow these and the wear, through first-order lags, and are read with noise, drift and the
resolution of their instrument. Everything is computed for all rows of all lives at once.
"""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

from gan_lab.errors import BadProfile
from gan_lab.schema import SeedConfig
from gan_lab.synth.simulator.lives import lay_rows, plan_lives
from gan_lab.synth.simulator.operation import operate
from gan_lab.synth.simulator.sensors import Progress, read_sensors
from gan_lab.synth.simulator.wear import grow_damage
from gan_lab.workspace.profiles import Profile

HOURS = {"s": 1 / 3600, "min": 1 / 60, "h": 1.0, "d": 24.0, "weeks": 168.0}


def simulate(
    profile: Profile, config: SeedConfig, on_progress: Progress | None = None
) -> pd.DataFrame:
    """Return run-to-failure lives: life, timestamp, state, sensors, failure_mode, rul.

    Exactly `config.rows` rows, or `config.lives` lives of natural length; sensors in the units of
    the profile, rul in `profile.rul_unit`, 0 at the end of each life. The rows of a life are one
    interval of the profile apart; a table too small for whole lives is sampled more coarsely. The
    same seed gives the same rows. Shares of failure modes hold for lives and for rows. Raises
    `BadParameter` on an unknown mode, `BadProfile` where the profile says too little.
    """
    _check_simulated(profile)
    say = on_progress or (lambda fraction, message: None)
    rng = np.random.default_rng([config.seed, zlib.crc32(profile.machine_id.encode())])
    modes, lengths, interval_h = plan_lives(profile, config, rng)
    rows = lay_rows(lengths, interval_h, rng)
    say(0.1, f"{len(lengths)} lives, {len(rows.life)} rows")
    state, drivers = operate(profile, rows, rng)
    damage = grow_damage(profile, modes, rows, rng)
    readings = dict(read_sensors(profile, rows, drivers, damage, rng, say))
    ends = np.array(list(profile.failure_modes), dtype=object)[modes]
    return pd.DataFrame(
        {
            "life": rows.life + 1,
            "timestamp": rows.timestamp,
            "state": np.array(list(profile.states), dtype=object)[state],
            **readings,
            "failure_mode": ends[rows.life],
            "rul": np.round(rows.rul_h / HOURS[profile.rul_unit], 3),
        }
    )


def _check_simulated(profile: Profile) -> None:
    if profile.imported is not None or not profile.simulated:
        raise BadProfile(
            f"{profile.machine_id} has no life, states or failure modes to simulate: "
            f"bring a table with `gan-lab import {profile.machine_id} FILE`."
        )
    if profile.rul_unit not in HOURS:
        raise BadProfile(f"rul_unit={profile.rul_unit!r} is none of {', '.join(HOURS)}.")
