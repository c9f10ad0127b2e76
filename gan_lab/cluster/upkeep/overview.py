"""How the workspace stands: its services, what they are at, and what there is."""

from __future__ import annotations

import shutil
from typing import Any

from gan_lab.cluster import queue, services
from gan_lab.settings import Settings
from gan_lab.workspace.files import folder_bytes
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import all_runs, disk_of, runs_folder


def overview(settings: Settings) -> dict[str, Any]:
    """Say where the services are, what they are at, and what there is; starts nothing.

    `lost` is None where a scheduler that does not answer may have what waits.
    """
    facts = services.services_status(settings)
    client = services.find_client(settings) if facts["scheduler_answers"] else None
    every = all_runs(settings.home)
    open_runs = [run for run in every if not run.final]
    unknown = facts["scheduler_trouble"] is not None
    lost = None if unknown else len(queue.lost(open_runs))
    running = [run for run in open_runs if run.lease.held]
    facts |= {
        "running": [_task(run) for run in running],
        "queued": len(open_runs) - len(running) - (lost or 0),
        "lost": lost,
        "runs": len(every),
        "runs_bytes": folder_bytes(runs_folder(settings.home)),
        "disk_free_bytes": shutil.disk_usage(disk_of(settings.home)).free,
        "cores": 0,
        "memory_bytes": 0,
        "workers_starting": 0,
    }
    if client is not None:
        workers = queue.workers_of(client).values()
        if facts["embedded"]:
            facts["workers_starting"] = max(facts["workers"] - len(workers), 0)
        facts["workers"] = len(workers)
        facts["cores"] = sum(worker["nthreads"] for worker in workers)
        facts["memory_bytes"] = sum(worker["memory_limit"] for worker in workers)
    links = _links(facts["dashboard_link"], settings)
    return facts | {"links": links, "dashboard_link": links.get("dashboard")}


def _task(run: RunFolder) -> dict[str, Any]:
    status = run.status()
    about = {"task_id": run.task_id, "kind": run.spec.kind, "machine_id": run.spec.machine_id}
    return about | {"progress": status.progress, "message": status.message}


def _links(dashboard: str | None, settings: Settings) -> dict[str, str]:
    """Where one looks: the dashboard, our page and Dask's metrics."""
    links = {"dashboard": dashboard} if dashboard else {}
    if dashboard and not settings.scheduler_address:
        base = dashboard.removesuffix("/status")
        links |= {"our page": f"{base}/lab", "metrics": f"{base}/metrics"}
    return links
