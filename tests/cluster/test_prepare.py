"""A chain of requests is checked as a whole before anything is written."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.cluster.catalogue import Machine
from gan_lab.cluster.prepare import FLEET, prepare
from gan_lab.cluster.provenance import package_versions
from gan_lab.errors import BadParameter, BadTable, NoModel, NoSeedData
from gan_lab.workspace.runs import all_runs
from gan_lab.workspace.tables import seed_path, write_seed

from .conftest import MACHINE, Record, request


@pytest.fixture
def machine(bare: Path) -> Machine:
    """A machine without tables."""
    return Machine(MACHINE)


def test_a_chain_draws_from_its_own_training_and_is_judged_at_its_end(machine: Machine) -> None:
    wanted = {"seed": None, "train": {"epochs": 3}, "generate": {}, "report": {}}
    specs = prepare(machine, wanted)
    assert [spec.kind for spec in specs] == ["seed", "train", "generate", "report"]
    assert specs[1].config["epochs"] == 3
    assert specs[2].config["model_task_id"] == specs[1].task_id
    assert len({spec.task_id for spec in specs}) == 4
    assert all(spec.versions == package_versions() for spec in specs)
    assert all_runs() == []


def test_a_seed_table_that_exists_is_made_again_only_where_options_are_given(
    machine: Machine,
) -> None:
    write_seed(MACHINE, pd.DataFrame({"x": [1.0]}))
    assert [spec.kind for spec in prepare(machine, {"seed": None, "train": {}})] == ["train"]
    assert len(prepare(machine, {"seed": {}, "train": {}})) == 2


@pytest.mark.parametrize(("training", "drawing"), [({"holdout": 0}, {}), ({}, {"train": 0})])
def test_there_is_no_report_where_nothing_could_be_compared(
    machine: Machine, training: dict[str, int], drawing: dict[str, int]
) -> None:
    wanted = {"seed": {}, "train": training, "generate": drawing, "report": {}}
    assert [spec.kind for spec in prepare(machine, wanted)] == ["seed", "train", "generate"]


def test_a_training_needs_a_table_that_can_be_read(machine: Machine) -> None:
    with pytest.raises(NoSeedData, match=f"gan-lab seed {MACHINE}"):
        prepare(machine, {"train": {}})
    path = seed_path(MACHINE)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1")
    with pytest.raises(BadTable, match="not a readable Parquet file"):
        prepare(Machine(MACHINE), {"train": {}})
    assert prepare(Machine(MACHINE), {"seed": {}})  # a damaged one can be made anew


def test_what_trees_have_no_use_for_is_said_at_once(machine: Machine) -> None:
    write_seed(MACHINE, pd.DataFrame({"x": [1.0]}))
    said = "learned by trees, which have no epochs and no embedding_dim"
    with pytest.warns(UserWarning, match=said):
        prepare(machine, {"train": {"model": "tabular", "epochs": 3, "embedding_dim": 8}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(machine, {"train": {"model": "tabular", "seed": 1}})
        prepare(machine, {"train": {"model": "tabular", "epochs": 3, "decoder": "network"}})


@pytest.mark.parametrize(
    ("lives", "rows", "doubt"),
    [(1, 40, "1 life: how machines differ"), (3, 40, "3 lives: how"), (90, 5, "lives of 5 rows")],
)
def test_what_too_few_or_too_short_lives_cannot_teach_is_said_at_once(
    machine: Machine, lives: int, rows: int, doubt: str
) -> None:
    life = np.repeat(np.arange(lives), rows)
    write_seed(MACHINE, pd.DataFrame({"life": life, "rul": 1.0}))
    with pytest.warns(UserWarning, match=f"{MACHINE} has {doubt}"):
        prepare(machine, {"train": {}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(machine, {"train": {"model": "tabular"}})
        write_seed(MACHINE, pd.DataFrame({"life": np.repeat(np.arange(5), 40), "rul": 1.0}))
        prepare(Machine(MACHINE), {"train": {}})


def test_a_report_needs_synthetic_tables(machine: Machine) -> None:
    write_seed(MACHINE, pd.DataFrame({"x": [1.0]}))
    with pytest.raises(NoModel, match=f"gan-lab generate {MACHINE}"):
        prepare(machine, {"report": {}})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"failure_modes": {"rust": 0.5}}, "has no failure mode 'rust'. It has bearing"),
        ({"rows": 0}, "rows=0"),
    ],
)
def test_a_simulation_knows_the_words_of_the_profile(
    machine: Machine, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadParameter, match=sentence):
        prepare(machine, {"seed": options})


def test_what_was_imported_cannot_be_simulated(tmp_path: Path, bare: Path) -> None:
    (bare / "data" / "machines").unlink()
    (bare / "data" / "machines").mkdir()
    (bare / "data" / "machines" / "press_7.yaml").write_text("machine_id: press_7\n")
    with pytest.raises(BadParameter, match="gan-lab train press_7"):
        prepare(Machine("press_7"), {"seed": {}})


def test_rows_are_drawn_from_the_best_model_with_a_warning_where_it_is_bad(
    machine: Machine, record: Record
) -> None:
    trained = record(request("train"), {"machine_id": MACHINE})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        specs = prepare(machine, {"generate": {}, "report": {}})
    assert [spec.kind for spec in specs] == ["generate", "report"]
    assert specs[0].config["model_task_id"] == trained.task_id
    record(request("report"), {"level": "bad"}, model_task_id=trained.task_id)
    with pytest.warns(UserWarning, match="no better model"):
        prepare(machine, {"generate": {}})
    with warnings.catch_warnings():  # not where it is named
        warnings.simplefilter("error")
        prepare(machine, {"generate": {"model_task_id": trained.task_id}})


def test_a_fleet_marks_the_tasks_of_its_notebooks(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FLEET, "20261124-010000-beef")
    assert prepare(machine, {"seed": {}})[0].fleet_id == "20261124-010000-beef"
