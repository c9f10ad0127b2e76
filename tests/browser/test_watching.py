"""What one sees of a run in JupyterLab: real trainings, a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import (
    Lab,
    command,
    run_all,
    saved,
    screenshot,
    wait_for_kernel,
    wait_for_lab,
)

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
    train = TRAIN.format(epochs="150, early_stopping=False")
    page = open_notebook(lab.write("moves.ipynb", train, "print(run.result())"))
    run_all(page)
    page.wait_for_selector(BAR)
    shares, points = set(), set()
    while len(shares) < 3 or len(points) < 2:
        shares.add(next_share(page, shares))
        points.add(page.locator(f"{OUTPUT} polyline").first.get_attribute("points") or "")
    assert all(0 < share < 100 for share in shares)
    assert "[*]" in page.locator(".jp-InputPrompt").nth(1).inner_text()
    page.get_by_text("'epochs_completed': 150").wait_for()
    page.get_by_text("✓ done").wait_for()
    expect(page.locator(BAR)).to_have_count(0)  # the record has taken the place of the widgets
    screenshot(page, "done", both=True)
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


def test_a_long_run_survives_reload_and_restart_and_is_cancelled_by_its_button(
    lab: Lab, open_notebook: Open
) -> None:
    # Without that, held-out lives end it after some 150 epochs, sooner than all this takes.
    train = TRAIN.format(epochs="5_000, early_stopping=False")
    take = "import gan_lab as lab\nrun = lab.task(lab.tasks(1)['task_id'][0])\nrun"
    page = open_notebook(lab.write("long.ipynb", train, take))
    command(page, "notebook:run-cell-and-select-next")
    page.get_by_text("● running").wait_for()
    expect(page.locator(BAR)).to_have_count(1)
    saved(page, lab, "long.ipynb", "widget-view")  # the text beside it may say that it is queued

    page.reload()
    wait_for_lab(page)
    open_notebook("long.ipynb")
    next_epoch(page)  # the same view, moving again
    screenshot(page, "running", both=True)

    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    page.wait_for_selector(".gan-lab.jupyter-widgets-disconnected", state="attached")
    wait_for_kernel(page)
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
    command(page, "notebook:run-cell")
    attached = page.locator(OUTPUT).nth(-2)  # below it stands how to show it again
    attached.get_by_text("● running").wait_for()
    next_epoch(page)
    screenshot(page, "attached-again")

    attached.get_by_role("button", name="Cancel").click()
    attached.get_by_text("■ cancelled").wait_for()
    expect(attached.locator(".progress-bar")).to_have_count(0)
    screenshot(page, "cancelled")


def next_epoch(page: Page) -> None:
    """Wait until the epoch that the last view shows has changed."""
    read = """() => {
      const views = [...document.querySelectorAll('.jp-OutputArea-output')];
      const found = views.map(view => view.innerText.match(/epoch\\s+(\\d+) /)).filter(Boolean);
      return found.length ? parseInt(found.at(-1)[1]) : 0;
    }"""
    before = page.wait_for_function(read).json_value()
    page.wait_for_function(f"before => ({read})() > before", arg=before)


def test_a_failure_is_a_sentence_with_its_traceback_one_click_away(
    lab: Lab, open_notebook: Open
) -> None:
    lab.add_machine("blocked")
    (lab.home / "data" / "seed" / "blocked.parquet").mkdir()  # in a table's place
    code = "import gan_lab as lab\nrun = lab.seed('blocked', rows=300)\nrun"
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


FLEET = """import gan_lab as lab
fleet = lab.run_fleet(["clone_*"], notebook="quick.ipynb")
lab.watch(fleet)"""


def test_a_fleet_of_twenty_is_one_table(lab: Lab, open_notebook: Open) -> None:
    for number in range(20):
        lab.add_machine(f"clone_{number:02d}")
    work = "import gan_lab as lab\nlab.seed(machine_id, rows=300).result()"
    lab.write("quick.ipynb", 'machine_id = "clone_00"', work)
    page = open_notebook(lab.write("table.ipynb", FLEET, "fleet.cancel()"))
    command(page, "notebook:run-cell-and-select-next")
    rows = page.locator(f"{OUTPUT} table").first.locator("tbody tr")
    expect(rows).to_have_count(20)
    page.get_by_text(re.compile(r"\b[1-9]\d* done")).first.wait_for()
    expect(rows.first).to_contain_text("running")
    screenshot(page, "table")
    command(page, "notebook:run-all-below")
    expect(page.locator(BAR)).to_have_count(0)
    expect(rows).to_have_count(20)
    screenshot(page, "table-cancelled")
