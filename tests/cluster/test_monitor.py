"""Our page on a real scheduler's server, over a history of every state."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from dask.utils import key_split

import gan_lab as lab
from gan_lab.cluster import services
from gan_lab.cluster.prepare import FLEET
from gan_lab.cluster.task_names import task_key
from gan_lab.settings import load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from tests.cluster.history import (
    FLEETS,
    KINDS,
    MACHINES,
    SENTENCE,
    STATES,
    make_history,
    pending,
    serve_dashboard,
)

pytestmark = pytest.mark.slow

TASKS = 30  # every kind in every state


@dataclass
class Dashboard:
    """The dashboard of a scheduler without workers, and the runs it tells of."""

    url: str
    runs: list[RunFolder]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30)

    def until(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as it will be: the picture is taken beside the answers."""
        for _ in range(200):
            answer = self.get(path)
            value = answer.json() if path.split("?")[0].endswith(".json") else answer.text
            if holds(value):
                return value
            threading.Event().wait(0.1)
        raise AssertionError(value)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    home = tmp_path_factory.mktemp("monitored")
    runs = make_history(home, TASKS)
    with serve_dashboard(home, pending(runs)) as url:
        yield Dashboard(url, runs)


@pytest.fixture(scope="module")
def tasks(dashboard: Dashboard) -> dict[str, Any]:
    """The complete answer, once the waiting tasks have reached the scheduler."""
    path = "/lab/tasks.json"
    return dashboard.until(path, lambda data: data["states"]["pending"] == len(KINDS))


def test_the_page_stands_in_the_dashboards_navigation_and_loads_nothing_foreign(
    dashboard: Dashboard,
) -> None:
    page = dashboard.get("/lab")
    assert page.status_code == 200 and 'href="status"' in page.text
    assert 'href="lab"' in dashboard.get("/status").text
    assert dashboard.get("/individual-plots.json").json()["Individual Lab"] == "/lab"
    # Behind a proxy only what is relative is found, and its policy lets nothing else run.
    assert re.findall(r'(?:src|href|fetch\()\s*=?\s*["\'`](?:/|https?:)', page.text) == []
    nonce = re.search(r"script-src 'nonce-([^']+)'", page.headers["Content-Security-Policy"])
    assert nonce is not None and re.findall(r"<script[^>]*>", page.text) == [
        f'<script nonce="{nonce[1]}">'
    ]


def test_every_task_is_told_with_its_state(dashboard: Dashboard, tasks: dict[str, Any]) -> None:
    assert tasks["states"] == dict.fromkeys(STATES, len(KINDS))
    assert [row["state"] for row in tasks["rows"][: 3 * len(KINDS) : len(KINDS)]] == [
        "running",
        "pending",
        "lost",
    ]
    assert tasks["fleets"] == [FLEETS[0]]
    rows = {row["task_id"]: row for row in tasks["rows"]}
    done, failed, revoked, running, pending, lost = (
        rows[run.task_id] for run in dashboard.runs[:6]
    )
    assert (done["epoch"], done["total"], done["progress"], done["left_s"]) == (40, 40, 100, None)
    assert failed["message"] == SENTENCE and failed["loss"] == pytest.approx(3 / 20)
    assert revoked["final"] and not running["final"]
    assert running["rows_per_second"] == 12_000 and running["attempt"] == 1
    assert running["worker"] == "tls://127.0.0.1:40001" and running["started"] > running["created"]
    assert pending["worker"] is None and pending["started"] is None
    assert lost["status"] == "pending" and lost["machine_id"] in MACHINES
    assert f"`gan-lab resume {lost['task_id']}`" in lost["message"]


def test_filters_narrow_what_is_told(dashboard: Dashboard, tasks: dict[str, Any]) -> None:
    query = f"?state=failure&machine=Motor&fleet={FLEETS[0]}"
    some = dashboard.get(f"/lab/tasks.json{query}").json()
    wanted = [
        row["task_id"]
        for row in tasks["rows"]
        if row["state"] == "failure"
        and "motor" in row["machine_id"]
        and row["fleet_id"] == FLEETS[0]
    ]
    assert [row["task_id"] for row in some["rows"]] == wanted and 0 < len(wanted) < len(KINDS)
    assert some["fitting"] == len(wanted) and some["states"] == tasks["states"]


def test_a_loss_curve_ends_at_the_last_epoch(dashboard: Dashboard) -> None:
    curve = dashboard.get(f"/lab/losses/{dashboard.runs[0].task_id}.svg")
    assert curve.headers["Content-Type"] == "image/svg+xml"
    label = ElementTree.fromstring(curve.text).attrib["aria-label"]
    assert "loss 3 to 0.075" in label and "at epoch 40" in label
    unknown = dashboard.get("/lab/losses/11111111-2222-3333-4444-555555555555.svg")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "unknown_task")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(dashboard: Dashboard, method: str) -> None:
    for path in ("/lab", "/lab/tasks.json", f"/lab/losses/{dashboard.runs[0].task_id}.svg"):
        assert httpx.request(method, dashboard.url + path).status_code == 405


def test_what_a_task_says_next_is_seen(dashboard: Dashboard, tasks: dict[str, Any]) -> None:
    run = next(run for run in dashboard.runs if run.lease.held and run.spec.kind == "train")
    facts = {"epoch": 30, "loss": 0.07, "rows_per_second": 9_000.0}
    Announcer(run, load_settings()).say("training", 30, 40, "Epoch 30/40", **facts)
    query = f"/lab/tasks.json?state=running&machine={run.spec.machine_id}"
    seen = dashboard.until(query, lambda data: any(row["epoch"] == 30 for row in data["rows"]))
    row = next(row for row in seen["rows"] if row["task_id"] == run.task_id)
    assert (row["loss"], row["message"]) == (0.07, "Epoch 30/40")


# ---- on the cluster


@pytest.mark.parametrize("machine_id", MACHINES)
def test_the_prefix_of_a_key_is_its_kind(tmp_path: Path, machine_id: str) -> None:
    for run in make_history(tmp_path, TASKS, ("pending",)):
        key = task_key(run)
        assert key_split(key) == run.spec.kind
        assert run.spec.machine_id in key and run.task_id[:8] in key


@pytest.mark.slow
def test_the_dashboard_knows_kinds_fleets_and_machines(
    lab_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FLEET, "20261124-010000-beef")
    machine = "pump_ksb_etanorm_006"
    lab.seed(machine, rows=600).result(timeout=120)
    options = {"model": "tabular", "decoder": "network", "epochs": 3, "compress_dims": [8]}
    run = lab.train(machine, **options)
    run.result(timeout=200)

    def told(dask_scheduler: Any) -> Any:
        spans = dask_scheduler.extensions["spans"].spans_search_by_tag
        found = spans["20261124-010000-beef"]
        metrics = [span.cumulative_worker_metrics for span in found if span.name[-1:] == (machine,)]
        return {
            "prefixes": set(dask_scheduler.task_prefixes),
            "spans": {span.name for span in found},
            "seconds": {
                key[1:3]: value
                for metric in metrics
                for key, value in metric.items()
                if key[0] == "execute" and key[-1] == "seconds"
            },
        }

    def soon() -> Any:
        # A worker sends its metrics with its next heartbeat.
        for _ in range(100):
            facts = services.get_client().run_on_scheduler(told)
            if ("train", "thread-cpu") in facts["seconds"]:
                return facts
            time.sleep(0.1)
        raise AssertionError(facts)

    facts = soon()
    assert {"seed", "train"} <= facts["prefixes"]
    assert (("20261124-010000-beef", machine)) in facts["spans"]
    assert facts["seconds"]["train", "thread-cpu"] > 0  # learning counts as computing

    log = run.log()
    assert [line.get("stage") or line["state"] for line in log] == [
        "PENDING", "initializing", "training", "writing", "completed",
    ]  # fmt: skip
    assert {line["machine_id"] for line in log} == {machine}
    assert {line["fleet_id"] for line in log} == {"20261124-010000-beef"}
    assert all(line["worker"].startswith("tls://127.0.0.1:") for line in log[1:])
