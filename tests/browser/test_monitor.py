"""Our page of all tasks in a real browser: by itself, and in JupyterLab beside the notebook."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    FrameLocator,
    Page,
    WebSocketRoute,
    expect,
)

from gan_lab.settings import Settings
from gan_lab.task_states import BY_NAME
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from tests.browser.conftest import SCREENSHOTS, Lab, set_theme, wait_for_kernel
from tests.cluster.history import FLEETS, SENTENCE, STATES, make_history, pending, serve_dashboard

pytestmark = pytest.mark.slow
expect.set_options(timeout=60_000)
ROWS = "tr.task"
TRAIN = """import gan_lab as lab
options = {"model": "tabular", "decoder": "network", "epochs": 100_000, "batch_size": 200}
print(lab.train("motor_siemens_001", **options).task_id)"""
OPEN_PANEL = """async () => {
  await window.jupyterapp.restored;
  window.jupyterapp.shell.activateById('dask-dashboard-launcher');
}"""
CANCEL = "import sys, gan_lab as lab; lab.task(sys.argv[1]).cancel()"


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
    home, runs = history
    with serve_dashboard(home, pending(runs)) as url:
        page.goto(f"{url}/lab")
        yield page
        assert wrong == []
        context.close()


# By how much a table is wider than the room there is for it (px).
BEYOND = """table => {
  const room = table.parentElement, style = getComputedStyle(room);
  const free = room.getBoundingClientRect().right - parseFloat(style.paddingRight);
  return table.getBoundingClientRect().right - free;
}"""


def test_a_hundred_tasks_in_all_states(page: Page, history: tuple[Path, list[RunFolder]]) -> None:
    home, runs = history
    expect(page.locator(ROWS)).to_have_count(100)
    for place, state in enumerate(STATES):
        count = len(runs[place :: len(STATES)])
        expect(page.get_by_role("button", name=f"{BY_NAME[state].word} {count}")).to_be_visible()
    screenshot(page, "monitor")
    assert page.locator("table").evaluate(BEYOND) < 1  # the margin stays free

    # Filters, which stay with the address.
    page.get_by_role("button", name="failed").click()
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
    run = next(run for run in runs if run.lease.held and run.spec.kind == "train")
    row = page.locator(f"{ROWS}[data-task='{run.task_id}']")
    row.click()
    curves = page.locator(".more img")
    expect(curves).to_have_count(1)
    page.wait_for_function("document.querySelector('.more img').naturalWidth > 0")
    expect(page.locator(".more")).to_contain_text(f"gan-lab logs {run.task_id[:8]}")
    facts = {"epoch": 30, "loss": 0.07, "rows_per_second": 9_000.0}
    Announcer(run, Settings(home=home)).say("training", 30, 40, "Epoch 30/40", **facts)
    expect(row).to_contain_text("30 / 40")
    expect(row).to_contain_text(re.compile(r"0\.07.*9,000"))
    screenshot(page, "monitor-curve")
    row.click()
    expect(curves).to_have_count(0)


@pytest.mark.parametrize("trouble", ["closed", "silent"])
def test_a_plot_of_dasks_that_did_not_come_is_asked_for_again(
    browser: Browser, history: tuple[Path, list[RunFolder]], trouble: str
) -> None:
    opened: list[WebSocketRoute] = []

    def first_in_vain(socket: WebSocketRoute) -> None:
        opened.append(socket)
        if len(opened) > 1:
            socket.connect_to_server()
        elif trouble == "closed":
            socket.close()

    home, runs = history
    page = browser.new_page()
    page.route_web_socket("**/ws", first_in_vain)
    with serve_dashboard(home, pending(runs)) as url:
        page.goto(f"{url}/individual-workers")
        page.locator(".bk-DataTable").first.wait_for()
    assert len(opened) == 2
    page.close()


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_jupyterlab_opens_on_the_workspaces_cluster_in_our_layout(
    browser: Browser, lab: Lab, request: pytest.FixtureRequest
) -> None:
    ask = subprocess.Popen(
        [sys.executable, "-c", TRAIN], env=lab.env, stdout=subprocess.PIPE, text=True
    )
    context = browser.new_context(viewport={"width": 1700, "height": 980})
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(f"{lab.url}lab/workspaces/gan-lab?token={lab.token}")  # where `gan-lab lab` opens
    wait_for_kernel(page)
    for title in ("01-first-machine.ipynb", "Lab", "Task Stream", "Workers"):
        expect(page.get_by_role("tab", name=title, exact=True)).to_be_visible()
    expect(page.locator("#dask-dashboard-launcher")).to_be_hidden()
    page.evaluate(OPEN_PANEL)
    panel = page.locator("#dask-dashboard-launcher")
    expect(panel.get_by_role("button", name="TASK STREAM")).to_be_enabled()
    expect(panel).to_contain_text("Number of Workers: 1")
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")

    task_id = ask.communicate(timeout=60)[0].strip()
    cancel = [sys.executable, "-c", CANCEL, task_id]  # whatever fails, the worker is free again
    request.addfinalizer(lambda: subprocess.run(cancel, env=lab.env))
    ours = frame(page, "/lab")
    row = ours.locator(f"{ROWS}[data-task='{task_id}']")
    expect(row).to_contain_text(re.compile(r"\d+ / 100000"))
    expect(row.locator("td").nth(11)).to_have_text(re.compile(r"\d"))  # time left
    for width in (1600, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        for theme, paper in (("dark", "rgb(17, 17, 17)"), ("light", "rgb(255, 255, 255)")):
            set_theme(page, theme)
            expect(ours.locator("body")).to_have_css("background-color", paper)
            frame(page, "/individual-workers").locator(".bk-DataTable").first.wait_for()
            frame(page, "/individual-task-stream").locator("canvas").first.wait_for()
            expect(row).to_be_visible()
            assert ours.locator("table").evaluate(BEYOND) < 1  # nothing is cut
            screenshot(page, f"jupyterlab-layout-{width}-{theme}")
    subprocess.run(cancel, env=lab.env, check=True)
    expect(row).to_contain_text("cancelled")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    # All of it came through Jupyter, which lets nobody in without its login.
    place = page.locator("iframe[src$='/lab']").get_attribute("src") or ""
    context.close()
    for address in (urljoin(lab.url, place), urljoin(lab.url, f"{place}/tasks.json")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.build_opener(NoRedirect).open(address, timeout=10)
        assert refused.value.code in (302, 403)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: object) -> None:  # type: ignore[override]
        """Take the way to the login for what it is: a refusal."""


def frame(page: Page, route: str) -> FrameLocator:
    """Return one of the dashboard's pages, proxied by Jupyter below its base_url.

    It is looked up anew each time: JupyterLab makes another frame when it moves a panel.
    """
    return page.frame_locator(f"iframe[src$='{route}']")
