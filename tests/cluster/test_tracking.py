"""A training and its report arrive in a real MLflow, and one that is gone changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from gan_lab.cluster.tasks import TASKS
from gan_lab.schema import Kind
from gan_lab.settings import load_settings
from gan_lab.workspace.run_folder import RunFolder
from tests.cluster.conftest import Record, request
from tests.conftest import ROOT, free_port

MLFLOW = "mlflow==3.17.2"
DO = """
import sys
from gan_lab.cluster.tasks import TASKS
from gan_lab.settings import load_settings
from gan_lab.workspace.runs import open_run
for task_id in sys.argv[1:]:
    kind = open_run(task_id).spec.kind
    assert TASKS[kind](task_id, load_settings())["state"] == "SUCCESS"
"""


def soon(look: Callable[[], Any]) -> Any:
    """Return what is there within a minute, of processes that tell nobody when they are ready."""
    wait = threading.Event()
    for _ in range(300):
        if found := look():
            return found
        wait.wait(0.2)
    raise AssertionError(f"nothing came of {look}")


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A Python that has MLflow, beside our packages and not among them: it cannot be had with the
    versions that are pinned. And the address of a server of it."""
    home = tmp_path_factory.mktemp("mlflow")
    python = home / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    own = home / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (own / "ours.pth").write_text(sysconfig.get_path("purelib"))
    pip = [python, "-m", "pip", "install", "-qq", "--no-compile", "--disable-pip-version-check"]
    subprocess.run([*pip, MLFLOW], check=True)
    port = free_port()
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{home}/db", "--workers", "1"]
    command += ["--artifacts-destination", str(home / "kept")]
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # six processes less
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        soon(lambda: answers(f"{url}/health"))
        yield python, url
    finally:
        server.terminate()
        server.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def done(python: Path, record: Record, url: str, **kinds: dict[str, Any]) -> dict[str, RunFolder]:
    """Tasks that a Python with MLflow has done, with nobody but the disk, by their kinds."""
    runs = {kind: record(request(cast(Kind, kind), **options)) for kind, options in kinds.items()}
    env = os.environ | {"MLFLOW_TRACKING_URI": url, "PYTHONPATH": str(ROOT)}
    subprocess.run([python, "-c", DO, *(run.task_id for run in runs.values())], env=env, check=True)
    return runs


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_training_is_a_run_with_its_losses_its_model_and_what_its_report_says(
    mlflow: tuple[Path, str], record: Record
) -> None:
    python, url = mlflow
    runs = done(
        python,
        record,
        url,
        seed={"rows": 1_500},
        train={"epochs": 4, "model": "tabular", "decoder": "network"},
        generate={"train": 2_000, "val": 100, "test": 100},
        report={},
    )
    training = runs["train"]
    api = httpx.Client(base_url=f"{url}/api/2.0/mlflow", timeout=60)

    def found() -> Any:
        named = api.get("/experiments/get-by-name", params={"experiment_name": "gan_lab"})
        wanted = {"experiment_ids": [named.json().get("experiment", {}).get("experiment_id", "-")]}
        (run,) = api.post("/runs/search", json=wanted).json().get("runs") or [{"data": {}}]
        said = str(run["data"])
        return run if "verdict" in said and "training_time_seconds" in said else None

    run = soon(found)
    run_id = run["info"]["run_id"]
    assert {"key": "epochs", "value": "4"} in run["data"]["params"]
    history = {"run_id": run_id, "metric_key": "loss", "max_results": 100}
    losses = api.get("/metrics/get-history", params=history).json()["metrics"]
    assert [loss["value"] for loss in losses] == pytest.approx(training.losses()["loss"].tolist())
    kept = {"path": "model.safetensors", "run_id": run_id}
    model = soon(lambda: (it := httpx.get(f"{url}/get-artifact", params=kept)).is_success and it)
    assert model.content == (training.path / "model.safetensors").read_bytes()

    figures = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    result = runs["report"].result_data() or {}
    assert figures["quality"] == pytest.approx(result["quality"])
    assert {"key": "verdict", "value": result["level"]} in run["data"]["tags"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_is_gone_costs_a_line_in_the_log_and_no_time(
    mlflow: tuple[Path, str], record: Record
) -> None:
    python, _ = mlflow
    started = time.monotonic()
    few = {"epochs": 1, "model": "tabular"}
    runs = done(python, record, "http://127.0.0.1:9", seed={"rows": 300}, train=few)
    took_s, run = time.monotonic() - started, runs["train"]
    assert run.status().status == "success" and "MLflow" not in str(runs["seed"].log())
    soon(lambda: [line for line in run.log() if "MLflow was not told" in str(line)])
    assert took_s < 120


def test_where_there_is_no_client_the_log_says_what_to_install(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for kind, options in (("seed", {"rows": 300}), ("train", {"epochs": 1, "model": "tabular"})):
        run = record(request(kind, **options))
        assert TASKS[kind](run.task_id, load_settings())["state"] == "SUCCESS"
    assert "install mlflow-skinny" in str(run.log()[-1])
