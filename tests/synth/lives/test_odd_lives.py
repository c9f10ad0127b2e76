"""Tables of lives as people have them: odd names, types and ends, and narrow wishes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from gan_lab.cluster.tasks import draw_splits
from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import GenerateConfig, Roles, TrainConfig
from gan_lab.synth.lives import population
from gan_lab.synth.lives.level import MIN_ROWS, estimate_levels, level_root
from gan_lab.synth.lives.life_table import LEFT
from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.population import Population
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.lives.training_lives import TrainingLives

ROLES = Roles(life="unit", time="t", rul="rul")
SMALL = TrainConfig(
    epochs=6, embedding_dim=8, compress_dims=(32,), decompress_dims=(32,), batch_size=200
)


def lives_of(lives: int = 24, rows: int = 40) -> pd.DataFrame:
    """Lives of one length whose heat rises towards the end."""
    unit, t = np.repeat(np.arange(lives), rows), np.tile(np.arange(rows), lives)
    heat = np.random.default_rng(0).normal(size=len(t)) + np.exp(-(rows - 1 - t) / 8)
    return pd.DataFrame({"unit": unit, "t": t, "rul": rows - 1 - t, "heat": heat})


def fit(table: pd.DataFrame, roles: Roles = ROLES, **changed: object) -> SequentialTVAE:
    return SequentialTVAE.fit(table, roles, SMALL.model_copy(update=changed))


def draw(model: SequentialTVAE, **asked: Any) -> pd.DataFrame:
    return pd.concat(model.sample(**asked))


def ask(**wanted: object) -> GenerateConfig:
    return GenerateConfig.model_validate(wanted)


def of_each(table: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Return one value for each life, in all of its rows."""
    return values[table["unit"].to_numpy()]


@pytest.mark.parametrize("dtype", ["str", "int8", "bool", "datetime64[s]", "category"])
def test_lives_of_all_splits_have_ids_of_their_own(dtype: str) -> None:
    table = lives_of(2 if dtype == "bool" else 24)
    table["unit"] = table["unit"].astype(dtype)
    config = ask(train=6000, val=1500, test=1500)
    ids: dict[str, set[Any]] = {}
    for split, chunk in draw_splits(fit(table), config, ROLES):
        ids.setdefault(split, set()).update(chunk["unit"])
    assert sorted(map(len, ids.values())) == [38, 38, 150]
    assert len(set.union(*ids.values())) == 226


@pytest.mark.parametrize("name", ["rows", "left", "start"])
def test_a_column_may_be_called_anything(name: str) -> None:
    table = lives_of()
    table[name] = of_each(table, np.arange(24) * 37.5 + 500) + (
        table["t"] if name == "start" else 0
    )
    drawn = draw(fit(table), lives=5)
    assert (drawn.groupby("unit").size() == 40).all()
    assert (drawn.groupby("unit")["rul"].last() == 0).all()
    assert drawn["t"].between(0, 39).all()
    assert drawn[name].between(table[name].min(), table[name].max()).all()


def test_of_more_lives_than_are_needed_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "MAX_LIVES", 500)
    chance = np.random.default_rng(0)
    traits = np.r_[np.zeros(500), np.ones(500)][:, None] + chance.normal(0, 0.1, (1000, 1))
    none = np.zeros(1000, dtype=np.int64)
    drawn = Population.fit(traits, none, 1, np.zeros(1)).draw(none, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("unit", ["percent", "hours"])
def test_a_life_cut_short_is_not_taken_for_one_that_failed(unit: str) -> None:
    table = lives_of()
    if unit == "percent":
        table["rul"] = (100 * table["rul"] / 39).round(2)
    else:
        table["rul"] = pd.to_timedelta(table["rul"], unit="h")
    table = table[(table["unit"] % 2 == 0) | (table["t"] < 25)].reset_index(drop=True)
    model = fit(table)
    ends = draw(model, lives=40).groupby("unit")["rul"].last()
    reached = ends <= table["rul"].min() + (table["rul"].max() - table["rul"].min()) * 0.02
    assert reached.mean() == pytest.approx(0.5, abs=0.1)
    cut = table.groupby("unit")["rul"].last().max()
    assert ends[~reached].median() / cut == pytest.approx(1, abs=0.3)


def test_a_life_barely_begun_is_as_far_from_its_end_as_most_are() -> None:
    table = lives_of(30)
    table["rul"] = (100 * table["rul"] / 39).round()
    rows = np.where(np.arange(30) < 6, np.array([1, 2])[np.arange(30) % 2], 40)
    model = fit(table[table["t"] < of_each(table, rows)].reset_index(drop=True))
    left = sorted(model.table.covariates[LEFT].values)
    assert left[-7:] == pytest.approx([0, 38, 38, 38, 39, 39, 39], abs=1)


def test_a_rul_that_falls_while_no_time_passes_is_refused() -> None:
    with pytest.raises(BadTable, match="'rul' falls within lives in which no time passes"):
        fit(lives_of().assign(t=5))


def test_a_number_of_a_life_that_some_lives_lack() -> None:
    table = lives_of(30)
    built = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(30) * 9, "D"))
    built[::3] = pd.NaT
    table["built"] = of_each(table, built.to_numpy())
    table["offset"] = of_each(table, np.where(np.arange(30) % 3 == 1, np.nan, np.arange(30) / 7))
    drawn = draw(fit(table), lives=60).groupby("unit")[["built", "offset"]]
    assert (drawn.nunique(dropna=False) == 1).all(axis=None)
    assert drawn.first().isna().mean().tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.05)


def test_a_category_that_some_lives_lack() -> None:
    table, rng = lives_of(40), np.random.default_rng(1)
    grade = rng.choice(["a", "b"], len(table)).astype(object)
    grade[(rng.random(len(table)) < 0.1) | (table["unit"] % 4 == 0)] = None
    table["grade"] = grade
    drawn = draw(fit(table, epochs=12), lives=80)
    gone = drawn["grade"].isna()
    assert gone.groupby(drawn["unit"]).all().mean() == pytest.approx(0.25, abs=0.03)
    assert gone.mean() == pytest.approx(0.25 + 0.75 * 0.1, abs=0.05)


def test_what_tells_that_a_life_has_ended_is_told_there_only() -> None:
    table = lives_of()
    table["failed"] = table["rul"] == 0
    table["heat"] += 9 * table["failed"]  # as a setting would
    table["found"] = np.where(
        table["rul"] <= 2, np.where(table["unit"] % 3 == 0, "smoke", "noise"), None
    )
    drawn = draw(fit(table), lives=60)
    assert (drawn["failed"] == (drawn["rul"] == 0)).all()
    assert (drawn["found"].notna() == (drawn["rul"] <= 2)).all()
    assert (drawn["found"].dropna() == "smoke").mean() == pytest.approx(1 / 3, abs=0.15)


def test_a_code_of_the_last_row_goes_with_the_failure_mode() -> None:
    table, roles = lives_of(), ROLES.model_copy(update={"failure_mode": "mode"})
    table["mode"] = of_each(table, np.array(["wear", "crack", "leak"])[np.arange(24) % 3])
    table["code"] = table["mode"].where(table["rul"] == 0)
    drawn = draw(fit(table, roles), lives=60).groupby("unit").tail(1)
    assert (drawn["code"] == drawn["mode"]).all()


def test_what_tells_an_end_is_lacking_in_lives_that_did_not_end() -> None:
    table = lives_of()
    ended = table["unit"] % 3 > 0
    table["found"] = np.where((table["rul"] == 0) & ended, "smoke", None)
    table["rul"] = table["rul"].where(ended)
    drawn = draw(fit(table), lives=60)
    assert (drawn["found"].notna() == (drawn["rul"] == 0)).all()
    assert drawn["rul"].isna().mean() == pytest.approx(1 / 3, abs=0.05)


def test_what_is_used_up_only_falls() -> None:
    table, rng = lives_of(), np.random.default_rng(0)
    used = pd.Series((rng.random(len(table)) < 0.3).astype(int)).groupby(table["unit"]).cumsum()
    table["fuel"] = 100 - used
    table["stock"] = (table["fuel"] - table["fuel"].min()).astype("uint16")
    table["to_go"] = 3 * table["rul"]
    table["pad"] = (12 - 0.049 * used).round(3)
    model = fit(table)
    assert [(t.name, t.counter) for t in model.table.sensors[1:]] == [
        ("fuel", True), ("stock", True), ("to_go", False), ("pad", True),
    ]  # fmt: skip
    drawn = draw(model, lives=60)
    assert drawn["stock"].dtype == "uint16"
    assert (drawn["pad"] == drawn["pad"].round(3)).all()
    assert drawn["fuel"].min() >= table["fuel"].min()
    falls = drawn["fuel"].groupby(drawn["unit"]).diff().dropna()
    assert set(falls) == {-1, 0}
    assert falls.mean() == pytest.approx(-0.3, abs=0.05)


def test_a_name_of_each_life_tells_the_networks_nothing() -> None:
    table = lives_of()
    table["serial"] = of_each(table, np.array([f"no {n}" for n in range(24)]))
    table["site"] = of_each(table, np.array(["north", "south"])[np.arange(24) % 2])
    model = fit(table)
    assert [model.table.conditions.groups[group].name for group in model.table.inputs] == ["site"]
    assert set(draw(model, lives=10)["serial"]) <= set(table["serial"])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.date_range("2020-01-01", periods=24).strftime("%Y-%m-%d"), "dates as text"),
        (None, "too many for operating states"),
    ],
)
def test_what_has_too_many_values_is_refused(column: Any, message: str) -> None:
    table, roles = lives_of(), ROLES
    if column is None:
        table["odd"], roles = table["t"] % 26, ROLES.model_copy(update={"state": "odd"})
    else:
        table["odd"] = of_each(table, np.array(column))
    with pytest.raises(BadTable, match=f"Column 'odd' holds .*{message}"):
        fit(table, roles)


def test_the_rest_keeps_its_natural_proportions() -> None:
    table = lives_of(60)
    modes, sites = np.repeat(["a", "b", "c"], [40, 15, 5]), np.array(["n", "s"])[np.arange(60) % 2]
    table["mode"], table["site"] = of_each(table, modes), of_each(table, sites)
    model = fit(table, ROLES.model_copy(update={"failure_mode": "mode"}))
    drawn = draw(model, lives=100, conditions=ask(failure_modes={"a": 0.2}))
    shares = drawn.groupby("unit")["mode"].first().value_counts(normalize=True)
    assert shares[["a", "b", "c"]].tolist() == pytest.approx([0.2, 0.6, 0.2], abs=0.02)


def test_failure_modes_that_are_missing() -> None:
    table, roles = lives_of(60), ROLES.model_copy(update={"failure_mode": "mode"})
    table["mode"] = of_each(table, np.repeat([1.0, 2.0, np.nan], 20))
    table["rul"] = table["rul"].where(table["mode"].notna())
    table.loc[table["mode"] == 2.0, "rul"] = np.nan
    model = fit(table, roles)
    assert model.failure_modes == ["1", "2"]
    drawn = draw(model, lives=20, conditions=ask(failure_modes={"1": 1.0}))
    assert (drawn["mode"] == 1.0).all()
    with pytest.raises(BadParameter, match="'2' and late_life cannot be chosen together"):
        draw(model, lives=20, conditions=ask(failure_modes={"2": 0.5}, late_life=0.4))


def test_states_that_are_numbers_and_missing_at_times() -> None:
    table, roles = lives_of(), ROLES.model_copy(update={"state": "gear"})
    gear = np.repeat(np.random.default_rng(0).choice([0, 1, 2, np.nan], len(table) // 8), 8)
    table["gear"] = gear
    model = fit(table, roles)
    assert model.states == ["0", "1", "2"]
    drawn = draw(model, lives=100, conditions=ask(states={"1": 0.7}))
    assert (drawn["gear"] == 1).mean() == pytest.approx(0.7, abs=0.02)
    assert set(draw(model, lives=100, conditions=ask(states={"1": 1.0}))["gear"]) == {1}


def test_states_are_honoured_in_the_rows_that_late_life_keeps() -> None:
    table, roles = lives_of(), ROLES.model_copy(update={"state": "state"})
    busy = np.random.default_rng(0).random(len(table)) < np.where(table["t"] < 20, 0.95, 0.05)
    table["state"] = np.where(busy, "warm", "cold")
    asked = ask(states={"warm": 0.5}, late_life=0.4)
    drawn = draw(fit(table, roles), lives=200, conditions=asked)
    assert (drawn["state"] == "warm").mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("asked", [(60, 70), (31, 31)])
def test_lengths_that_no_training_life_has_are_honoured(asked: tuple[int, int]) -> None:
    short, long = lives_of(12, rows=30), lives_of(12, rows=100)
    table = pd.concat([short, long.assign(unit=long["unit"] + 12)], ignore_index=True)
    drawn = draw(fit(table), lives=50, conditions=ask(life_rows=asked))
    assert drawn.groupby("unit").size().between(*asked).all()


@pytest.mark.parametrize(("rows", "asked"), [(4, 0.1), (6, 0.1), (40, 0.1), (20, 0.9)])
def test_late_life_is_honoured_however_short_the_lives(rows: int, asked: float) -> None:
    drawn = draw(fit(lives_of(rows=rows)), lives=2000, conditions=ask(late_life=asked))
    late = drawn["rul"] <= 0.2 * (rows - 1)
    assert late.mean() == pytest.approx(asked, abs=0.02)
    if asked > 0.2:
        assert (drawn.groupby("unit")["rul"].last() == 0).all()
    assert drawn["unit"].nunique() == 2000


def test_late_life_loses_no_life_where_few_are_seen_to_their_end() -> None:
    table = lives_of(40)
    table = table[(table["unit"] == 0) | (table["t"] < 3)].reset_index(drop=True)
    drawn = draw(fit(table), lives=50, conditions=ask(late_life=0.4))
    assert drawn["unit"].nunique() == 50


def test_a_checkpoint_belongs_to_the_roles_too() -> None:
    table, states = lives_of(), []
    table["mode"] = of_each(table, np.array(["a", "b"])[np.arange(24) % 2])
    roles = ROLES.model_copy(update={"failure_mode": "mode"})
    SequentialTVAE.fit(table, roles, SMALL, on_checkpoint=lambda _, state: states.append(state()))
    for left_out in ("rul", "failure_mode"):
        with pytest.raises(BadParameter, match="belongs to another table or configuration"):
            other = roles.model_copy(update={left_out: None})
            SequentialTVAE.fit(table, other, SMALL, resume=states[-1])


def test_rare_words_are_of_each_seed_its_own() -> None:
    table = lives_of(60)
    words = np.random.default_rng(0).permutation(np.arange(len(table)) % 900)
    table["word"] = np.array([f"w{n}" for n in range(900)])[words]
    model = fit(table)
    assert not draw(model, lives=5, seed=1)["word"].equals(draw(model, lives=5, seed=2)["word"])


def test_the_hour_of_the_day_shows() -> None:
    table = lives_of(24, rows=96)
    table["t"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(table["t"] + 7 * table["unit"], "h")
    table["heat"] += 3 * np.sin(2 * np.pi * table["t"].dt.hour / 24)
    drawn = draw(fit(table, epochs=40), lives=40)
    by_hour = (rows.groupby(rows["t"].dt.hour)["heat"].mean() for rows in (table, drawn))
    assert np.corrcoef(*by_hour)[0, 1] > 0.9


def test_a_row_still_tells_the_load_of_fifty_rows_ago() -> None:
    """What lags it by so many, as oil does, could not be told from it otherwise."""
    table = lives_of(24, 60)
    table["state"] = np.where((table["t"] < 10) & (table["unit"] % 2 == 0), "load", "idle")
    found = TrainingLives(table, ROLES.model_copy(update={"state": "state"}), SMALL)
    last = found.features[found.packed.starts[1:] - 1]
    assert np.ptp(last, axis=0).max() > 0.3


def test_levels_of_lives_differ_as_those_of_held_out_ones_do() -> None:
    rng, held_out = np.random.default_rng(0), np.arange(400) >= 300
    offset = rng.normal(0, [0.1, 0.3], (400, 2))
    root = level_root(offset, held_out)
    assert np.sqrt(np.diag(root @ root.T)) == pytest.approx([0.1, 0.3], rel=0.2)
    wider = level_root(np.where(held_out[:, None], 3 * offset, offset), held_out)
    half_way = 3**0.5  # of the threefold deviation, on a logarithmic scale
    assert np.sqrt(np.diag(wider @ wider.T)) / [0.1, 0.3] == pytest.approx(half_way, rel=0.2)


def levels_found(residual: np.ndarray, packed: Packed) -> np.ndarray:
    """Return the variance of the levels that lives are drawn with, (columns,)."""
    guess, differ = estimate_levels(residual, packed)
    return np.asarray((differ * guess).var(axis=0))


def test_a_mean_that_a_long_memory_brings_about_is_no_level() -> None:
    """The past draws it anew: as a level it would be drawn twice."""
    rng, lives, rows = np.random.default_rng(0), 400, 200
    packed = Packed(np.full(lives, rows))
    pushed = rng.normal(size=(lives, rows))
    drifting = lfilter([1.0], [1.0, -0.9], pushed, axis=1).reshape(-1)
    level = 2 * rng.normal(size=lives)
    found = levels_found(np.column_stack([drifting, level[packed.life] + drifting]), packed)
    by_chance = drifting.reshape(lives, rows).mean(axis=1).var()
    assert found[0] < 0.4 * by_chance
    assert found[1] == pytest.approx(level.var(), rel=0.1)


@pytest.mark.parametrize("lengths", [(20, 20), (12, 200), (5, 200)])
def test_levels_are_found_in_short_lives_and_long_ones(lengths: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    packed = Packed(np.repeat(lengths, 1_000))
    level = 0.5 * rng.normal(size=2_000)
    residual = (level[packed.life] + rng.normal(size=len(packed.life)))[:, None]
    assert levels_found(residual, packed) == pytest.approx(
        0.25 * np.mean(np.array(lengths) >= MIN_ROWS), rel=0.15
    )
    guess = estimate_levels(residual, packed)[0][:, 0]
    long = np.repeat(lengths, 1_000) == lengths[1]
    shrunk = 0.25 / (0.25 + 1 / lengths[1])
    assert np.polyfit(level[long], guess[long], 1)[0] == pytest.approx(shrunk, rel=0.05)


def test_where_most_of_a_column_is_missing_its_levels_are_what_is_left() -> None:
    rng, lives, rows = np.random.default_rng(2), 1_000, 400
    packed = Packed(np.full(lives, rows))
    level = 0.3 * rng.normal(size=lives)
    residual = level[packed.life] + rng.normal(size=lives * rows)
    late = packed.age >= rows // 4
    residual[late & (rng.random(len(residual)) < 0.97)] = np.nan
    assert levels_found(residual[:, None], packed) == pytest.approx(0.09, rel=0.15)


def test_one_life_has_no_level_beside_its_curve() -> None:
    guess, differ = estimate_levels(
        np.random.default_rng(0).normal(size=(50, 2)), Packed(np.array([50]))
    )
    assert not guess.any() and not (differ * guess).any()


def test_held_out_lives_are_asked_in_both_phases() -> None:
    model = fit(lives_of(), epochs=8)
    asked = [epoch.validation for epoch in model.history]
    assert len(set(asked)) == len(asked) == 8
