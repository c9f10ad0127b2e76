"""The simulator: run-to-failure lives of one machine, from its profile.

A life starts as new, wears by the law of the failure mode that will end it, and ends at failure. At
each moment the machine is in an operating state with a load, a speed and an ambient temperature;
sensors follow these and the wear, through first-order lags, and are read with noise, drift and the
resolution of their instrument. Everything is computed for all rows of all lives at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from graphlib import TopologicalSorter
from math import gamma, sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gan_lab.errors import BadParameter, BadProfile
from gan_lab.schema import SeedConfig
from gan_lab.workspace.formulas import evaluate, formula_names
from gan_lab.workspace.profiles import Life, Profile, Sensor
from gan_lab.workspace.tables import LATE_LIFE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Progress = Callable[[float, str], None]

HOURS = {"s": 1 / 3600, "min": 1 / 60, "h": 1.0, "d": 24.0, "weeks": 168.0}
FIRST_START = np.datetime64("2015-01-01T00:00:00", "s")
START_SPREAD_H = 4 * 8766
DEMAND_MEMORY_S = 4 * 3600
MINIMUM_LIFE_ROWS = 5
WORKING_LOAD = 0.25
LOST_ROWS = 3
NO_FAILURE = "none"
RESTORED = 0.5
EXPONENT_SPREAD, SENSOR_SPREAD = 0.15, 0.02


@dataclass(frozen=True)
class Rows:
    """When each row was taken: lives lie one after another, each from its start to its failure."""

    life: Ints
    starts: Ints
    lengths: Ints
    rul_h: Floats
    life_h: Floats
    step_s: Floats
    timestamp: NDArray[np.datetime64]

    @property
    def progress(self) -> Floats:
        """The share of its life that has passed at each row, 1 at failure."""
        whole: Floats = self.life_h[self.life]
        left = np.divide(self.rul_h, whole, out=np.zeros_like(self.rul_h), where=whole > 0)
        passed: Floats = np.maximum(1 - left, 0.0)
        return passed


def simulate(
    profile: Profile, config: SeedConfig, on_progress: Progress | None = None
) -> pd.DataFrame:
    """Return run-to-failure lives: life, timestamp, state, sensors, failure_mode, rul.

    Exactly `config.rows` rows, or `config.lives` lives of natural length; sensors in the units of
    the profile, rul in `profile.rul_unit`, 0 at the end of each life. The rows of a life are one
    interval of the profile apart; a table too small for whole lives is sampled more coarsely, and
    with `late_life` the last fifth of each life more densely. The same seed gives the same rows.
    Shares of failure modes hold for lives and for rows. On request lives are `censored` (their
    record ends before the failure, at a rul above 0), readings are `missing`, and maintenance takes
    back some of the wear (with a column `maintenances`, those done so far in the life). Raises
    `BadParameter` on an unknown mode or state, `BadProfile` where the profile says too little.
    """
    _check_simulated(profile)
    say = on_progress or (lambda fraction, message: None)
    rng = np.random.default_rng([config.seed, zlib.crc32(profile.machine_id.encode())])
    modes, lengths, interval_h = plan_lives(profile, config, rng)
    censored = censor(config.censored, len(lengths), rng)
    rows = lay_rows(lengths, interval_h, config.late_life, censored, rng)
    say(0.1, f"{len(lengths)} lives, {len(rows.life)} rows")
    state, drivers = operate(profile, config, rows, rng)
    done, worn = maintain(rows, config.maintenance_h)
    damage = grow_damage(profile, modes, rows, worn, rng)
    readings = dict(read_sensors(profile, rows, drivers, damage, rng, say))
    for values in readings.values() if config.missing else ():
        values[lose_readings(config.missing, len(values), rng)] = np.nan
    ends = np.array(list(profile.failure_modes), dtype=object)[modes]
    ends[censored > 0] = NO_FAILURE
    return pd.DataFrame(
        {
            "life": rows.life + 1,
            "timestamp": rows.timestamp,
            "state": np.array(list(profile.states), dtype=object)[state],
            **readings,
            **({"maintenances": done} if config.maintenance_h else {}),
            "failure_mode": ends[rows.life],
            "rul": np.round(rows.rul_h / HOURS[profile.rul_unit], 3),
        }
    )


def plan_lives(
    profile: Profile, config: SeedConfig, rng: np.random.Generator
) -> tuple[Ints, Ints, float]:
    """Return each life's failure mode and number of rows, and the interval between rows (h)."""
    assert profile.life is not None and profile.interval_s is not None
    interval_h = profile.interval_s / 3600
    shares = choose_shares(
        {name: mode.share for name, mode in profile.failure_modes.items()},
        config.failure_modes,
        "failure mode",
    )
    few = min(4, config.rows // 25)
    count = config.lives or max(1, few, round(config.rows * interval_h / profile.life.mean_h))
    lives_of_mode = apportion(count, shares)
    modes = rng.permutation(np.repeat(np.arange(len(shares)), lives_of_mode))
    hours = draw_life_hours(profile.life, count, rng)
    total = config.rows
    if config.lives is not None:
        total = max(MINIMUM_LIFE_ROWS * count, round(float(hours.sum()) / interval_h))
    rows_of_mode = apportion(total, np.where(lives_of_mode > 0, shares, 0))
    lengths = np.zeros(count, dtype=np.int64)
    for mode in np.unique(modes):
        lengths[modes == mode] = apportion(
            int(rows_of_mode[mode]), hours[modes == mode], MINIMUM_LIFE_ROWS
        )
    stretch = max(1, round(float(hours.sum()) / (total * interval_h)))
    return modes, lengths, interval_h * stretch


def draw_life_hours(life: Life, count: int, rng: np.random.Generator) -> Floats:
    """Draw hours to failure, Weibull with the given shape, mean and spread.

    Three parameters (IEC 61649:2008): mean = location + scale G(1 + 1/k), spread = scale
    sqrt(G(1 + 2/k) - G(1 + 1/k)^2), G the gamma function; the location is the life nobody misses.
    """
    first, second = gamma(1 + 1 / life.shape), gamma(1 + 2 / life.shape)
    scale = life.spread_h / sqrt(second - first**2)
    location = max(0.0, life.mean_h - scale * first)
    return location + scale * rng.weibull(life.shape, count)


def lay_rows(
    lengths: Ints,
    interval_h: float,
    late_life: float | None,
    censored: Floats,
    rng: np.random.Generator,
) -> Rows:
    """Place the rows in time: evenly, or with this share of each life's rows in its last fifth.

    `censored`: which share of each life lies after the end of its record, 0 where it fails.
    """
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    life = np.repeat(np.arange(len(lengths)), lengths)
    life_h: Floats = (lengths - 1) * np.float64(interval_h)
    to_end = lengths[life] - 1 - (np.arange(len(life)) - starts[life])
    if late_life is None:
        rul_h: Floats = to_end * np.float64(interval_h)
    else:
        late = np.round(lengths * late_life).astype(np.int64)[life]
        early = np.maximum(lengths[life] - late, 1)
        fraction = np.where(
            to_end < late,
            LATE_LIFE * to_end / np.maximum(late, 1),
            LATE_LIFE + (1 - LATE_LIFE) * (to_end - late + 1) / early,
        )
        rul_h = np.where(to_end == 0, 0.0, fraction * life_h[life])
    step_s = np.zeros(len(life))
    step_s[1:] = (rul_h[:-1] - rul_h[1:]) * 3600
    step_s[starts] = 0
    began_h = rng.integers(0, START_SPREAD_H, len(lengths))
    seconds = np.round((began_h[life] + life_h[life] - rul_h) * 3600).astype("timedelta64[s]")
    timestamp = (FIRST_START + seconds).astype("datetime64[us]")
    unseen_h = life_h * censored / (1 - censored)
    rul_h = rul_h + unseen_h[life]
    life_h = life_h + unseen_h
    return Rows(life, starts, lengths, rul_h, life_h, step_s, timestamp)


def censor(share: float, lives: int, rng: np.random.Generator) -> Floats:
    """Return the share of each life that lies after the end of its record: 0 where it fails."""
    unseen = np.zeros(lives)
    if share:
        chosen = rng.permutation(lives)[: round(share * lives)]
        unseen[chosen] = rng.uniform(0.1, 0.7, len(chosen))
    return unseen


def lose_readings(share: float, rows: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which readings a sensor loses: this share of them, in stretches of three rows."""
    begins: NDArray[np.bool_] = rng.random(rows) < 1 - (1 - share) ** (1 / LOST_ROWS)
    lost: NDArray[np.bool_] = begins.copy()
    for later in range(1, LOST_ROWS):
        lost[later:] |= begins[:-later]
    return lost


def operate(
    profile: Profile, config: SeedConfig, rows: Rows, rng: np.random.Generator
) -> tuple[Ints, dict[str, Floats]]:
    """Return each row's operating state and what drives the sensors: load, losses, speed, ambient.

    The demand on the machine has a daily and a weekly pattern and a memory of hours (a first-order
    autoregression); ranked over the table and cut at the cumulated shares, it gives states that
    hold their shares exactly. A machine fails at work: the last row of a life is under load.
    """
    states = profile.states
    shares = choose_shares(
        {name: state.share for name, state in states.items()}, config.states, "operating state"
    )
    day = (rows.timestamp - FIRST_START) / np.timedelta64(1, "D")
    weekend = ((day + 3) % 7) >= 5  # 2015-01-01 was a Thursday
    memory = np.exp(-rows.step_s / DEMAND_MEMORY_S)
    noise = rng.standard_normal(len(day)) * np.sqrt(1 - np.where(rows.step_s > 0, memory, 0) ** 2)
    daily, weekly = resolved(rows, 1), resolved(rows, 7)
    pattern = daily * np.cos(2 * np.pi * (day - 14 / 24)) - 0.8 * weekly * weekend
    demand = recur(noise, memory, rows) + pattern
    resting = float(shares[[item.load[1] < WORKING_LOAD for item in states.values()]].sum())
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
    steps_s = rows.step_s[rows.step_s > 0]
    periods = float(np.median(steps_s)) / 86_400 / period_days if len(steps_s) else 0.0
    return float(np.sinc(min(periods, 1.0)))


def maintain(rows: Rows, every_h: float | None) -> tuple[Ints, Floats]:
    """Return how often each row's machine has been maintained, and its age as a share of the end's.

    Imperfect repair: each maintenance takes back a share of the age since the last one (type I of
    Kijima, J. Appl. Prob. 26, 1989). The life keeps the hours of the profile.
    """
    whole_h = rows.life_h[rows.life]
    passed_h = whole_h - rows.rul_h
    done = np.zeros(len(whole_h), dtype=np.int64)
    if every_h:
        most = np.ceil(whole_h / every_h) - 1  # none at the failure itself
        done = np.minimum(passed_h // every_h, np.maximum(most, 0)).astype(np.int64)
        passed_h = passed_h - RESTORED * every_h * done
        whole_h = whole_h - RESTORED * every_h * np.maximum(most, 0)
    worn: Floats = np.divide(passed_h, whole_h, out=np.ones_like(whole_h), where=whole_h > 0)
    return done, np.clip(worn, 0.0, 1.0)


def grow_damage(
    profile: Profile, modes: Ints, rows: Rows, worn: Floats, rng: np.random.Generator
) -> dict[str, Floats]:
    """Return the damage by each failure mode at each row: 0 as new, 1 (a little more) at failure.

    Units differ: the constant of each law is spread lognormally from life to life.
    """
    wanted = np.array([mode.exponent for mode in profile.failure_modes.values()])[modes]
    exponent = (wanted * np.exp(EXPONENT_SPREAD * rng.standard_normal(len(modes))))[rows.life]
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
    memory = np.exp(-rows.step_s / lag_s)
    memory[rows.starts] = 0
    return recur((1 - memory) * target, memory, rows)


def recur(source: Floats, memory: Floats, rows: Rows) -> Floats:
    """Return y with y_k = memory_k y_(k-1) + source_k within each life, all lives at a time."""
    if float(memory.max(where=rows.step_s > 0, initial=0)) < 1e-6:
        return source.copy()
    longest_first = np.argsort(-rows.lengths, kind="stable")
    starts, lengths = rows.starts[longest_first], rows.lengths[longest_first]
    value = source.copy()
    alive = np.searchsorted(-lengths, -np.arange(1, int(lengths[0]) + 1), side="right")
    for step in range(1, int(lengths[0])):
        here = starts[: alive[step]] + step
        value[here] += memory[here] * value[here - 1]
    return value


def apportion(total: int, weights: Floats, at_least: int = 0) -> Ints:
    """Divide a whole number in proportion to weights, by the largest remainders."""
    at_least = min(at_least, total // len(weights))
    rest = total - at_least * len(weights)
    exact = rest * weights / weights.sum()
    parts: Ints = np.floor(exact).astype(np.int64)
    missing = rest - int(parts.sum())
    parts[np.argsort(parts - exact, kind="stable")[:missing]] += 1
    parts += at_least
    return parts


def choose_shares(usual: dict[str, float], wanted: dict[str, float] | None, word: str) -> Floats:
    """Return the shares to use: those wanted, and the rest in the proportion of the profile."""
    wanted = wanted or {}
    for name in wanted:
        if name not in usual:
            close = get_close_matches(name, list(usual), n=1, cutoff=0.4)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise BadParameter(f"There is no {word} {name!r}. {hint}It has {', '.join(usual)}.")
    rest = sum(share for name, share in usual.items() if name not in wanted)
    left = 1 - sum(wanted.values())
    if left > 1e-9 and rest == 0:
        raise BadParameter(
            f"The shares of {word}s {wanted} add up to {1 - left:g} and name all there are: "
            "make it 1."
        )
    return np.array(
        [wanted.get(name, left * share / rest if rest else 0.0) for name, share in usual.items()]
    )


def _ambient(
    climate: tuple[float, float], day: Floats, daily: float, rng: np.random.Generator
) -> Floats:
    """The mean, and the amplitude shared between year (coldest mid-January), day and weather."""
    mean, amplitude = climate
    year = -np.cos(2 * np.pi * (day - 15) / 365.25)
    hour = np.cos(2 * np.pi * (day - 15 / 24))
    weather: Floats = 0.2 * rng.standard_normal(len(day))
    return mean + amplitude * (0.6 * year + 0.3 * daily * hour + weather)


def _check_simulated(profile: Profile) -> None:
    if profile.imported is not None or not profile.simulated:
        raise BadProfile(
            f"{profile.machine_id} has no life, states or failure modes to simulate: "
            f"bring a table with `gan-lab import {profile.machine_id} FILE`."
        )
    if profile.rul_unit not in HOURS:
        raise BadProfile(f"rul_unit={profile.rul_unit!r} is none of {', '.join(HOURS)}.")
