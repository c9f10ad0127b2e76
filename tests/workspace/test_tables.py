"""Seeds and synthetic splits: written whole or not at all, split by life, read back as were."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gan_lab.errors import BadTable, NoSeedData
from gan_lab.schema import Roles
from gan_lab.workspace import tables

ROLES = Roles(life="unit", rul="rul")


@pytest.fixture(autouse=True)
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_LAB_HOME", str(home))
    return home


def lives(units: int, rows: int = 10) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unit": [unit for unit in range(units) for _ in range(rows)],
            "Größe [°C]": [float(row) for _ in range(units) for row in range(rows)],
            "rul": [rows - 1 - row for _ in range(units) for row in range(rows)],
        }
    )


def test_a_seed_comes_back_as_it_was_written() -> None:
    tables.write_seed("press_7", lives(3))
    pd.testing.assert_frame_equal(tables.read_seed("press_7"), lives(3))


def test_no_seed_says_what_to_do() -> None:
    with pytest.raises(NoSeedData, match="gan-lab seed press_7"):
        tables.read_seed("press_7")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"unit,rul\n1,2\n"])
def test_a_damaged_seed_is_a_sentence(content: bytes) -> None:
    path = tables.write_seed("press_7", lives(1))
    path.write_bytes(content)
    with pytest.raises(BadTable, match="not a readable Parquet file"):
        tables.read_seed("press_7")


@pytest.mark.parametrize(
    ("units", "fraction", "held"),
    [(10, 0.2, 2), (2, 0.01, 1), (2, 0.99, 1), (1, 0.2, 0), (5, 0.0, 0)],
)
def test_the_holdout_is_whole_lives(units: int, fraction: float, held: int) -> None:
    train, holdout = tables.split_holdout(lives(units), ROLES, fraction, seed=1)
    assert holdout["unit"].nunique() == held
    assert not set(train["unit"]) & set(holdout["unit"])
    assert len(train) + len(holdout) == units * 10
    assert train.equals(tables.split_holdout(lives(units), ROLES, fraction, seed=1)[0])


def test_without_lives_the_holdout_is_rows_in_order() -> None:
    plain = pd.DataFrame({"x": range(100)})
    train, holdout = tables.split_holdout(plain, Roles(), 0.25, seed=0)
    assert len(holdout) == 25
    assert holdout["x"].is_monotonic_increasing and train["x"].is_monotonic_increasing


def test_splits_are_streamed_under_the_seeds_types() -> None:
    seed = lives(2).astype({"rul": "int16"})
    tables.write_seed("press_7", seed)
    conditions = {"states": {"idle": 0.4}}
    with tables.SplitWriter("press_7", "t1", model="tabular", conditions=conditions) as writer:
        for _ in range(3):
            writer.write("train", lives(2))
        writer.write("test", lives(1))
    assert tables.read_synthetic("press_7").dtypes.equals(seed.dtypes)
    assert len(tables.read_synthetic("press_7", "train")) == 60
    record = tables.manifest("press_7")
    assert record is not None
    assert record["rows"] == {"train": 60, "test": 10}
    assert record["conditions"] == conditions
    folder = tables.synthetic_folder("press_7")
    assert record["sha256"]["test"] == tables.table_sha256(folder / "test.parquet")


def test_a_failure_leaves_the_old_splits_untouched() -> None:
    with tables.SplitWriter("press_7", task_id="t1", model="tabular") as writer:
        writer.write("train", lives(1))
    with (
        pytest.raises(RuntimeError),
        tables.SplitWriter("press_7", task_id="t2", model="tabular") as writer,
    ):
        writer.write("train", lives(5))
        raise RuntimeError("the disk is full")
    record = tables.manifest("press_7")
    assert record is not None and record["task_id"] == "t1"
    assert len(tables.read_synthetic("press_7")) == 10
    folder = tables.synthetic_folder("press_7")
    assert [path.name for path in folder.parent.glob("*")] == ["press_7"]


def test_splits_of_an_earlier_run_do_not_linger() -> None:
    for task_id, split in (("t1", "val"), ("t2", "train")):
        with tables.SplitWriter("press_7", task_id=task_id, model="tabular") as writer:
            writer.write(split, lives(1))
    with pytest.raises(BadTable, match="gan-lab generate press_7"):
        tables.read_synthetic("press_7", "val")
