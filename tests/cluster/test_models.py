"""Which training is drawn from, and what reports say of each; and where a machine stands."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import gan_lab as lab
from gan_lab.cluster.catalogue import Machine
from gan_lab.cluster.models import model_class, newest_good, training_run, verdict_levels
from gan_lab.errors import NoModel, NoSeedData, UnknownMachine
from gan_lab.workspace.tables import write_seed

from .conftest import MACHINE, Record, request


def test_the_newest_training_is_drawn_from_that_no_report_calls_bad(record: Record) -> None:
    with pytest.raises(NoModel, match=f"gan-lab train {MACHINE}"):
        training_run(MACHINE)
    first, second = (record(request("train"), {"machine_id": MACHINE}) for _ in range(2))
    assert training_run(MACHINE).task_id == second.task_id
    record(request("report"), {"level": "bad"}, model_task_id=second.task_id)
    assert training_run(MACHINE).task_id == first.task_id
    assert training_run(MACHINE, second.task_id[:8]).task_id == second.task_id  # it was named
    assert newest_good([second], {second.task_id: "bad"}) is second


@pytest.mark.parametrize(("level", "counts"), [("care", "good"), ("bad", "bad")])
def test_of_a_report_on_rows_drawn_under_conditions_only_bad_counts(
    record: Record, level: str, counts: str
) -> None:
    training = record(request("train"), {"machine_id": MACHINE}).task_id
    record(request("report"), {"level": "good"}, model_task_id=training, conditions="")
    record(request("report"), {"level": level}, model_task_id=training, conditions="idle 0.4")
    assert verdict_levels(MACHINE) == {training: counts}


def test_what_left_no_model_is_not_drawn_from(record: Record) -> None:
    for run in (record(request("train")), record(request("seed"), {"machine_id": MACHINE})):
        with pytest.raises(NoModel, match="has left no model"):
            training_run(MACHINE, run.task_id)


@pytest.mark.parametrize("kind", ["tabular", "sequential"])
def test_every_kind_of_model_can_be_learned_and_loaded(kind: str) -> None:
    assert callable(model_class(kind).fit) and callable(model_class(kind).load)


def test_a_machine_says_what_there_is_of_it(record: Record) -> None:
    machine = Machine(MACHINE)
    with pytest.raises(NoSeedData):
        machine.check_has_seed()
    write_seed(MACHINE, pd.DataFrame({"x": [1.0, 2.0], "y": [3, 4]}))
    trained = record(request("train"), {"final_loss": 0.5})
    status = lab.get_machine_status(MACHINE)
    assert status["seed"]["rows"] == 2 and Machine(MACHINE).seed_shape == (2, 2)
    assert status["model"] == {"task_id": trained.task_id, "final_loss": 0.5}
    assert (status["can_train"], status["can_generate"], status["synthetic"]) == (True, True, None)
    assert status["last_task"]["status"] == "success"
    table = lab.machines().set_index("machine_id")
    assert table.loc[MACHINE, ["seed_rows", "model", "last_run"]].tolist() == [
        2, True, "train success",
    ]  # fmt: skip
    with pytest.raises(UnknownMachine):
        lab.get_machine_status("no_such_machine")


def test_a_machine_is_made_of_a_table(bare: Path, tmp_path: Path) -> None:
    (bare / "data" / "machines").unlink()
    table = pd.DataFrame({"unit": [1] * 20 + [2] * 20, "hour": [*range(20)] * 2})
    table["oil_c"] = 40 + (table["hour"] * 37 % 11) / 3
    table.to_csv(tmp_path / "press.csv", index=False)
    lab.import_machine("press_7", tmp_path / "press.csv", life="unit", time="hour")
    assert lab.machines()["machine_id"].tolist() == ["press_7"]
    assert lab.get_machine_status("press_7")["profile"]["roles"]["life"] == "unit"
