"""The model of plain tables: learns, resumes, draws, keeps what the table kept, refuses what it
must."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gan_lab.errors import BadParameter, BadTable, TaskFailed
from gan_lab.schema import Epoch, GenerateConfig, Roles, TrainConfig
from gan_lab.synth.tabular.model import CHUNK_ROWS, TabularTVAE

QUICK = TrainConfig(
    epochs=6, batch_size=200, embedding_dim=16, compress_dims=(32,), decoder="network"
)


def make_table(rows: int = 1000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    load = rng.choice([0.0, 50.0, 100.0], rows, p=[0.2, 0.5, 0.3])
    heat = 20 + 0.6 * load + rng.normal(0, 2, rows)
    return pd.DataFrame(
        {
            "load": load,
            "heat": heat.round(1),
            "speed": (1500 - 2 * load + rng.normal(0, 10, rows)).round().astype(int),
            "rul": rng.integers(0, 400, rows).clip(max=125),
            "fault": np.where(rng.random(rows) < 0.02, "hot", "none"),
            "gaps": np.where(rng.random(rows) < 0.1, np.nan, heat * 2),
            "plant": "north",
        }
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return make_table()


@pytest.fixture(scope="module")
def model(table: pd.DataFrame) -> TabularTVAE:
    return TabularTVAE.fit(table, Roles(rul="rul"), QUICK)


def draw(model: TabularTVAE, rows: int = 1000, seed: int = 0) -> pd.DataFrame:
    return pd.concat(model.sample(rows=rows, seed=seed))


@pytest.fixture(scope="module")
def learned() -> tuple[pd.DataFrame, pd.DataFrame]:
    table = make_table(4000)
    config = TrainConfig(epochs=60, batch_size=200, seed=1, decoder="network")
    return table, draw(TabularTVAE.fit(table, Roles(), config), 8000)


@pytest.mark.slow
def test_what_is_drawn_follows_what_was_learned(
    learned: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    real, drawn = learned
    assert drawn["heat"].corr(drawn["load"]) > 0.9
    assert drawn["speed"].corr(drawn["load"]) < -0.9
    assert drawn["heat"].mean() == pytest.approx(real["heat"].mean(), rel=0.05)
    assert drawn["gaps"].isna().mean() == pytest.approx(real["gaps"].isna().mean(), abs=0.03)
    hot = (real["fault"] == "hot").mean()
    assert hot / 1.5 < (drawn["fault"] == "hot").mean() < hot * 1.5


def test_what_is_drawn_keeps_names_types_bounds_and_rounding(
    table: pd.DataFrame, model: TabularTVAE
) -> None:
    drawn = draw(model, 5000)
    assert drawn.dtypes.to_dict() == table.dtypes.to_dict()
    for name in ("load", "heat", "speed", "rul", "gaps"):
        assert drawn[name].min() >= table[name].min()
        assert drawn[name].max() <= table[name].max()
    assert (drawn["heat"] == drawn["heat"].round(1)).all()
    assert set(drawn["load"]) <= set(table["load"])
    assert set(drawn["plant"]) == {"north"}


def test_same_seed_same_rows(table: pd.DataFrame, model: TabularTVAE) -> None:
    again = TabularTVAE.fit(table, Roles(rul="rul"), QUICK)
    pd.testing.assert_frame_equal(draw(model), draw(again), check_exact=True)
    assert not draw(model, seed=1).equals(draw(model, seed=2))


def test_a_killed_training_resumes_bit_for_bit(table: pd.DataFrame, model: TabularTVAE) -> None:
    states: dict[int, bytes] = {}

    def keep(epoch: int, state: Callable[[], bytes]) -> None:
        if epoch == 3:
            states[epoch] = state()

    def stop(epoch: Epoch) -> bool:
        return epoch.epoch == 4

    stopped = TabularTVAE.fit(table, Roles(rul="rul"), QUICK, stop, on_checkpoint=keep)
    assert len(stopped.history) == 4
    resumed = TabularTVAE.fit(table, Roles(rul="rul"), QUICK, resume=states[3])
    pd.testing.assert_frame_equal(draw(resumed), draw(model), check_exact=True)
    assert [e.loss for e in resumed.history] == [e.loss for e in model.history]


def test_a_checkpoint_of_another_table_is_refused(table: pd.DataFrame) -> None:
    states: list[bytes] = []
    config = QUICK.model_copy(update={"epochs": 1})
    TabularTVAE.fit(table, Roles(), config, on_checkpoint=lambda _, state: states.append(state()))
    with pytest.raises(BadParameter, match="another table or configuration"):
        TabularTVAE.fit(make_table(seed=5), Roles(), config, resume=states[0])
    broken = states[0][:-1] + bytes([states[0][-1] ^ 1])
    with pytest.raises(BadParameter, match="altered"):
        TabularTVAE.fit(table, Roles(), config, resume=broken)


def test_epochs_say_what_happened(table: pd.DataFrame) -> None:
    said: list[Epoch] = []
    config = QUICK.model_copy(update={"validation": 0.2})
    TabularTVAE.fit(table, Roles(), config, on_epoch=lambda epoch: bool(said.append(epoch)))
    assert [epoch.epoch for epoch in said] == [1, 2, 3, 4, 5, 6]
    assert said[-1].loss < said[0].loss
    last = said[-1]
    assert last.loss == pytest.approx(config.loss_factor * last.reconstruction + last.kl)
    assert last.validation is not None and np.isfinite(last.validation)
    assert last.rows_per_second > 0 and last.seconds > 0


def test_a_saved_model_draws_the_same_rows(model: TabularTVAE, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = TabularTVAE.load(tmp_path / "model")
    pd.testing.assert_frame_equal(draw(loaded), draw(model), check_exact=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert loaded.history == model.history and loaded.config == model.config


def test_a_model_of_numbers_alone_or_of_words_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    numbers = pd.DataFrame({"x": x, "y": x + rng.normal(size=400)})
    words = pd.DataFrame({"a": rng.choice(["u", "v"], 400), "b": rng.choice([1, 2, 3], 400)})
    for table in (numbers, words):
        model = TabularTVAE.fit(table, Roles(), QUICK)
        model.save(tmp_path / "model")
        drawn = draw(TabularTVAE.load(tmp_path / "model"))
        pd.testing.assert_frame_equal(drawn, draw(model), check_exact=True)
        assert drawn.dtypes.to_dict() == table.dtypes.to_dict()
        if table is numbers:
            assert (drawn <= table.median()).mean().to_numpy() == pytest.approx(0.5, abs=0.2)
        else:
            for name in table:
                shares = drawn[name].value_counts(normalize=True)
                real = table[name].value_counts(normalize=True)
                assert shares[real.index].to_numpy() == pytest.approx(real.to_numpy(), abs=0.2)


def test_a_model_file_of_another_format_is_refused(
    model: TabularTVAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("gan_lab.synth.network.model_file.FORMAT", 1)
        model.save(tmp_path / "model")
    with pytest.raises(BadParameter, match="has format 1; this version reads"):
        TabularTVAE.load(tmp_path / "model")


def test_a_model_file_altered_by_one_byte_is_refused(model: TabularTVAE, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    data = (tmp_path / "model").read_bytes()
    places = [0, 7, 8, 20, len(data) // 2, len(data) - 1]
    places += np.random.default_rng(0).integers(0, len(data), 40).tolist()
    for place in places:
        altered = data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :]
        (tmp_path / "altered").write_bytes(altered)
        with pytest.raises(BadParameter, match="altered"):
            TabularTVAE.load(tmp_path / "altered")
    with pytest.raises(BadParameter, match="no model file"):
        TabularTVAE.load(tmp_path / "absent")


def test_rows_are_streamed_in_chunks_and_do_not_depend_on_how_many(model: TabularTVAE) -> None:
    chunks = model.sample(rows=10**12, seed=4)
    first, second = next(chunks), next(chunks)
    assert len(first) == CHUNK_ROWS
    assert second.index[0] == CHUNK_ROWS
    whole = draw(model, 2 * CHUNK_ROWS, seed=4)
    pd.testing.assert_frame_equal(pd.concat([first, second]), whole, check_exact=True)


def test_the_life_is_no_feature(table: pd.DataFrame) -> None:
    lives = table.assign(unit=np.arange(len(table)) // 100)
    model = TabularTVAE.fit(lives, Roles(life="unit"), QUICK.model_copy(update={"epochs": 1}))
    assert list(draw(model, 10).columns) == list(table.columns)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (make_table().iloc[:1], "1 rows"),
        (make_table().iloc[:5], "fewer rows than columns"),
        (pd.DataFrame({"a": [1.0] * 50, "b": ["x"] * 50}), "constant"),
        (pd.DataFrame({"serial": [f"s{i}" for i in range(10_000)], "x": 1}), "'serial'"),
    ],
)
def test_tables_that_cannot_be_learned_from_are_refused(table: pd.DataFrame, says: str) -> None:
    with pytest.raises(BadTable, match=says):
        TabularTVAE.fit(table, Roles(), QUICK)


def test_a_loss_that_is_not_finite_ends_the_training(table: pd.DataFrame) -> None:
    config = QUICK.model_copy(update={"learning_rate": 1e12})
    with pytest.raises(TaskFailed, match="diverged"):
        TabularTVAE.fit(table, Roles(), config)


@pytest.mark.parametrize(
    "request_of",
    [
        {"lives": 3},
        {"rows": 0},
        {"conditions": GenerateConfig(failure_modes={"hot": 0.5})},
        {"conditions": GenerateConfig(states={"idle": 0.5})},
    ],
)
def test_what_plain_rows_cannot_honour_is_refused(
    model: TabularTVAE, request_of: dict[str, object]
) -> None:
    with pytest.raises(BadParameter, match=r"asked|drawn"):
        model.sample(**request_of)  # type: ignore[arg-type]


def test_the_gpu_path_runs_on_a_named_device(table: pd.DataFrame) -> None:
    named = TabularTVAE.fit(table, Roles(), QUICK.model_copy(update={"device": "cpu"}))
    auto = TabularTVAE.fit(table, Roles(), QUICK)
    if not torch.cuda.is_available():
        pd.testing.assert_frame_equal(draw(named), draw(auto), check_exact=True)
    assert auto.network.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(BadParameter, match="device='abacus'"):
        TabularTVAE.fit(table, Roles(), QUICK.model_copy(update={"device": "abacus"}))
