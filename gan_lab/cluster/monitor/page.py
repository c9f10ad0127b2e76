"""A page of our own on the Dask dashboard."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed.http.scheduler.info import IndividualPlots
from distributed.http.utils import RequestHandler

from gan_lab.cluster.monitor.run_index import QueueState, Row, RunIndex
from gan_lab.errors import GanLabError
from gan_lab.loss_curve import loss_curve_svg
from gan_lab.settings import load_settings
from gan_lab.task_states import BY_NAME, STATUS_NAMES
from gan_lab.workspace.loss_history import LossHistory
from gan_lab.workspace.runs import open_run

if TYPE_CHECKING:
    from distributed import Scheduler

HERE = Path(__file__).parent
MAX_ROWS = 200
PANEL = {"Individual Lab": "/lab"}  # our page among the plots that JupyterLab's panel offers
# Nothing but what this page brings is run or loaded: it may be shown within Jupyter's own origin.
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self'; style-src 'self' 'unsafe-inline'; "
    "script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'"
)


def navigation(scheduler: Any) -> list[str]:
    """Return the names of the dashboard's pages; what is added here is shown on all of them."""
    from distributed.dashboard.scheduler import template_variables  # loads Bokeh, for two seconds

    return template_variables(scheduler)["pages"]


def select(rows: list[Row], state: str = "", machine: str = "", fleet: str = "") -> dict[str, Any]:
    """Return the rows that fit the filters, running first, newest first, and counts of all."""
    fitting = [
        row
        for row in rows
        if (not state or row["state"] == state)
        and machine.casefold() in row["machine_id"].casefold()
        and (not fleet or row["fleet_id"] == fleet)
    ]
    counts = Counter(row["state"] for row in rows)
    return {
        "states": {name: counts[name] for name in STATUS_NAMES},
        "fleets": sorted({row["fleet_id"] for row in rows if row["fleet_id"]}, reverse=True),
        "fitting": len(fitting),
        "rows": fitting[:MAX_ROWS],
    }


def _text(name: str) -> str:
    """Return a page of ours, as dark or light as what is around it."""
    return (HERE / name).read_text().replace("/* theme */", (HERE / "theme.js").read_text())


class _Handler(RequestHandler):
    def initialize(self, dask_server: Any = None, extra: Any = None) -> None:
        super().initialize(dask_server)
        self.index: RunIndex = extra

    def answer(self, value: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.write(json.dumps(value))


class PageHandler(_Handler):
    """The page itself; it asks for everything else."""

    def get(self) -> None:
        """Write the page with the dashboard's own navigation."""
        nonce = secrets.token_urlsafe(16)
        pages = map(escape, navigation(self.server))
        links = "".join(f'<li><a href="{page}">{page.title()}</a></li>' for page in pages)
        self.set_header("Content-Security-Policy", POLICY.format(nonce=nonce))
        states = {name: asdict(BY_NAME[name]) for name in (*STATUS_NAMES, "cancelling")}
        colours = [f".{name} {{ color: {one['colour']}; }}" for name, one in states.items()]
        page = _text("monitor.html").replace("<!-- pages -->", links)
        page = page.replace("/* colours of the states */", " ".join(colours))
        page = page.replace("/* the states */", json.dumps(states))
        self.write(page.replace("<script>", f'<script nonce="{nonce}">'))


class TasksHandler(_Handler):
    """Rows and counts as JSON."""

    async def get(self) -> None:
        """Write the tasks that fit `state`, `machine` (a part of its id) and `fleet`."""
        names = ("state", "machine", "fleet")
        filters = {name: self.get_query_argument(name, "") for name in names}
        self.answer(select(await asyncio.to_thread(self.index.rows), **filters))


class LossesHandler(_Handler):
    """A training's loss curve as a picture."""

    async def get(self, task_id: str) -> None:
        """Write the curve as SVG; of a task without two epochs it is empty."""
        try:
            svg = await asyncio.to_thread(self._draw, task_id)
        except GanLabError as error:
            self.set_status(error.http_status)
            self.answer({"message": str(error), "reason": error.reason})
            return
        self.set_header("Content-Type", "image/svg+xml")
        self.set_header("Cache-Control", "no-store")
        self.write(svg)

    def _draw(self, task_id: str) -> str:
        run = open_run(task_id, self.index.settings.home)
        losses = LossHistory(run)
        losses.update()
        return loss_curve_svg(run.spec.machine_id, losses.columns)


class PlotsHandler(IndividualPlots):
    """What JupyterLab's panel offers: our page, then Dask's plots."""

    def write(self, chunk: Any) -> None:
        """Write the plots with our page among them."""
        super().write({**PANEL, **chunk} if isinstance(chunk, dict) else chunk)


def queue_state(scheduler: Scheduler, key: str) -> QueueState:
    """Where a task stands on the scheduler: None where it has none of that key still to do."""
    task = scheduler.tasks.get(key)
    if task is None or task.state in ("memory", "erred", "forgotten"):
        return None
    worker = task.processing_on
    return "executing" if worker is not None and task in worker.executing else "waiting"


def _put_into_our_page(plots: dict[str, Any]) -> None:
    """Have each of Dask's single plots, by its path, stand in a page of ours."""
    from bokeh.application.handlers import FunctionHandler  # loads Bokeh, for two seconds

    page = _text("plot.html")
    for path in filter(lambda path: "/individual-" in path, plots):
        plots[path].application.add(FunctionHandler(lambda doc: setattr(doc, "template", page)))


def dask_setup(scheduler: Scheduler) -> None:
    """Add the page and its navigation entry to a scheduler."""
    index = RunIndex(load_settings(), lambda key: queue_state(scheduler, key))
    common = {"extra": index, "dask_server": scheduler}
    routes: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [
        ("/lab", PageHandler, common),
        ("/lab/tasks.json", TasksHandler, common),
        ("/lab/losses/([0-9a-f-]{36}).svg", LossesHandler, common),
        ("/individual-plots.json", PlotsHandler, {"dask_server": scheduler}),
    ]
    pages = scheduler.http_application.applications  # Dask's, below --dashboard-prefix
    dashboard = next((app for app in pages if hasattr(app, "prefix")), None)
    prefix = dashboard.prefix.rstrip("/") if dashboard else ""
    _put_into_our_page(dashboard.applications if dashboard else {})
    scheduler.http_application.add_handlers(
        r".*", [(prefix + path, handler, options) for path, handler, options in routes]
    )
    names = navigation(scheduler)
    if "lab" not in names:
        names.insert(0, "lab")
