"""The model of lives, on small tables that show one difficulty each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gan_lab.errors import BadParameter, BadTable
from gan_lab.schema import Epoch, GenerateConfig, Roles, TrainConfig
from gan_lab.synth.lives.fitting import Fitting
from gan_lab.synth.lives.packed import Packed
from gan_lab.synth.lives.scale import Scale
from gan_lab.synth.lives.sequential import SequentialTVAE
from gan_lab.synth.lives.variance import before_rounding
from gan_lab.synth.network.model_file import unpack

ROLES = Roles(life="machine", time="time", rul="rul", state="state", failure_mode="failure_mode")
SMALL = TrainConfig(
    epochs=6, embedding_dim=8, compress_dims=(32,), decompress_dims=(32,), batch_size=200
)


def wearing_machines(lives: int = 24, seed: int = 0) -> pd.DataFrame:
    """Lives with all that a real table has: gaps, categories, counters, states, two failure
    modes."""
    rng = np.random.default_rng(seed)
    parts = []
    for life in range(lives):
        rows = int(rng.integers(30, 60))
        age = np.arange(rows)
        left = rows - 1 - age
        state = np.repeat(rng.integers(0, 3, rows // 5 + 1), 5)[:rows]
        mode = "bearing" if life % 4 == 0 else "winding"
        wear = np.exp(-left / 8) * (3 if mode == "bearing" else 1)
        heat = 40 + 10 * state + 20 * wear + rng.normal(0, 1, rows) + rng.normal()
        gap = np.convolve(rng.random(rows) < 0.02, np.ones(4), "same") > 0
        parts.append(
            pd.DataFrame(
                {
                    "machine": life + 100,
                    "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(age + 60 * life, "h"),
                    "state": np.array(["idle", "half", "full"])[state],
                    "heat": np.where(gap, np.nan, heat.round(1)),
                    "speed": np.array([0, 700, 1500])[state],
                    "starts": 5 + np.cumsum(rng.random(rows) < 0.3),
                    "alarm": wear + rng.normal(0, 0.1, rows) > 0.5,
                    "load": (100 * rng.random(rows)).round().astype(int),
                    "firmware": "v2",
                    "site": np.array(["north", "south"])[life % 2],
                    "failure_mode": mode,
                    "rul": left,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return wearing_machines()


@pytest.fixture(scope="module")
def model(table: pd.DataFrame) -> SequentialTVAE:
    return SequentialTVAE.fit(table, ROLES, SMALL)


def draw(model: SequentialTVAE, **asked: object) -> pd.DataFrame:
    return pd.concat(model.sample(**asked))  # type: ignore[arg-type]


def test_rows_are_exact_and_lives_whole(model: SequentialTVAE, table: pd.DataFrame) -> None:
    drawn = draw(model, rows=500, first_life=7)
    assert len(drawn) == 500
    assert list(drawn.columns) == list(table.columns)
    assert (drawn.dtypes == table.dtypes).all()
    assert drawn["machine"].unique().tolist() == list(range(7, 7 + drawn["machine"].nunique()))
    assert (drawn.groupby("machine")["rul"].last() == 0).all()
    falls = drawn.groupby("machine")["rul"].diff().dropna()
    assert (falls == -1).all()
    steps = drawn.groupby("machine")["time"].diff().dropna()
    assert (steps == pd.Timedelta("1h")).all()


def test_columns_keep_their_nature(model: SequentialTVAE, table: pd.DataFrame) -> None:
    drawn = draw(model, lives=40)
    assert drawn["machine"].nunique() == 40
    assert set(drawn["speed"]) <= {0, 700, 1500}
    assert (drawn["firmware"] == "v2").all()
    assert (drawn.groupby("machine")[["site", "failure_mode"]].nunique() == 1).all(axis=None)
    assert (drawn.groupby("machine")["starts"].diff().dropna() >= 0).all()
    speed_of = {"idle": 0, "half": 700, "full": 1500}
    assert (drawn["speed"] == drawn["state"].map(speed_of)).all()
    assert drawn["heat"].dropna().between(table["heat"].min(), table["heat"].max()).all()
    assert (drawn["heat"].dropna().round(1) == drawn["heat"].dropna()).all()


def test_gaps_come_as_often_and_in_such_runs(model: SequentialTVAE, table: pd.DataFrame) -> None:
    drawn = draw(model, lives=200)

    def runs(rows: pd.DataFrame) -> tuple[float, float]:
        gone = rows["heat"].isna()
        starts = gone & ~gone.groupby(rows["machine"]).shift(fill_value=False)
        return gone.mean(), gone.sum() / starts.sum()

    share, length = runs(table)
    drawn_share, drawn_length = runs(drawn)
    assert drawn_share == pytest.approx(share, abs=0.03)
    assert drawn_length == pytest.approx(length, rel=0.35)


def test_same_seed_same_rows(model: SequentialTVAE) -> None:
    pd.testing.assert_frame_equal(draw(model, rows=300, seed=4), draw(model, rows=300, seed=4))
    assert not draw(model, rows=300, seed=4).equals(draw(model, rows=300, seed=5))


def test_failure_modes_are_honoured(model: SequentialTVAE) -> None:
    asked = GenerateConfig(failure_modes={"bearing": 0.7})
    drawn = draw(model, lives=200, conditions=asked)
    assert (drawn.groupby("machine")["failure_mode"].first() == "bearing").mean() == pytest.approx(
        0.7, abs=0.02
    )


@pytest.mark.parametrize(("lives", "most"), [(1, 1), (7, 1), (24, 0), (48, 0)])
def test_conditions_come_as_often_as_in_the_training_lives(
    model: SequentialTVAE, table: pd.DataFrame, lives: int, most: int
) -> None:
    asked = ["site", "failure_mode"]
    shares = table.groupby("machine")[asked].first().value_counts(normalize=True)
    drawn = draw(model, lives=lives, seed=5).groupby("machine")[asked].first().value_counts()
    missed = drawn.reindex(shares.index, fill_value=0) - shares * lives
    assert (missed.abs() <= most).all()


def test_late_life_is_honoured(model: SequentialTVAE) -> None:
    for share in (0.1, 0.4):
        drawn = draw(model, lives=200, conditions=GenerateConfig(late_life=share))
        whole = draw(model, lives=200).groupby("machine").size()
        late = drawn["rul"] <= 0.2 * (whole[drawn["machine"]].to_numpy() - 1)
        assert late.mean() == pytest.approx(share, abs=0.02)


def test_life_rows_are_honoured(model: SequentialTVAE) -> None:
    drawn = draw(model, lives=50, conditions=GenerateConfig(life_rows=(35, 45)))
    assert drawn.groupby("machine").size().between(35, 45).all()
    with pytest.raises(BadParameter, match="34 to 58"):
        draw(model, lives=5, conditions=GenerateConfig(life_rows=(500, 600)))


def test_states_are_honoured(model: SequentialTVAE) -> None:
    drawn = draw(model, lives=400, conditions=GenerateConfig(states={"idle": 0.6}))
    assert (drawn["state"] == "idle").mean() == pytest.approx(0.6, abs=0.02)


def test_what_cannot_be_asked_is_named(model: SequentialTVAE) -> None:
    with pytest.raises(BadParameter, match="'gearbox'.*bearing"):
        draw(model, lives=5, conditions=GenerateConfig(failure_modes={"gearbox": 0.5}))
    with pytest.raises(BadParameter, match="rows or for lives"):
        draw(model)


@pytest.mark.parametrize("interrupted", [2, 3, 5])
def test_resumed_training_draws_the_same_rows(table: pd.DataFrame, interrupted: int) -> None:
    states: dict[int, bytes] = {}
    whole = SequentialTVAE.fit(
        table, ROLES, SMALL, on_checkpoint=lambda epoch, state: states.update({epoch: state()})
    )
    resumed = SequentialTVAE.fit(table, ROLES, SMALL, resume=states[interrupted])
    assert [e.epoch for e in resumed.history] == [e.epoch for e in whole.history]
    same = pd.testing.assert_frame_equal
    same(draw(whole, rows=200), draw(resumed, rows=200), check_exact=True)
    with pytest.raises(BadParameter, match="another table"):
        SequentialTVAE.fit(table.iloc[:-1], ROLES, SMALL, resume=states[interrupted])


@pytest.mark.slow
def test_training_resumed_around_the_return_to_the_best_weights_is_the_same(
    table: pd.DataFrame,
) -> None:
    """Held-out lives have it that the curve goes back to what it was some epochs ago."""
    config, states = SMALL.model_copy(update={"epochs": 80}), dict[int, bytes]()

    def keep(epoch: int, state: Callable[[], bytes]) -> None:
        states[epoch] = state()

    whole = SequentialTVAE.fit(table, ROLES, config, on_checkpoint=keep)
    numbers = {epoch: unpack(state, "The checkpoint")[1] for epoch, state in states.items()}
    back = next(
        epoch
        for epoch, meta in numbers.items()
        if meta["phase"] == 1 and meta["numbers"]["cooling_from"] == epoch
    )
    assert numbers[back]["numbers"]["best_epoch"] < back
    for interrupted in (back - 1, back, back + 1):
        resumed = SequentialTVAE.fit(table, ROLES, config, resume=states[interrupted])
        assert resumed.curve.level_share.any()
        for name, weights in whole.curve.state_dict().items():
            assert torch.equal(weights, resumed.curve.state_dict()[name]), name


def test_training_computes_on_one_thread_however_many_there_are(table: pd.DataFrame) -> None:
    threads, within = torch.get_num_threads(), []

    def look(_: Epoch) -> bool:
        within.append(torch.get_num_threads())
        return True

    torch.set_num_threads(2)
    try:
        SequentialTVAE.fit(table, ROLES, SMALL, on_epoch=look)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert within == [1]


def test_saved_model_draws_the_same_rows(model: SequentialTVAE, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    pd.testing.assert_frame_equal(draw(SequentialTVAE.load(path), rows=200), draw(model, rows=200))
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadParameter, match="altered"):
        SequentialTVAE.load(path)


def test_epochs_are_numbered_through_both_phases_and_can_be_stopped(table: pd.DataFrame) -> None:
    said: list[Epoch] = []

    def stop_at_four(epoch: Epoch) -> bool:
        said.append(epoch)
        return epoch.epoch == 4

    model = SequentialTVAE.fit(table, ROLES, SMALL, stop_at_four)
    assert [epoch.epoch for epoch in said] == [1, 2, 3, 4]
    assert all(epoch.epochs == 6 and np.isfinite(epoch.loss) for epoch in said)
    assert len(draw(model, rows=100)) == 100


@pytest.mark.slow
def test_held_out_lives_decide(table: pd.DataFrame) -> None:
    many = SMALL.model_copy(update={"epochs": 2000})
    model = SequentialTVAE.fit(table, ROLES, many)
    assert len(model.history) < 1000
    assert "held-out lives decided" in " ".join(model.notes())


@pytest.mark.slow
def test_wear_shows_in_the_lives_that_are_drawn(table: pd.DataFrame) -> None:
    model = SequentialTVAE.fit(table, ROLES, SMALL.model_copy(update={"epochs": 120}))
    drawn = draw(model, lives=100)
    for rows in (table, drawn):
        hot = rows[rows["rul"] < 3].groupby("failure_mode")["heat"].mean()
        cool = rows[rows["rul"] > 25].groupby("failure_mode")["heat"].mean()
        assert (hot - cool)["bearing"] > (hot - cool)["winding"] + 10
    assert drawn[drawn["rul"] < 3]["alarm"].mean() > 0.6
    assert drawn[drawn["rul"] > 25]["alarm"].mean() < 0.2


ODD = {
    "no rul": ({}, ["rul"], {"rul": None}),
    "no state": ({}, ["state"], {"state": None}),
    "no time": ({}, ["time"], {"time": None}),
    "only time": ({}, ["rul", "state", "failure_mode"], dict.fromkeys(
        ["rul", "state", "failure_mode"])),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_tables_without_a_role(table: pd.DataFrame, case: str) -> None:
    _, dropped, roles = ODD[case]
    fewer = table.drop(columns=dropped)
    model = SequentialTVAE.fit(fewer, ROLES.model_copy(update=roles), SMALL)
    drawn = draw(model, rows=333)
    assert len(drawn) == 333
    assert list(drawn.columns) == list(fewer.columns)


@pytest.mark.parametrize("kept", [["load", "heat"], ["alarm", "state"]])
def test_lives_of_numbers_alone_or_of_words_alone(table: pd.DataFrame, kept: list[str]) -> None:
    fewer = table[["machine", "rul", *kept]]
    roles = Roles(life="machine", rul="rul")
    drawn = draw(SequentialTVAE.fit(fewer, roles, SMALL), lives=60)
    for name in kept:
        assert drawn[name].isna().mean() == pytest.approx(fewer[name].isna().mean(), abs=0.03)
        if drawn[name].dtype.kind in "if":
            assert drawn[name].std() == pytest.approx(fewer[name].std(), rel=0.2)
        else:
            shares = fewer[name].value_counts(normalize=True)
            found = drawn[name].value_counts(normalize=True)
            assert (found - shares).abs().max() < 0.15


def test_lives_differ_in_categories() -> None:
    rng = np.random.default_rng(0)
    shares = np.where(np.arange(30) % 2, 0.85, 0.15).repeat(40)
    table = pd.DataFrame({"unit": np.arange(1200) // 40, "door": rng.random(1200) < shares})
    table["heat"] = rng.normal(size=1200)
    config = SMALL.model_copy(update={"epochs": 80, "early_stopping": False})
    drawn = draw(SequentialTVAE.fit(table, Roles(life="unit"), config), lives=60)
    spread, real = (rows.groupby("unit")["door"].mean().std() for rows in (drawn, table))
    assert spread == pytest.approx(real, rel=0.2)


def test_rounding_adds_what_was_not_drawn() -> None:
    rng = np.random.default_rng(0)
    rounded = (rng.normal(0, 1, (4000, 3)) * [0.6, 3.0, 0.1]).round()
    seen = np.float32(rounded.std(axis=0, keepdims=True))
    (drawn,) = before_rounding(seen, np.ones((1, 3)))
    assert drawn[:2] == pytest.approx([0.6, 3.0], rel=0.03)
    assert drawn[2] == seen[0, 2]  # a grid so wide says nothing of what lies within it


def test_a_scale_on_which_noise_is_the_same_at_every_level() -> None:
    rng, packed = np.random.default_rng(0), Packed(np.full(40, 200))
    level = np.exp(packed.age / 60) * 3
    readings = level * (1 + 0.03 * rng.normal(size=len(level)))
    regime = np.zeros(len(level), dtype=np.int64)
    scale = Scale.fit(readings, regime, packed)
    noise = [
        (scale.transform(readings) - scale.transform(level))[packed.age // 50 == k]
        for k in range(4)
    ]
    assert np.std(noise, axis=1) == pytest.approx(np.std(noise), rel=0.15)
    assert scale.inverse_transform(scale.transform(readings)) == pytest.approx(readings)
    assert not Scale.fit(level + 0.1 * rng.normal(size=len(level)), regime, packed).readings


def test_a_sensor_at_rest_says_nothing_of_its_noise() -> None:
    rng, packed = np.random.default_rng(0), Packed(np.full(40, 200))
    on = packed.age // 20 % 2
    readings = np.where(on, rng.normal(50, 1, len(on)), 0.0)
    readings[5] = np.nan
    assert not Scale.fit(readings, on, packed).readings
    places = Scale.fit(readings, np.zeros_like(on), packed).transform(
        readings
    )  # nobody names regimes
    noise = [np.nanstd(values[on == 1]) / np.nanstd(values) for values in (places, readings)]
    assert noise[0] > 0.8 * noise[1]


def test_what_scatters_more_the_more_it_is_worn() -> None:
    rng, packed = np.random.default_rng(0), Packed(np.full(40, 100))
    worn = np.exp((packed.age - 99) / 15)
    rows = pd.DataFrame({"unit": packed.life, "t": packed.age, "rul": 99 - packed.age})
    rows["rough"] = (1 + 6 * worn) * rng.normal(size=len(rows))  # no level: a mean of 0 throughout
    rows["heat"] = 5 * worn + rng.normal(size=len(rows))
    model = SequentialTVAE.fit(rows, Roles(life="unit", time="t", rul="rul"), SMALL)
    drawn = draw(model, lives=60)
    late, early = (
        [t[t["rul"].between(*span)]["rough"].std() for t in (drawn, rows)]
        for span in ((0, 5), (60, 99))
    )
    assert late[0] == pytest.approx(late[1], rel=0.2)
    assert early[0] == pytest.approx(early[1], rel=0.2)


def test_what_is_told_of_a_life_is_not_who_it_is() -> None:
    """A failure mode belongs to the common curve, or lives drawn of it would blur into another."""
    rows = two_kinds()
    roles = Roles(life="unit", time="t", rul="rul", failure_mode="mode")
    fitting = Fitting(rows, roles, SMALL)
    fitting.run()
    mode = rows.groupby("unit")["mode"].first().eq("b").to_numpy()
    w = fitting.effects.mean.numpy()
    between = np.abs(w[mode].mean(axis=0) - w[~mode].mean(axis=0)).max()
    assert between < 0.5 * w.std(axis=0).max()
    drawn = draw(SequentialTVAE.fit(rows, roles, SMALL), lives=200)
    levels = drawn.groupby("unit").agg({"mode": "first", "heat": "mean"})
    seen = rows.groupby("unit").agg({"mode": "first", "heat": "mean"})
    for kind in "ab":
        found, known = (each[each["mode"] == kind]["heat"] for each in (levels, seen))
        assert found.mean() == pytest.approx(known.mean(), abs=0.4)
        assert found.std() == pytest.approx(known.std(), rel=0.3)


def two_kinds(lives: int = 40, rows: int = 60) -> pd.DataFrame:
    """Lives of two failure modes that are far apart, each a bit different from the next."""
    rng, life = np.random.default_rng(0), np.arange(lives).repeat(rows)
    table = pd.DataFrame({"unit": life, "t": np.tile(np.arange(rows), lives)})
    table["rul"] = rows - 1 - table["t"]
    table["mode"] = np.array(["a", "b"])[life % 2]
    own = rng.normal(size=lives)[life] + 6.0 * (life % 2)
    table["heat"] = own + 0.3 * rng.normal(size=len(life))
    table["wear"] = np.exp(-table["rul"] / 10) * (1 + (life % 2)) + 0.1 * rng.normal(size=len(life))
    return table


@pytest.mark.parametrize("kept", [["mode"], ["state"], ["mode", "size"]])
def test_a_table_may_have_no_number_to_learn(kept: list[str]) -> None:
    table = two_kinds().drop(columns=["heat", "wear", "mode"])
    table["mode"], table["size"] = table["unit"].mod(2).map({0: "a", 1: "b"}), table["unit"] * 0.5
    table["state"] = np.where(table["t"] // 10 % 2, "on", "off")
    roles = Roles(
        life="unit", time="t", rul="rul", failure_mode="mode" if "mode" in kept else None,
        state="state" if "state" in kept else None,
    )  # fmt: skip
    table = table[["unit", "t", "rul", *kept]]
    drawn = draw(SequentialTVAE.fit(table, roles, SMALL), lives=5)
    assert list(drawn) == list(table) and (drawn.groupby("unit")["rul"].last() == 0).all()


def test_regimes_are_found_and_can_be_overruled(table: pd.DataFrame) -> None:
    fewer = table.drop(columns=["state"])
    roles = ROLES.model_copy(update={"state": None})
    assert SequentialTVAE.fit(fewer, roles, SMALL).table.regime_columns == ["speed"]
    none = SMALL.model_copy(update={"regimes": "none"})
    assert SequentialTVAE.fit(fewer, roles, none).table.regimes == 1
    with pytest.raises(BadParameter, match="'heat' cannot make the regimes"):
        SequentialTVAE.fit(fewer, roles, SMALL.model_copy(update={"regimes": "heat"}))


def test_a_single_life(table: pd.DataFrame) -> None:
    one = table[table["machine"] == 105]
    drawn = draw(SequentialTVAE.fit(one, ROLES, SMALL), lives=3)
    assert drawn["machine"].tolist() == np.repeat([1, 2, 3], len(one)).tolist()


def test_lives_of_one_row(table: pd.DataFrame) -> None:
    short = pd.concat(
        [table[table["machine"] < 110], table[table["machine"] >= 110].groupby("machine").tail(1)]
    )
    drawn = draw(SequentialTVAE.fit(short, ROLES, SMALL), lives=50)
    assert drawn.groupby("machine").size().min() == 1


def test_capped_and_censored_lives(table: pd.DataFrame) -> None:
    cut = table[(table["machine"] % 2 == 0) | (table["rul"] > 10)].copy()
    cut["rul"] = cut["rul"].clip(upper=25)
    drawn = draw(SequentialTVAE.fit(cut, ROLES, SMALL), lives=100)
    assert drawn["rul"].max() == 25
    ends = drawn.groupby("machine")["rul"].last()
    assert (ends > 5).mean() == pytest.approx(0.5, abs=0.15)


def test_unequal_steps(table: pd.DataFrame) -> None:
    thinned = table.sample(frac=0.7, random_state=0).sort_index()
    drawn = draw(SequentialTVAE.fit(thinned, ROLES, SMALL), lives=50)
    steps = drawn.groupby("machine")["time"].diff().dropna().dt.total_seconds() / 3600
    real = thinned.groupby("machine")["time"].diff().dropna().dt.total_seconds() / 3600
    assert set(steps) <= set(real)
    assert steps.mean() == pytest.approx(real.mean(), rel=0.05)


@pytest.mark.parametrize(
    ("column", "values", "named"),
    [
        ("heat", np.inf, "'heat' holds infinite"),
        ("machine", None, "'machine' is missing"),
        ("note", None, "'note' has no value"),
        ("rul", "rising", "'rul' rises within a life"),
    ],
)
def test_what_cannot_be_modelled_is_refused_by_name(
    table: pd.DataFrame, column: str, values: object, named: str
) -> None:
    wrong = table.copy()
    if values == "rising":
        wrong[column] = -wrong[column]
    elif column == "note":
        wrong[column] = np.nan
    else:
        wrong[column] = wrong[column].astype(float)
        wrong.loc[3, column] = values
    with pytest.raises(BadTable, match=named):
        SequentialTVAE.fit(wrong, ROLES, SMALL)
