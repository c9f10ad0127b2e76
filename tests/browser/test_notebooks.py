"""Every lesson, opened in JupyterLab and run from its first cell to its last; then what is left."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SCREENSHOTS, Lab, run_all, saved, screenshot

pytestmark = pytest.mark.slow

# What a lesson does in smaller, so that all of them take a minute.
SMALLER = {
    "01-first-machine": {
        "rows=4_000": "rows=1_500",
        "epochs=40": "epochs=8",
        "test=500)": "test=500, report=False)",  # it would keep the one worker from the next lesson
    },
    "02-watch-and-compare": {'"rows": 3_000': '"rows": 1_500', "epochs=60": "epochs=20"},
    "03-your-own-data": {"epochs=60": "epochs=20"},
    "04-fleet": {
        "epochs = 20": "epochs = 4",
        '{"epochs": epochs}': '{"epochs": epochs, "seed_rows": 1_500, "train_rows": 600, '
        '"val_rows": 100, "test_rows": 100, "report": False}',
    },
    "05-how-long": {"epochs=60": "epochs=20"},
}
ENDED = """() => {
  const {content} = window.jupyterapp.shell.currentWidget;
  const cells = content.widgets.map(cell => cell.model).filter(model => model.type === 'code');
  return cells.every(model => model.executionState === 'idle' && model.executionCount)
    || cells.some(model => model.outputs.toJSON().some(output => output.output_type === 'error'));
}"""


@pytest.mark.parametrize("name", SMALLER)
def test_a_lesson_runs_on_a_fresh_machine_and_needs_no_kernel_to_be_read(
    lab: Lab, open_notebook: Callable[[str], Page], name: str
) -> None:
    file = smaller(lab, name)
    page = open_notebook(file)
    run_all(page)
    page.wait_for_function(ENDED, timeout=240_000)
    expect(page.locator(".jp-OutputArea-output .widget-html")).to_have_count(
        0
    )  # every view has ended
    screenshot(page, name)
    outputs = saved(page, lab, file, "✓ done")
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert "widget-view" not in str(outputs)
    html = exported(lab.read(file))
    assert "Loading widget" not in html
    assert "data:image/" in html
    if name == "04-fleet":
        papermill_left_as_much(lab)
    if name == "05-how-long":
        fans_can_be_read_without_a_kernel(page, html)


def fans_can_be_read_without_a_kernel(page: Page, html: str) -> None:
    """Point at a fan chart of an exported notebook, in a page of its own."""
    exported = page.context.new_page()
    exported.set_content(html, wait_until="domcontentloaded")
    expect(exported.locator(".bk-Figure")).to_have_count(2)
    exported.locator(".bk-Figure").first.hover()
    expect(
        exported.get_by_text(re.compile(r"90 % interval \d")).first
    ).to_be_visible()  # its tooltip
    exported.screenshot(path=SCREENSHOTS / "05-how-long-exported.png", full_page=True)
    exported.close()


def smaller(lab: Lab, name: str) -> str:
    """Make a copy of a lesson that does less."""
    path = lab.home / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for words, fewer in SMALLER[name].items():
            cell.source = cell.source.replace(words, fewer)
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert all(fewer in sources for fewer in SMALLER[name].values())
    nbformat.write(notebook, path)
    return path.name


def exported(notebook: Any) -> str:
    """What nbconvert makes of a notebook; it is loaded here, for a second, and in no other test."""
    from nbconvert.exporters import HTMLExporter

    return str(HTMLExporter().from_notebook_node(notebook)[0])


def papermill_left_as_much(lab: Lab) -> None:
    """Look at the notebook that the fleet has executed for its machine, where nobody watched."""
    (path,) = (lab.home / "runs" / "fleets").glob("*/motor_siemens_001.ipynb")
    notebook = nbformat.read(path, as_version=4)
    outputs: list[Any] = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    said = "\n".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs)
    assert "widget-view" not in str(outputs)
    assert "✓ done" in said
    assert "train motor_siemens_001: 100%  Done" in said  # one line now and then
    assert "Lives over the rows to their end (real" in said
    assert sum("data:image/" in o.get("data", {}).get("text/html", "") for o in outputs) >= 4
    for split, rows in (("train", 600), ("val", 100), ("test", 100)):
        assert f"'{split}': {{'rows': {rows}" in said
    html = exported(notebook)
    assert "Loading widget" not in html
