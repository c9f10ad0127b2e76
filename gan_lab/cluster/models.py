"""The trainings that are done, what reports say of them, and the models they left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gan_lab.errors import BadParameter, NoModel
from gan_lab.schema import (
    GenerateConfig,
    Roles,
    TrainConfig,
)
from gan_lab.workspace import run_folder
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import done_runs, open_run

FIGURES = {  # of a report's result, and how they are read
    "quality": "how alike the columns are, 1: the same",
    "utility": "of a model trained on these rows, on real ones: R2, average precision of a failure",
    "utility_of_lives": "R2 of remaining life of a model of windows, on lives held out",
    "memory": "share nearer to training than to held-out real data, 0.5: no memory",
    "detection": "AUC of telling these from real ones, 0.5: they cannot be told",
}


def model_class(kind: str) -> Any:
    """Return the class that learns and draws this kind of model; imports torch."""
    if kind == "tabular":
        from gan_lab.synth.tabular.model import TabularTVAE

        return TabularTVAE
    from gan_lab.synth.lives.sequential import SequentialTVAE

    return SequentialTVAE


def training_run(machine_id: str, task_id: str | None = None) -> RunFolder:
    """Return the training to draw from: the one named, else the newest that no report calls bad."""
    if task_id:
        run = open_run(task_id)
        if run.spec.kind == "train" and run.result_data() is not None:
            return run
        raise NoModel(f"Task {run.task_id} has left no model: name a training that is done.")
    trained = list(done_runs(machine_id, "train"))
    if not trained:
        raise NoModel(f"{machine_id} has no model. Make one with `gan-lab train {machine_id}`.")
    return newest_good(trained, verdict_levels(machine_id))


def newest_good(trained: Sequence[RunFolder], levels: dict[str, str]) -> RunFolder:
    """Return the newest of trainings, newest first, not called bad; of bad ones the newest."""
    return next((run for run in trained if levels.get(run.task_id) != "bad"), trained[0])


def verdict_levels(machine_id: str) -> dict[str, str]:
    """Return what the newest report on each training of a machine says: good, care or bad."""
    return levels_by_model(done_runs(machine_id, "report"))


def levels_by_model(reports: Iterable[RunFolder]) -> dict[str, str]:
    """Return what the first of the reports on each training says, by the training's id.

    Rows that were drawn under conditions are unlike the real ones on purpose: of their reports
    only "bad" counts, which is then of what no condition excuses.
    """
    found: dict[str, str] = {}
    for run in reports:
        made = run.environment()
        level = str((run.result_data() or {}).get("level"))
        if level == "bad" or not made.get("conditions"):
            found.setdefault(str(made.get("model_task_id")), level)
    return found


def reports(machine_id: str) -> dict[str, dict[str, Any]]:
    """Return what the newest report on each training of a machine leaves (`ReportResult`), by the
    training's id."""
    found: dict[str, dict[str, Any]] = {}
    for run in done_runs(machine_id, "report"):
        found.setdefault(str(run.environment().get("model_task_id")), run.result_data() or {})
    return found


def load_model(run: RunFolder) -> Any:
    """Return the model that a training left; raises `BadParameter` for a bad file."""
    from gan_lab.synth.network.model_file import load_file

    path = run.path / run_folder.MODEL
    return model_class(str(load_file(path)[1].get("model"))).load(path)


def load_lives_model(run: RunFolder) -> Any:
    """Return the model of lives that a training left; raises `BadParameter` for one of rows."""
    model = load_model(run)
    if not hasattr(model, "prognose"):
        raise BadParameter(
            f"Training {run.task_id[:8]} of {run.spec.machine_id} learned rows, not lives: how "
            "long a unit lasts is learned from lives. Name the column of lives when importing "
            "(--life), and train again."
        )
    return model


def check_request(source: RunFolder, config: GenerateConfig, roles: Roles) -> None:
    """Raise `BadParameter` for lives and conditions that the model of a training cannot meet."""
    rows_only = TrainConfig.model_validate(source.spec.config).kind(roles) == "tabular"
    if config.asked or (config.lives and rows_only):
        load_model(source).sample(rows=1, conditions=config)
