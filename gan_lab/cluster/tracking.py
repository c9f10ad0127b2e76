"""MLflow, where `MLFLOW_TRACKING_URI` names one: each training is a run there.

A task that has ended is told of by a process of its own, so that a server that is slow or gone
delays and fails none; what went wrong is a line in the task's log.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from filelock import FileLock

from gan_lab.cluster.models import FIGURES
from gan_lab.settings import Settings, load_settings
from gan_lab.store import StorePath
from gan_lab.workspace.files import scratch_folder
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.run_folder import MODEL, REPORT_HTML, RunFolder
from gan_lab.workspace.runs import open_run
from gan_lab.workspace.service_record import services_folder

URI, EXPERIMENT, TASK = "MLFLOW_TRACKING_URI", "gan_lab", "gan_lab.task_id"
CURVES = ("loss", "reconstruction", "kl", "validation")
OF_ANOTHER_RUN = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")  # which a platform may have begun
MAX_METRICS = 1000  # of one call
# Of MLflow's client, which tries for a quarter of an hour by itself.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


def tell_mlflow(run: RunFolder, settings: Settings) -> None:
    """Begin to tell MLflow of a training, or a report, that is done; returns at once."""
    if not settings.mlflow_tracking_uri or run.spec.kind not in ("train", "report"):
        return
    if run.result_data() is None:
        return
    if find_spec("mlflow") is None:
        return run.append_log(level="WARNING", message=f"{URI} is set: install mlflow-skinny.")
    env = PATIENCE | os.environ | {URI: settings.mlflow_tracking_uri}
    for name in OF_ANOTHER_RUN:
        env.pop(name, None)
    command = [sys.executable, "-m", __name__, run.task_id]
    try:
        subprocess.Popen(
            command, env=env, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        run.append_log(level="WARNING", message=f"MLflow was not told: {error}")


def record(run: RunFolder) -> None:
    """Write a training's parameters, losses and model, or a report's figures and page, to MLflow;
    the report's go to the run of the training it judges."""
    import mlflow

    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
    result = run.result_data() or {}
    if run.spec.kind == "report":
        with _run_of(open_run(run.environment()["model_task_id"])):
            mlflow.log_metrics({name: result[name] for name in FIGURES if result[name] is not None})
            mlflow.set_tags({"verdict": result["level"], "finding": result["verdict"]})
            _log_file(run.path / REPORT_HTML)
        return
    with _run_of(run) as known:
        mlflow.log_params(run.spec.config)
        losses = LossHistory(run)
        losses.update()
        metrics = [
            mlflow.entities.Metric(name, value, 0, int(epoch))
            for name in CURVES
            for epoch, value in zip(losses.columns["epoch"], losses.columns[name], strict=True)
            if isfinite(value)
        ]
        for start in range(0, len(metrics), MAX_METRICS):
            client = mlflow.MlflowClient()
            client.log_batch(known.info.run_id, metrics[start : start + MAX_METRICS])
        mlflow.log_metric("training_time_seconds", result["training_time_seconds"])
        _log_file(run.path / MODEL)


def _log_file(path: Path) -> None:
    """Hand a file over, of a workspace in a store by way of this host."""
    import mlflow

    with scratch_folder() as folder:
        if isinstance(path, StorePath):
            (folder / path.name).write_bytes(path.read_bytes())
            path = folder / path.name
        mlflow.log_artifact(str(path))


def _run_of(training: RunFolder) -> Any:
    """Return the run of a training, found by its tag, else begun: by one process of this host at a
    time, for a report may end while its training is still told of."""
    import mlflow

    spec = training.spec
    with FileLock(services_folder(load_settings().home) / "mlflow.lock"):
        found = mlflow.search_runs(
            filter_string=f"tags.`{TASK}` = '{spec.task_id}'", output_format="list"
        )
        if found:
            return mlflow.start_run(run_id=found[0].info.run_id)
        tags = {TASK: spec.task_id, "machine_id": spec.machine_id}
        return mlflow.start_run(run_name=f"{spec.machine_id} {spec.task_id[:8]}", tags=tags)


if __name__ == "__main__":
    ended = open_run(sys.argv[1])
    try:
        record(ended)
    except Exception as error:
        # MLflow names the address, password and all.
        why = re.sub(r"://[^/@\s]*@", "://", str(error))
        ended.append_log(level="WARNING", message=f"MLflow was not told: {why}")
