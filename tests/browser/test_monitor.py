"""Our page of all tasks in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from gan_lab.events import Announcer
from gan_lab.runs import RunFolder
from gan_lab.settings import Settings
from tests.browser.conftest import SCREENSHOTS
from tests.cluster.history import FLEETS, SENTENCE, STATES, make_history, serve_dashboard

pytestmark = pytest.mark.slow
expect.set_options(timeout=60_000)
ROWS = "tr.task"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunFolder]]:
    """A hundred tasks in all states."""
    home = tmp_path_factory.mktemp("monitored")
    return home, make_history(home, 100)


@pytest.fixture
def page(browser: Browser, history: tuple[Path, list[RunFolder]]) -> Iterator[Page]:
    """Our page over that history; whatever it asks for is read only, and nothing goes wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, device_scale_factor=2)
    page, wrong = context.new_page(), []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: asked.method == "GET" or wrong.append(asked.method))
    with serve_dashboard(*history) as url:
        page.goto(f"{url}/lab")
        yield page
        assert wrong == []
        context.close()


def test_a_hundred_tasks_in_all_states(page: Page, history: tuple[Path, list[RunFolder]]) -> None:
    home, runs = history
    expect(page.locator(ROWS)).to_have_count(100)
    for place, state in enumerate(STATES):
        count = len(runs[place :: len(STATES)])
        expect(page.get_by_role("button", name=f"{state} {count}")).to_be_visible()
    screenshot(page, "monitor")

    # Filters, which stay with the address.
    page.get_by_role("button", name="failure").click()
    expect(page.locator(ROWS)).to_have_count(17)
    expect(page.locator(f"{ROWS} td.says").first).to_have_text(SENTENCE)
    assert page.locator("td.says b").count() == 0  # text, never markup
    page.get_by_label("machine").fill("pump")
    page.get_by_label("fleet").select_option(FLEETS[0])
    wanted = [
        run
        for run in runs[STATES.index("failure") :: len(STATES)]
        if "pump" in run.spec.machine_id and run.spec.fleet_id == FLEETS[0]
    ]
    expect(page.locator(ROWS)).to_have_count(len(wanted))
    page.reload()
    expect(page.locator(ROWS)).to_have_count(len(wanted))
    expect(page.get_by_label("fleet")).to_have_value(str(FLEETS[0]))
    screenshot(page, "monitor-failures")

    # A click shows the curve; what the task says next is there without another.
    page.goto(f"{page.url.partition('?')[0]}?state=running")
    run = next(run for run in runs if run.held and run.spec.kind == "train")
    row = page.locator(f"{ROWS}[data-task='{run.task_id}']")
    row.click()
    curves = page.locator(".more polyline")
    expect(curves).to_have_count(2)
    assert len((curves.first.get_attribute("points") or "").split()) == len(run.losses())
    expect(page.locator(".more")).to_contain_text(f"gan-lab logs {run.task_id[:8]}")
    facts = {"epoch": 30, "loss": 0.07, "rows_per_second": 9_000.0}
    Announcer(run, Settings(home=home)).say("training", 30, 40, "Epoch 30/40", **facts)
    expect(row).to_contain_text("30 / 40")
    expect(row).to_contain_text(re.compile(r"0\.07.*9,000"))
    screenshot(page, "monitor-curve")
    row.click()
    expect(curves).to_have_count(0)


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
