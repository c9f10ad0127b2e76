"""What the sensors show: true values that follow drivers and damage, then noise, drift and gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from graphlib import TopologicalSorter

import numpy as np

from gan_lab.synth.simulator.lives import Floats, Rows, recur
from gan_lab.workspace.formulas import evaluate, formula_names
from gan_lab.workspace.profiles import Profile, Sensor

Progress = Callable[[float, str], None]

SENSOR_SPREAD = 0.02  # of the value, from life to life


def read_sensors(
    profile: Profile,
    rows: Rows,
    drivers: dict[str, Floats],
    damage: dict[str, Floats],
    rng: np.random.Generator,
    say: Progress,
) -> Iterator[tuple[str, Floats]]:
    """Yield each sensor's readings, in the order of the profile.

    True values first, in the order the formulas need; then what the instrument makes of them:
    noise (growing with the root of the value), a drift of as much over the life, the measuring
    range and the decimals it shows.
    """
    truth: dict[str, Floats] = {}
    known: dict[str, Floats | float] = {**profile.rated, **drivers}
    order = sensor_order(profile)
    for done, name in enumerate(order):
        truth[name] = _true_value(profile, name, {**known, **truth}, damage, rows, rng)
        say(0.2 + 0.5 * done / len(order), f"simulated {name}")
    for done, (name, sensor) in enumerate(profile.sensors.items()):
        reading = truth.pop(name)
        drift = rng.standard_normal(len(rows.lengths))[rows.life] * rows.progress
        noise = rng.standard_normal(len(reading))
        noise *= np.sqrt(np.maximum(1, np.abs(reading) / (abs(sensor.typical) or np.inf)))
        reading = reading + sensor_noise(sensor) * (noise + drift)
        reading = np.clip(reading, sensor.minimum, sensor.maximum)
        yield name, np.round(reading, sensor.decimals)
        say(0.7 + 0.3 * done / len(order), f"read {name}")


def sensor_noise(sensor: Sensor) -> float:
    """Return the standard deviation of a sensor's noise: 0.2 % of its range where not given."""
    return 0.002 * (sensor.maximum - sensor.minimum) if sensor.noise is None else sensor.noise


def sensor_order(profile: Profile) -> list[str]:
    """Return the sensors in an order in which each formula finds what it needs."""
    needs = {
        name: formula_names(sensor.formula) & set(profile.sensors) if sensor.formula else set()
        for name, sensor in profile.sensors.items()
    }
    return list(TopologicalSorter(needs).static_order())


def _true_value(
    profile: Profile,
    name: str,
    known: Mapping[str, Floats | float],
    damage: dict[str, Floats],
    rows: Rows,
    rng: np.random.Generator,
) -> Floats:
    sensor = profile.sensors[name]
    size = len(rows.life)
    load, speed = np.asarray(known["load"]), np.asarray(known["speed"])
    if sensor.formula:
        value = np.broadcast_to(evaluate(sensor.formula, known), size).astype(np.float64)
    else:
        value = _follow(sensor, known, size)
        unit = 1 + SENSOR_SPREAD * rng.standard_normal(len(rows.lengths))
        value *= unit[rows.life]
    # a machine at rest shows no vibration however worn; a gas in the oil stays there
    works = set(sensor.follows) - {"ambient"}
    active = ((load > 0) | (speed > 0)) if works else np.ones(size, dtype=bool)
    for mode, grown in damage.items():
        strength = profile.failure_modes[mode].sensors.get(name)
        if not strength or sensor.critical is None:
            continue
        change = strength * (sensor.critical - sensor.typical) * grown
        if sensor.formula and sensor.typical:
            value *= 1 + change / sensor.typical
        else:
            value += change * active
    return lag(value, sensor.lag_s, rows)


def _follow(sensor: Sensor, known: Mapping[str, Floats | float], size: int) -> Floats:
    at_rest = sensor.typical - sum(
        gain for driver, gain in sensor.follows.items() if driver != "ambient"
    )
    value = np.full(size, at_rest)
    for driver, gain in sensor.follows.items():
        value += gain * (np.asarray(known[driver]) - (20 if driver == "ambient" else 0))
    return value


def lag(target: Floats, lag_s: float, rows: Rows) -> Floats:
    """Return the answer of a first-order element to a target held from row to row.

    y_k = a y_(k-1) + (1 - a) x_k, a = e^(-step / lag): the exact solution of lag y' + y = x.
    """
    if lag_s <= 0:
        return target
    memory = float(np.exp(-rows.step_s / lag_s))
    source = (1 - memory) * target
    source[rows.starts] = target[rows.starts]
    return recur(source, memory, rows)
