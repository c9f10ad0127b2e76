"""A real JupyterLab with its own workspace, and a real Chromium that looks at it.

Nothing here skips: where the browser is missing, the tests fail and say what to install.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.reader import NotJSONError
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser import chromium

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = ROOT / "test-output" / "browser"
MACHINES = ("motor_siemens_001.yaml", "pump_grundfos_cr3_004.yaml")
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
START_S = 180  # most that a busy host needs to start JupyterLab
PATIENCE_MS = 90_000  # and to show anything
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

KERNELS = """async () => {
  const {serviceManager, shell} = window.jupyterapp;
  await serviceManager.sessions.refreshRunning();
  const panel = shell.currentWidget;
  const kernel = panel?.sessionContext?.session?.kernel;
  return JSON.stringify({
    running: [...serviceManager.sessions.running()],
    front: panel?.id,
    title: panel?.title.label,
    kernel: kernel && {status: kernel.status, connection: kernel.connectionStatus},
    ready: panel?.sessionContext?.isReady,
  });
}"""


@dataclass
class Lab:
    """A running JupyterLab: its address, its token and its workspace."""

    url: str
    token: str
    home: Path
    env: dict[str, str]

    def write(self, name: str, *cells: str) -> str:
        """Put a notebook with these code cells, the first of parameters; returns its name."""
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        notebook.cells[0].metadata["tags"] = ["parameters"]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook.metadata["kernelspec"] = kernel
        nbformat.write(notebook, self.home / "notebooks" / name)
        return name

    def add_machine(self, machine_id: str) -> None:
        """Add a machine like the motor, under a name that nothing else uses."""
        folder = self.home / "data" / "machines"
        profile = (folder / "motor_siemens_001.yaml").read_text()
        text = profile.replace("machine_id: motor_siemens_001", f"machine_id: {machine_id}")
        (folder / f"{machine_id}.yaml").write_text(text)

    def read(self, name: str) -> Any:
        """Read a notebook as it was saved; one half written, as Jupyter does it, is read again."""
        wait = threading.Event()
        for _ in range(100):
            try:
                return nbformat.read(self.home / "notebooks" / name, as_version=4)
            except NotJSONError:
                wait.wait(0.1)
        raise AssertionError(f"{name} was never whole")


def make_workspace(home: Path, machines: tuple[str, ...] = MACHINES) -> dict[str, str]:
    """Make a workspace with a few machines and our notebooks; returns its environment."""
    for folder in ("data/machines", "runs", "notebooks"):
        (home / folder).mkdir(parents=True)
    for name in machines:
        shutil.copy(ROOT / "data" / "machines" / name, home / "data" / "machines")
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, home / "notebooks")
    gone = ("GAN_LAB_REDIS_URL", "DASK_SCHEDULER_ADDRESS")
    inherited = {name: value for name, value in os.environ.items() if name not in gone}
    return inherited | {"GAN_LAB_HOME": str(home), "GAN_LAB_WORKERS": "1"}


@pytest.fixture(scope="package")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A workspace whose seed table is being made; its services end with the tests."""
    home = tmp_path_factory.mktemp("workspace")
    env = make_workspace(home)
    seed = "import gan_lab as lab; lab.seed('motor_siemens_001', rows=2000).result()"
    seeding = subprocess.Popen([sys.executable, "-c", seed], env=env, cwd=home)
    yield home, env
    seeding.wait(60)
    down = "from gan_lab.cluster.services import stop_services; stop_services()"
    subprocess.run([sys.executable, "-c", down], env=env, cwd=home, check=False, timeout=60)


@pytest.fixture(scope="package")
def lab(
    workspace: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """What `gan-lab lab` opens, on a free port, below a base_url such as JupyterHub's."""
    home, env = workspace
    private = tmp_path_factory.mktemp("jupyter")
    env = env | {
        f"JUPYTER_{name}_DIR": str(private / name) for name in ("CONFIG", "RUNTIME", "DATA")
    }
    env["JUPYTERLAB_SETTINGS_DIR"] = str(private / "settings")
    env["JUPYTERLAB_WORKSPACES_DIR"] = str(private / "workspaces")
    env["IPYTHONDIR"] = str(private / "ipython")
    write_settings(private / "settings", THEMES["light"])
    token = secrets.token_urlsafe(16)
    command = [
        *(sys.executable, "-c", "from gan_lab.cli import main; main()", "lab"),
        *("--no-browser", "--allow-root", "--expose-app-in-browser"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--IdentityProvider.token={token}"),
        *("--ServerApp.base_url=/user/anna/", "--LabApp.extension_manager=readonly"),
    ]
    with (private / "log").open("wb") as log:
        server = subprocess.Popen(command, env=env, cwd=home, stdout=log, stderr=log)
    try:
        address = _address(server, private)
        wait_for_file(home / "data" / "seed" / "motor_siemens_001.parquet")
        yield Lab(address, token, home, env)
    finally:
        server.terminate()
        server.wait(30)


def write_settings(folder: Path, theme: str) -> None:
    """Write JupyterLab's settings: a theme, and no questions or news."""
    wanted = {
        "apputils-extension/themes": {"theme": theme},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        # Two who save at once make Jupyter ask whether the file has changed on disk.
        "docmanager-extension/plugin": {"autosave": False},
    }
    for name, value in wanted.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))


def wait_for_file(path: Path) -> None:
    """Wait until a file that another process makes is there."""
    wait = threading.Event()
    for _ in range(10 * START_S):
        if path.exists():
            return
        wait.wait(0.1)
    raise AssertionError(f"{path} was not made")


def _address(server: subprocess.Popen[bytes], private: Path) -> str:
    wait = threading.Event()
    for _ in range(10 * START_S):
        for record in (private / "RUNTIME").glob("jpserver-*.json"):
            text = record.read_text()
            if text:
                return str(json.loads(text)["url"])
        if server.poll() is not None:
            break
        wait.wait(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{(private / 'log').read_text()}")


def find_chromium() -> str:
    """Return Chromium's path; fails, never skips, where there is none."""
    return chromium.find() or pytest.fail(chromium.MISSING)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium; fails where there is none."""
    path = find_chromium()
    expect.set_options(timeout=PATIENCE_MS)  # of what is expected of pages; by default 5 s
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def jupyterlab(browser: Browser, lab: Lab) -> Iterator[Page]:
    """One page with JupyterLab in it, for all tests: it takes seconds to load."""
    context = browser.new_context(viewport={"width": 1060, "height": 900}, device_scale_factor=2)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{lab.url}lab?token={lab.token}")
    wait_for_lab(page)
    yield page
    context.close()


def wait_for_lab(page: Page) -> None:
    """Wait until JupyterLab is there, and let it show one document at a time."""
    page.wait_for_function("() => window.jupyterapp && window.jupyterapp.restored")
    page.evaluate(
        """async () => {
          await window.jupyterapp.restored;
          window.jupyterapp.shell.mode = 'single-document';
          window.jupyterapp.shell.collapseLeft();
        }"""
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Keep what JupyterLab shows at the moment in which a test fails."""
    report = yield
    page = getattr(item, "funcargs", {}).get("jupyterlab")
    if report.when == "call" and report.failed and page is not None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"failed-{item.name}.png")
        report.sections.append(("JupyterLab's kernels", str(page.evaluate(KERNELS))))
    return report


@pytest.fixture
def open_notebook(jupyterlab: Page) -> Iterator[Callable[[str], Page]]:
    """Return what opens a notebook and waits for its kernel, which ends with the test."""

    def opened(name: str) -> Page:
        answer_dialogs(jupyterlab)
        jupyterlab.evaluate(
            """path => window.jupyterapp.commands.execute('docmanager:open',
              {path, factory: 'Notebook', kernel: {name: 'python3'}})""",
            f"notebooks/{name}",
        )
        wait_for_kernel(jupyterlab)
        return jupyterlab

    yield opened
    jupyterlab.evaluate(
        """async () => {
          for (const panel of [...window.jupyterapp.shell.widgets('main')]) {
            if (panel.sessionContext) await panel.sessionContext.shutdown();
            panel.dispose();
          }
        }"""
    )


def answer_dialogs(page: Page) -> None:
    """Answer what JupyterLab asks: behind a dialog no other document comes to the front."""
    buttons = page.locator(".jp-Dialog button.jp-mod-warn, .jp-Dialog button.jp-mod-accept")
    while buttons.count():
        buttons.last.click()


def wait_for_kernel(page: Page) -> None:
    """Wait until the notebook in front has a kernel that is idle."""
    page.wait_for_function(
        """() => {
          const panel = window.jupyterapp && window.jupyterapp.shell.currentWidget;
          const kernel = panel && panel.sessionContext && panel.sessionContext.session
            && panel.sessionContext.session.kernel;
          return kernel && kernel.status === 'idle';
        }"""
    )


def command(page: Page, name: str) -> None:
    """Have JupyterLab do something, without waiting for its end."""
    page.evaluate("name => { window.jupyterapp.commands.execute(name); }", name)


def run_all(page: Page) -> None:
    """Run all cells of the notebook in front."""
    command(page, "notebook:run-all-cells")


def saved(page: Page, lab: Lab, name: str, word: str) -> list[Any]:
    """Save the notebook in front and return its outputs, as soon as the file has the word.

    The command's promise is not waited for: it hangs behind a dialog where Jupyter thinks that the
    file has changed on disk, and that dialog is answered here.
    """
    for look in range(300):
        if look % 15 == 0:  # what was saved may be older than what is on the screen
            command(page, "docmanager:save")
        outputs = [output for cell in lab.read(name).cells for output in cell.get("outputs", [])]
        if word in str(outputs):
            return outputs
        answer_dialogs(page)
        page.wait_for_timeout(200)
    raise AssertionError(f"{name} was not saved with {word!r} in it")


def set_theme(page: Page, theme: str) -> None:
    """Change JupyterLab's theme and wait until the page wears it."""
    dark = theme == "dark"
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
        THEMES[theme],
    )
    worn = f"body[data-jp-theme-light='{'false' if dark else 'true'}']"
    page.wait_for_selector(worn, state="attached")
    page.wait_for_selector("#jupyterlab-splash", state="detached")


def screenshot(page: Page, name: str, both: bool = False) -> None:
    """Keep what the page shows, in the light theme or in both: it takes seconds to change it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for theme in ("dark", "light") if both else ("light",):
        set_theme(page, theme)
        page.screenshot(path=SCREENSHOTS / f"{name}-{theme}.png")
