from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import gan_lab as lab
from gan_lab.errors import BadParameter, UnknownMachine
from gan_lab.notebook.compare import compare
from gan_lab.workspace.run_folder import RunFolder
from tests.conftest import ROOT
from tests.notebook.writer import train


def test_only_what_differs_is_compared(new_run: Callable[..., RunFolder]) -> None:
    runs = [new_run(epochs=20, batch_size=size, seed=0) for size in (100, 500)]
    for run in runs:
        train(run, 20, 0.0)
    comparison = compare(*runs)
    assert list(comparison.index) == [run.task_id[:8] for run in runs]
    assert list(comparison["batch_size"]) == [100, 500]
    assert "seed" not in comparison
    assert "epochs" not in comparison
    assert list(comparison["epochs done"]) == [20, 20]


def test_the_best_validation_loss_comes_first(new_run: Callable[..., RunFolder]) -> None:
    short, long = new_run(), new_run()
    train(short, 5, 0.0)
    train(long, 30, 0.0)
    comparison = compare(short, long)
    assert list(comparison.index) == [long.task_id[:8], short.task_id[:8]]


def test_the_quality_of_a_training_is_that_of_what_was_drawn_from_it(
    new_run: Callable[..., RunFolder],
) -> None:
    trained = new_run()
    train(trained, 3, 0.0)
    report = new_run("report")
    report.record_environment(model_task_id=trained.task_id)
    report.finish({"quality": 0.87, "detection": 0.6, "verdict": "usable"})
    table = compare(trained.task_id)
    assert list(table["quality"]) == [0.87]
    assert list(table["detection"]) == [0.6]
    assert "utility" not in table


def test_there_must_be_a_training(new_run: Callable[..., RunFolder]) -> None:
    with pytest.raises(BadParameter, match="Nothing to compare"):
        compare(new_run("seed"))


def test_a_machine_is_shown_without_a_seed_table(view_home: Path) -> None:
    name = "motor_siemens_001.yaml"
    shutil.copy(ROOT / "data" / "machines" / name, view_home / "data" / "machines" / name)
    machine = lab.machine("motor_siemens_001")
    assert not machine.has_seed
    bundle = machine._repr_mimebundle_()
    assert "Siemens" in bundle["text/plain"]
    assert bundle["image/png"].startswith(b"\x89PNG")
    with pytest.raises(UnknownMachine):
        lab.machine("motor_nobody_001")
