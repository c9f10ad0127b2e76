"""What one sees of a run in JupyterLab: real trainings, a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Lab, command, run_all, screenshot, wait_for_kernel

pytestmark = pytest.mark.slow

Open = Callable[[str], Page]
OUTPUT = ".jp-OutputArea-output"
BAR = ".jp-OutputArea-output .progress-bar"
TRAIN = """import gan_lab as lab
run = lab.train("motor_siemens_001", epochs={epochs})
run"""


def test_a_bar_moves_and_its_curve_grows_while_a_later_cell_blocks(
    lab: Lab, open_notebook: Open
) -> None:
    page = open_notebook(lab.write("moves.ipynb", TRAIN.format(epochs=60), "print(run.result())"))
    run_all(page)
    page.wait_for_selector(BAR)
    shares, points = set(), set()
    while len(shares) < 3 or len(points) < 2 or max(shares) < 40:
        shares.add(next_share(page, shares))
        points.add(page.locator(f"{OUTPUT} polyline").first.get_attribute("points") or "")
    assert all(0 < share < 100 for share in shares)
    assert "[*]" in page.locator(".jp-InputPrompt").nth(1).inner_text()
    screenshot(page, "running")
    page.get_by_text("'epochs_completed': 60").wait_for()
    page.get_by_text("✓ done").wait_for()
    expect(page.locator(BAR)).to_have_count(0)  # the record has taken the place of the widgets
    screenshot(page, "done")
    assert len(points) >= 2
    assert "widget-view" not in str(saved(page, lab, "moves.ipynb", "✓ done"))


def next_share(page: Page, seen: set[float]) -> float:
    """Wait for a width of the bar that is not 0, nor 100, nor one that was seen before."""
    handle = page.wait_for_function(
        """([bar, seen]) => {
          const share = parseFloat(document.querySelector(bar)?.style.width);
          return share > 0 && share < 100 && !seen.includes(share) && share;
        }""",
        arg=[BAR, list(seen)],
    )
    return float(handle.json_value())


def saved(page: Page, lab: Lab, name: str, word: str) -> list[Any]:
    """Save the notebook in front and return its outputs, as soon as the file has the word.

    The command's promise is not waited for: it hangs behind a dialog where Jupyter thinks that the
    file has changed on disk, and that dialog is answered here.
    """
    page.evaluate("() => { window.jupyterapp.commands.execute('docmanager:save'); }")
    for _ in range(300):
        outputs = [output for cell in lab.read(name).cells for output in cell.get("outputs", [])]
        if word in str(outputs):
            return outputs
        dialog = page.locator(".jp-Dialog button.jp-mod-warn, .jp-Dialog button.jp-mod-accept")
        if dialog.count():
            dialog.last.click()
        page.wait_for_timeout(200)
    raise AssertionError(f"{name} was not saved with {word!r} in it")


def test_a_long_run_survives_reload_and_restart_and_is_cancelled_by_its_button(
    lab: Lab, open_notebook: Open
) -> None:
    # Otherwise held-out lives end it after some 150 epochs, sooner than all this takes.
    train = TRAIN.format(epochs="1_000_000, early_stopping=False")
    take = "import gan_lab as lab\nrun = lab.task(lab.tasks(1)['task_id'][0])\nrun"
    page = open_notebook(lab.write("long.ipynb", train, take))
    command(page, "notebook:run-cell-and-select-next")
    page.get_by_text("● running").wait_for()
    expect(page.locator(BAR)).to_have_count(1)
    saved(page, lab, "long.ipynb", "running")

    page.reload()
    wait_for_kernel(page)
    next_epoch(page)  # the same view, moving again

    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    wait_for_kernel(page)
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
    command(page, "notebook:run-cell")
    attached = page.locator(OUTPUT).last
    attached.get_by_text("● running").wait_for()
    next_epoch(page)
    screenshot(page, "attached-again")

    attached.get_by_role("button", name="Cancel").click()
    attached.get_by_text("■ cancelled").wait_for()
    expect(attached.locator(".progress-bar")).to_have_count(0)
    screenshot(page, "cancelled")


def test_a_failure_is_a_sentence_with_its_traceback_one_click_away(
    lab: Lab, open_notebook: Open
) -> None:
    (lab.home / "data" / "seed" / "pump_grundfos_cr3_004.parquet").mkdir()  # in a table's place
    code = "import gan_lab as lab\nrun = lab.seed('pump_grundfos_cr3_004', rows=300)\nrun"
    page = open_notebook(lab.write("fails.ipynb", code))
    run_all(page)
    page.get_by_text("✕ failed").wait_for()
    traceback = page.locator(f"{OUTPUT} pre", has_text="IsADirectoryError").last
    traceback.wait_for(state="attached")
    assert "Traceback (" not in page.locator(OUTPUT).last.inner_text()
    expect(traceback).to_be_hidden()
    page.get_by_text("Traceback").first.click()
    expect(traceback).to_be_visible()
    screenshot(page, "failed")


def test_fifty_runs_are_one_table(lab: Lab, open_notebook: Open) -> None:
    code = """import gan_lab as lab
runs = [lab.seed("motor_siemens_001", rows=5_000, seed=number) for number in range(50)]
lab.watch(runs)"""
    page = open_notebook(lab.write("table.ipynb", code, "lab.tasks(12)"))
    run_all(page)
    page.get_by_text("50 runs:").first.wait_for()
    expect(page.locator(f"{OUTPUT} table").first.locator("tbody tr")).to_have_count(50)
    screenshot(page, "table")
    page.get_by_text("50 runs: 50 done").wait_for()
    screenshot(page, "table-done")


def next_epoch(page: Page) -> None:
    """Wait until the epoch that the last view shows has changed."""
    read = """() => {
      const views = [...document.querySelectorAll('.jp-OutputArea-output')];
      const found = views.map(view => view.innerText.match(/epoch (\\d+)/)).filter(Boolean);
      return found.length ? parseInt(found.at(-1)[1]) : 0;
    }"""
    before = page.wait_for_function(read).json_value()
    page.wait_for_function(f"before => ({read})() > before", arg=before)
