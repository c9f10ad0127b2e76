"""What drives a machine is found, drawn first, and followed by what it drives."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gan_lab.errors import BadParameter
from gan_lab.schema import Roles, TrainConfig
from gan_lab.synth.lives.drivers import Drivers, find_drivers
from gan_lab.synth.lives.memory import Autoregression
from gan_lab.synth.lives.packed import Floats, Packed
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.lives.training_lives import TrainingLives
from tests.synth.lives.tables import fit

ROLES = Roles(life="unit", time="hour", rul="rul")
CONFIG = TrainConfig(seed=1, epochs=60)


def warmed(load: Floats) -> Floats:
    """A winding takes an eighth of the way, each hour, to what its load would heat it to."""
    found, now = np.empty_like(load), 20 + 60 * load[0] ** 2
    for hour, each in enumerate(load):
        now += 0.125 * (20 + 60 * each**2 - now)
        found[hour] = now
    return found


def loaded_machines(
    lives: int = 40, memory: float = 0.9, noise: float = 0.0, stops: bool = False
) -> pd.DataFrame:
    """`noise` is that of the load's own sensor; stopped machines have no load for hours."""
    frames = []
    for unit in range(lives):
        rng = np.random.default_rng(unit)
        rows = int(rng.integers(100, 200))
        load, push = np.empty(rows), rng.normal(0, 0.15, rows)
        load[0] = push[0] / np.sqrt(1 - memory**2)
        for hour in range(1, rows):
            load[hour] = memory * load[hour - 1] + push[hour]
        load = np.clip(0.7 + 0.5 * load, 0.1, 1.3)
        running = np.sin(np.arange(rows) / 6 + rng.uniform(0, 6)) > -0.7 * stops - (not stops) * 2
        load *= running
        left = np.arange(rows)[::-1]
        wear = np.exp(-left / rng.uniform(20, 50))
        frames.append(
            pd.DataFrame(
                {
                    "unit": unit,
                    "hour": np.arange(rows),
                    "winding": warmed(load) + 5 * wear + rng.normal(0, 0.3, rows),
                    "load": (load + noise * running * rng.normal(0, 1, rows)),
                    "vibration": 1 + load + 2 * wear + rng.normal(0, 0.1, rows),
                    "hum": rng.normal(0, 1, rows),
                    "state": np.where(running, "on", "off"),
                    "rul": left,
                }
            )
        )
    found = pd.concat(frames, ignore_index=True)
    return found if stops else found.drop(columns="state")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return loaded_machines()


@pytest.fixture(scope="module")
def model(table: pd.DataFrame) -> SequentialTVAE:
    return fit(table, ROLES, CONFIG)


def driving(model: SequentialTVAE | TrainingLives) -> list[str]:
    return [model.table.sensors[track].name for track in model.drivers.tracks]


def strays(lives: pd.DataFrame) -> float:
    """How far a winding is from what its own load makes it, well before the end, after its
    beginning."""
    far = []
    for _, life in lives.groupby("unit"):
        error = life["winding"].to_numpy() - warmed(life["load"].to_numpy())
        far.append(error[30:-60])
    return float(np.concatenate(far).std())


@pytest.mark.slow
def test_a_winding_is_as_warm_as_its_own_load_makes_it(
    model: SequentialTVAE, table: pd.DataFrame
) -> None:
    assert driving(model) == ["load"]
    assert model.notes()[0].endswith("one regime, the other numbers follow load.")
    alone = fit(table, ROLES, CONFIG, drivers="none")
    assert not driving(alone)
    real = strays(table)
    ours, without = (strays(pd.concat(each.sample(lives=40))) for each in (model, alone))
    assert ours < 0.6 * without and ours < 3 * real


@pytest.mark.slow
def test_a_driver_is_drawn_as_it_was_seen(model: SequentialTVAE, table: pd.DataFrame) -> None:
    drawn = pd.concat(model.sample(lives=200))
    for figure in ("mean", "std"):
        assert getattr(drawn["load"], figure)() == pytest.approx(
            getattr(table["load"], figure)(), rel=0.07
        )
    memory = [
        np.mean([life["load"].autocorr(5) for _, life in lives.groupby("unit")])
        for lives in (drawn, table)
    ]
    assert memory[0] == pytest.approx(memory[1], abs=0.08)


@pytest.mark.slow
def test_a_load_that_stops_and_whose_sensor_is_noisy() -> None:
    """In a state that knows no load the driver is still, and what it heated cools down."""
    table = loaded_machines(noise=0.02, stops=True)
    roles = ROLES.model_copy(update={"state": "state"})
    model = fit(table, roles, CONFIG)
    assert driving(model) == ["load"]
    drawn = pd.concat(model.sample(lives=40))
    assert (drawn.loc[drawn["state"] == "off", "load"] == 0).all()
    assert strays(drawn) < 2.5 * strays(table)


@pytest.mark.slow
def test_what_follows_is_told_the_driver_that_is_written(
    model: SequentialTVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Floats] = []

    def look(drivers: Drivers, numbers: Floats, packed: Packed) -> NDArray[np.float32]:
        told.append(numbers[:, drivers.tracks])
        return tell(drivers, numbers, packed)

    tell = Drivers.features
    monkeypatch.setattr(Drivers, "features", look)
    drawn = pd.concat(model.sample(lives=8))
    assert np.array_equal(np.concatenate(told)[:, 0], drawn["load"])


def test_a_load_without_memory_is_left_to_its_own_row() -> None:
    assert not driving(TrainingLives(loaded_machines(memory=0.0), ROLES, CONFIG))


def test_what_drives_is_found_among_what_does_not() -> None:
    rng = np.random.default_rng(0)
    packed = Packed(np.full(30, 150))
    load = rng.normal(size=(len(packed.life), 4))
    for row in np.flatnonzero(packed.age > 0):
        load[row] += 0.9 * load[row - 1]
    noise = 0.2 * rng.normal(size=(len(load), 4))
    worn = np.exp((packed.age - 149) / 20)[:, None] * 3
    heat = packed.averages(load[:, :2], [0.8]) + noise[:, :2] + worn * [1, 0]
    follows_at_once = load[:, 2:3] + noise[:, 2:3]
    crack = load[:, 3:] + worn  # which shakes something else, and is no driver
    shaken = packed.averages(crack, [0.8]) + noise[:, 3:]
    columns = np.concatenate([heat, load[:, :3], follows_at_once, crack, shaken], axis=1)
    nothing = np.zeros((len(load), 0), dtype=np.float32)
    every = np.ones(8, dtype=bool)
    assert sorted(find_drivers(every, columns, nothing, packed)) == [2, 3]
    assert find_drivers(~np.isin(np.arange(8), [2]), columns, nothing, packed) == [3]
    few = packed.life < 5
    assert find_drivers(every, columns[few], nothing[few], Packed(np.full(5, 150))) == []


def test_drivers_can_be_named_and_a_wrong_name_is_refused(table: pd.DataFrame) -> None:
    two = CONFIG.model_copy(update={"drivers": "vibration, hum"})
    assert driving(TrainingLives(table, ROLES, two)) == ["vibration", "hum"]
    named = table.rename(columns={"load": "load, kW"})
    config = CONFIG.model_copy(update={"drivers": "load, kW"})
    assert driving(TrainingLives(named, ROLES, config)) == ["load, kW"]
    gaps = table.assign(hum=table["hum"].where(table.index % 9 > 0))
    with pytest.raises(BadParameter, match="'hum' cannot be a driver.*winding, load, vibration"):
        TrainingLives(gaps, ROLES, two)


def test_a_named_driver_follows_nothing_but_its_own_past_and_nothing_grows() -> None:
    """A speed that is controlled against a load: as a driver it may not answer any more, and what
    only its answers held in check is not to run away."""
    packed, none = Packed(np.full(40, 100)), np.zeros((1, 2), dtype=bool)
    values = np.random.default_rng(0).normal(size=(4000, 2))
    for row in np.flatnonzero(packed.age > 0):
        load, speed = values[row - 1]
        values[row] += 1.1 * load - 0.5 * speed, 0.6 * load + 0.2 * speed
    regime, asked = np.zeros(4000, dtype=np.int64), packed.life % 3 == 0
    both, speed_first = (
        Autoregression.fit(values, packed, none, asked, np.array(drivers, dtype=np.int64))
        for drivers in ([], [1])
    )
    lines = np.arange(8)
    assert both.coefficients[lines % 2 == 0, 1].any()
    assert not speed_first.coefficients[lines % 2 == 0, 1].any()
    assert speed_first.coefficients[lines % 2 == 1].any(axis=0).all()
    limits = np.full(2, 100 * np.abs(values).max())
    shock = np.random.default_rng(1).normal(size=values.shape)
    unlimited = replace(speed_first, lowest=-limits, highest=limits)
    assert np.abs(unlimited.inverse_transform(shock, packed, regime)).max() < limits[0]


@pytest.mark.slow
def test_a_training_with_drivers_resumes_and_is_saved(table: pd.DataFrame, tmp_path: Path) -> None:
    states: dict[int, bytes] = {}

    def keep(epoch: int, state: Callable[[], bytes]) -> None:
        states[epoch] = state()

    whole = fit(table, ROLES, on_checkpoint=keep)
    assert driving(whole) == ["load"]
    wanted = pd.concat(whole.sample(rows=300, seed=3))
    for interrupted in (2, 4):
        resumed = fit(table, ROLES, resume=states[interrupted])
        pd.testing.assert_frame_equal(pd.concat(resumed.sample(rows=300, seed=3)), wanted)
    whole.save(tmp_path / "model")
    loaded = SequentialTVAE.load(tmp_path / "model")
    pd.testing.assert_frame_equal(pd.concat(loaded.sample(rows=300, seed=3)), wanted)
    assert isinstance(loaded.drivers, Drivers) and driving(loaded) == ["load"]
