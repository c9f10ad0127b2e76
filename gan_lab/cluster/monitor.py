"""A page of our own on the Dask dashboard, and our figures beside Dask's at `/metrics`.

`dask_setup` installs both in a scheduler: the embedded one calls it, another loads it by
`dask scheduler --preload gan_lab.cluster.monitor`. The dashboard's port has no login, so everything
here only reads. The past comes from the run folders and is complete after a restart of everything.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from distributed.dashboard.scheduler import template_variables
from distributed.http.utils import RequestHandler
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from gan_lab.errors import GanLabError
from gan_lab.events import connect, redis_url
from gan_lab.runs import EVENTS, RunFolder, open_run, run_paths, runs_folder
from gan_lab.settings import find_workspace, load_settings

PAGE = Path(__file__).with_name("monitor.html")
MOST_ROWS = 200
FRESH_S = 0.5  # how old the picture may be that a request is answered from
ORDER = ("running", "pending", "unknown", "failure", "revoked", "success")


class RunIndex:
    """What is known of every run; one that has not changed is not read again.

    Readers get the last picture at once while a thread of its own takes the next one.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._known: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
        self._picture: list[dict[str, Any]] = []
        self._taken_at = float("-inf")
        self._lock = threading.Lock()
        self._refresh()

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a run, newest first, as it stood a moment ago."""
        old = time.monotonic() - self._taken_at > FRESH_S
        if old and self._lock.acquire(blocking=False):
            threading.Thread(target=self._refresh_locked, daemon=True).start()
        return self._picture

    def _refresh_locked(self) -> None:
        try:
            self._refresh()
        finally:
            self._lock.release()

    def _refresh(self) -> None:
        known = {}
        for path in run_paths(runs_folder(self.home)):
            try:
                mark = _fingerprint(path)
                seen = self._known.get(path.name)
                if seen is None or seen[0] != mark:
                    seen = (mark, _row(open_run(path.name, self.home)))
                known[path.name] = seen
            except (GanLabError, ValueError, OSError):
                continue  # another format, or half made: not ours to show
        self._known = known
        rows = (row for _, row in known.values())
        self._picture = sorted(rows, key=lambda row: row["created"], reverse=True)
        self._taken_at = time.monotonic()


def _fingerprint(path: Path) -> tuple[int, int]:
    """What changes when a run does: files moved into its folder, lines added to its events."""
    try:
        size = (path / EVENTS).stat().st_size
    except FileNotFoundError:
        size = 0
    return path.stat().st_mtime_ns, size


def _row(run: RunFolder) -> dict[str, Any]:
    status, event = run.status(), run.last_event()
    metadata = status.metadata
    lease = run.lease() or {}
    return {
        "task_id": run.task_id,
        "machine": run.spec.machine_id,
        "kind": run.spec.kind,
        "fleet": run.spec.fleet_id,
        "state": status.status,
        "final": status.state.final,
        "cancelling": metadata.get("cancelling", False),
        "attempt": metadata.get("attempt", 0),
        "worker": lease.get("owner"),
        "progress": status.progress,
        "current": status.current,
        "total": status.total,
        "epoch": event.epoch if event else None,
        "loss": event.loss if event else None,
        "rows_per_second": event.rows_per_second if event else None,
        "created": run.spec.created,
        "updated": metadata.get("updated"),
        "seconds": _seconds_between(run.spec.created, metadata.get("updated")),
        "message": status.error or status.message,
    }


def _seconds_between(start: str, end: str | None) -> float | None:
    if end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def select(
    rows: list[dict[str, Any]], state: str = "", machine: str = "", fleet: str = ""
) -> dict[str, Any]:
    """Return the rows that fit the filters, running first, newest first, and counts of all."""
    fitting = [
        row
        for row in rows
        if (not state or row["state"] == state)
        and machine in row["machine"]
        and (not fleet or row["fleet"] == fleet)
    ]
    fitting.sort(key=lambda row: ORDER.index(row["state"]))
    return {
        "counts": dict(Counter(row["state"] for row in rows)),
        "fleets": sorted({row["fleet"] for row in rows if row["fleet"]}, reverse=True),
        "fitting": len(fitting),
        "rows": fitting[:MOST_ROWS],
    }


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
        pages = template_variables(self.server)["pages"]
        links = "".join(f'<li><a href="{page}">{page.title()}</a></li>' for page in pages)
        self.write(PAGE.read_text().replace("<!-- pages -->", links))


class TasksHandler(_Handler):
    """Rows and counts as JSON."""

    async def get(self) -> None:
        """Write the tasks that fit `state`, `machine` (a part of its id) and `fleet`."""
        filters = {
            name: self.get_query_argument(name, "") for name in ("state", "machine", "fleet")
        }
        self.answer(select(self.index.rows(), **filters))


class LossesHandler(_Handler):
    """A task's losses as JSON."""

    async def get(self, task_id: str) -> None:
        """Write the columns of the loss history of one task."""
        try:
            losses = await asyncio.to_thread(lambda: open_run(task_id, self.index.home).losses())
        except GanLabError as error:
            self.set_status(error.http_status)
            self.answer({"message": str(error), "reason": error.reason})
            return
        columns = losses[["epoch", "loss", "validation"]].astype(object)
        self.answer(columns.where(columns.notna(), None).to_dict("list"))


class LabCollector:
    """Our figures for Prometheus, read from the run folders when they are asked for."""

    def __init__(self, index: RunIndex) -> None:
        self.index = index

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the metrics; names and units follow Prometheus's conventions."""
        rows = self.index.rows()
        tasks = GaugeMetricFamily("gan_lab_tasks", "Tasks in the record", labels=["kind", "state"])
        for (kind, state), count in Counter((row["kind"], row["state"]) for row in rows).items():
            tasks.add_metric([kind, state], count)
        yield tasks
        seconds = CounterMetricFamily(
            "gan_lab_task_seconds", "Seconds from request to end", labels=["kind"]
        )
        retries = CounterMetricFamily(
            "gan_lab_task_retries", "Attempts behind the first", labels=["kind"]
        )
        for kind in sorted({row["kind"] for row in rows}):
            ended = [row for row in rows if row["kind"] == kind and row["final"]]
            seconds.add_metric([kind], sum(row["seconds"] or 0 for row in ended))
            again = [max(0, row["attempt"] - 1) for row in rows if row["kind"] == kind]
            retries.add_metric([kind], sum(again))
        yield seconds
        yield retries
        running = [row for row in rows if row["state"] == "running" and row["kind"] == "train"]
        yield GaugeMetricFamily(
            "gan_lab_training_rows_per_second",
            "Rows that running trainings learn from each second",
            value=sum(row["rows_per_second"] or 0 for row in running),
        )
        yield GaugeMetricFamily(
            "gan_lab_queue_length",
            "Tasks that wait for a worker",
            value=sum(row["state"] == "pending" for row in rows),
        )
        yield GaugeMetricFamily(
            "gan_lab_redis_up",
            "Whether Redis answers (1) or not (0)",
            value=float(_redis_answers()),
        )


def _redis_answers() -> bool:
    url = redis_url(load_settings())
    if url is None:
        return False
    client = connect(url, timeout_s=1.0)
    try:
        return bool(client.ping())
    except OSError:
        return False
    except Exception as error:
        if type(error).__module__.startswith("redis"):
            return False
        raise
    finally:
        client.close()


def dask_setup(scheduler: Any) -> None:
    """Add the page, its navigation entry and the metrics to a scheduler."""
    index = RunIndex(find_workspace())
    common = {"extra": index, "dask_server": scheduler}
    scheduler.http_application.add_handlers(
        r".*",
        [
            (r"/lab", PageHandler, common),
            (r"/lab/tasks.json", TasksHandler, common),
            (r"/lab/losses/([0-9a-f-]{36}).json", LossesHandler, common),
        ],
    )
    pages = template_variables(scheduler)["pages"]
    if "lab" not in pages:
        pages.insert(0, "lab")
    if not any(isinstance(known, LabCollector) for known in list(REGISTRY._collector_to_names)):
        REGISTRY.register(LabCollector(index))
