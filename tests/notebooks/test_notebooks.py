"""Every notebook of the project, executed from its first cell to its last on a fresh workspace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = {"epochs": 4, "seed_rows": 1_500, "train_rows": 600, "val_rows": 100, "test_rows": 100}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_clean_and_define_nothing(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert not re.search(r"^\s*(def|class) ", cell.source, re.M)


def test_every_parameter_of_the_machine_notebook_has_its_unit() -> None:
    from gan_lab.notebook.execute import notebook_parameters

    path = ROOT / "notebooks" / "machine.ipynb"
    assert set(notebook_parameters(path)) == {"machine_id", "report", *SMALL}
    (cell,) = [
        cell
        for cell in nbformat.read(path, as_version=4).cells
        if "parameters" in cell.metadata.get("tags", [])
    ]
    assert all("  # " in line for line in cell.source.splitlines())


def outputs(path: Path) -> list[dict[str, Any]]:
    """Return the outputs of an executed notebook; none may be an error or need a kernel."""
    found = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", [])]
    assert not [output for output in found if output["output_type"] == "error"]
    assert "widget-view" not in str(found)
    return found


def texts(found: list[dict[str, Any]]) -> str:
    """Return all that the outputs say as text."""
    return "\n".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in found)


@pytest.mark.slow
def test_papermill_runs_the_machine_notebook(lab_home: Path, tmp_path: Path) -> None:
    given = [part for name, value in SMALL.items() for part in ("-p", name, str(value))]
    out = tmp_path / "machine.ipynb"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "machine.ipynb", str(out)]
    kernel = os.environ | {"PYTHONSTARTUP": ""}
    subprocess.run([*command, *given], cwd=lab_home / "notebooks", env=kernel, check=True)
    found = outputs(out)
    said = texts(found)
    assert "✓ done" in said
    assert "train motor_siemens_001: 100%  Done" in said  # one line now and then
    assert "Distributions, real and synthetic" in said
    assert "One life each" in said
    assert sum("image/png" in output.get("data", {}) for output in found) >= 5
    for split, rows in (("train", 600), ("val", 100), ("test", 100)):
        assert f"'{split}': {{'rows': {rows}" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["01-first-machine", "02-watch-and-compare", "03-your-own-data"])
def test_nbconvert_executes_the_lessons_in_order(lab_home: Path, tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute"]
    source = lab_home / "notebooks" / f"{name}.ipynb"
    subprocess.run([*command, str(source), "--output-dir", str(tmp_path)], check=True, cwd=lab_home)
    found = outputs(tmp_path / f"{name}.ipynb")
    assert "done" in texts(found)
    page = [sys.executable, "-m", "nbconvert", "--to", "html", str(tmp_path / f"{name}.ipynb")]
    subprocess.run(page, check=True, cwd=lab_home)
    html = (tmp_path / f"{name}.html").read_text()
    assert "Loading widget" not in html
    assert "data:image/" in html
