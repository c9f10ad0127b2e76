"""The command line as a person meets it: what is printed where, and with which exit status."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gan_lab.cli import main
from gan_lab.wire.connection import connect


def gan_lab(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from gan_lab.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same within this process, which has imported what a new one imports for a second."""
    command, out, err = list(map(str, arguments)), io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main(command)
    assert isinstance(left.value.code, int)
    return subprocess.CompletedProcess(command, left.value.code, out.getvalue(), err.getvalue())


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace without services: what is refused must be refused without them."""
    for folder in ("runs", "notebooks", "data/machines"):
        (tmp_path / folder).mkdir(parents=True)
    root = Path(__file__).parents[2]
    profile = "data/machines/motor_siemens_001.yaml"
    (tmp_path / profile).write_text((root / profile).read_text())
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    return tmp_path


def assert_refused(run: subprocess.CompletedProcess[str], workspace: Path, *words: str) -> None:
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    assert [word for word in words if word not in run.stderr] == []
    left = [path for path in (workspace / "runs").rglob("*") if path.is_file()]
    assert left == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "motor_simens_001"], ["motor_simens_001", "motor_siemens_001"]),
        (["train", "motor_siemens_001"], ["gan-lab seed motor_siemens_001"]),
        (["generate", "motor_siemens_001"], ["gan-lab train motor_siemens_001"]),
        (["report", "motor_siemens_001"], ["gan-lab"]),
        (["train", "motor_siemens_001", "--epochs", "0"], ["0"]),
        (["train", "motor_siemens_001", "--epochs", "-1"], ["-1"]),
        (["train", "motor_siemens_001", "--epochs", "1.5"], ["1.5"]),
        (["train", "motor_siemens_001", "--epochs", "many"], ["many"]),
        (["seed", "motor_siemens_001", "--rows", "0"], ["0"]),
        (["train", "motor_siemens_001", "--holdout", "12"], ["'12'", "from 0 and below 1", "0.2"]),
        (["clean", "--older-than", "soon"], ["'soon'", "a number from 0, such as 30"]),
        (["prognose", "press", __file__, "--out", "x.doc"], ["x.doc", ".csv, .parquet or .xlsx"]),
        (["seed", "../../etc/passwd"], ["../../etc/passwd", "lower-case"]),
        (["seed", "Motor 1"], ["Motor 1", "lower-case"]),
        (["seed", "motor_siemens_001", "--failure-mode", "bearing"], ["bearing", "NAME=0.3"]),
        (["seed", "motor_siemens_001", "--failure-mode", "rust=0.5"], ["rust"]),
        (["task", "11111111-2222-3333-4444-555555555555"], ["11111111"]),
        (["watch", "nothing"], ["nothing"]),
        (["fleet", "turbine_*"], ["turbine_*"]),
        (["resume"], ["--all"]),
        (["sead", "motor_siemens_001"], ["sead"]),
    ],
)
def test_wrong_requests_are_sentences(
    arguments: list[str], words: list[str], workspace: Path
) -> None:
    assert_refused(here(*arguments), workspace, *words)


def test_a_file_that_cannot_be_used_leaves_nothing(workspace: Path) -> None:
    (workspace / "empty.csv").touch()
    assert_refused(here("import", "press_7", workspace / "empty.csv"), workspace, "is empty")
    assert not (workspace / "data/machines/press_7.yaml").exists()
    assert list(workspace.glob("data/seed/*")) == []


def test_the_columns_of_an_import_are_named_with_commas_between_them(workspace: Path) -> None:
    table = pd.DataFrame({"unit": np.repeat([1, 2], 25), "x": range(50), "y": [1, 2] * 25})
    table.to_csv(workspace / "press.csv", index=False)
    done = here("import", "press_7", workspace / "press.csv", "--columns", "unit,x", "--json")
    assert [column["name"] for column in json.loads(done.stdout)["columns"]] == ["unit", "x"]
    again = here("import", "press_8", workspace / "press.csv", "--long", "unit,x")
    assert_refused(again, workspace, "long=['unit', 'x']", "3 items")


def test_import_reads_a_table_of_nasa(workspace: Path) -> None:
    lines = [f"{unit} {n} {'0.5 ' * 3}{f'{n / 7:.3f} ' * 21}" for unit in (1, 2) for n in range(30)]
    (workspace / "train_FD001.txt").write_text("\n".join(lines))
    run = here("import", "turbofan", workspace / "train_FD001.txt", "--cmapss", "--max-rul", "9")
    assert run.returncode == 0, run.stderr
    assert pd.read_parquet(workspace / "data/seed/turbofan.parquet")["rul"].max() == 9


def test_import_shows_up_among_the_machines(workspace: Path) -> None:
    rows = pd.DataFrame({"unit": np.repeat(np.arange(8), 25), "x": np.linspace(0, 1, 200)})
    rows.to_csv(workspace / "press.csv", index=False)
    imported = here("import", "press_7", workspace / "press.csv", "--life", "unit", "--json")
    assert imported.returncode == 0, imported.stderr
    assert json.loads(imported.stdout)["rows"] == 200
    listed = json.loads(here("machines", "--json").stdout)
    assert [row["machine_id"] for row in listed] == ["motor_siemens_001", "press_7"]


def test_unreachable_services_are_status_3(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    monkeypatch.setenv("GAN_LAB_REDIS_URL", "redis://127.0.0.1:9/2")
    monkeypatch.setenv("GAN_LAB_CONNECT_TIMEOUT_S", "1")
    run = here("seed", "motor_siemens_001")
    assert run.returncode == 3
    assert "127.0.0.1:9" in run.stderr


@pytest.mark.slow
def test_a_task_from_request_to_result(lab_home: Path) -> None:
    # A few commands in a process of their own, the others in this one, which has imported all.
    made = gan_lab("seed", "pump_grundfos_cr3_004", "--rows", "2000", "--json")
    assert made.returncode == 0, made.stderr
    status = json.loads(made.stdout)
    assert (status["status"], status["result"]["samples_generated"]) == ("success", 2000)

    shown = json.loads(here("task", status["task_id"][:8], "--json").stdout)
    assert shown == status
    lines = here("watch", status["task_id"], "--json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, len(lines) + 1))

    told = here("seed", "pump_grundfos_cr3_004", "--rows", "1000", "--detach")
    assert told.returncode == 0
    waited = gan_lab("watch", told.stdout.strip())
    assert waited.returncode == 0
    assert "100%" in waited.stderr
    services = json.loads(here("status", "--json").stdout)
    assert connect(services["redis_url"]).ping()  # programs connect by it
    assert "redis://:***@" in here("status").stdout  # and people pass that on
    assert services["scheduler_address"].startswith("tls://127.0.0.1")
