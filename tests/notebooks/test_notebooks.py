"""What every notebook of the project is like; `tests/browser` runs them, `machine` by papermill."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMETERS = {
    "machine_id", "epochs", "seed_rows", "train_rows", "val_rows", "test_rows", "report",
}  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_clean_and_define_nothing(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert not re.search(r"^\s*(def|class) ", cell.source, re.M)


def test_every_parameter_of_the_machine_notebook_has_its_unit() -> None:
    import papermill

    path = ROOT / "notebooks" / "machine.ipynb"
    assert set(papermill.inspect_notebook(path)) == PARAMETERS
    (cell,) = [
        cell
        for cell in nbformat.read(path, as_version=4).cells
        if "parameters" in cell.metadata.get("tags", [])
    ]
    assert all("  # " in line for line in cell.source.splitlines())


def test_the_first_lesson_leaves_the_tables_of_the_demo_alone() -> None:
    demo, lesson = "motor_siemens_001", ROOT / "notebooks" / "01-first-machine.ipynb"
    assert f"fleet {demo}" in (ROOT / "Makefile").read_text() and demo not in lesson.read_text()


def test_the_machine_notebook_ends_with_picture_verdict_and_the_report_s_card() -> None:
    cells = nbformat.read(ROOT / "notebooks" / "machine.ipynb", as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"][-3:]
    for source, words in zip(
        code, ("life_with_rul", "verdict", "lab.watch(runs[-1])"), strict=True
    ):
        assert words in source
