"""How the workspace stands, and what usually goes wrong with it: for `status` and for `doctor`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
from jupyter_core.paths import jupyter_runtime_dir

from gan_lab.cluster import queue as handover
from gan_lab.cluster import task_names
from gan_lab.cluster.services import connection as services
from gan_lab.cluster.services.embedded import log_path
from gan_lab.errors import GanLabError
from gan_lab.settings import Settings
from gan_lab.workspace import service_record
from gan_lab.workspace.files import folder_bytes
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import run_paths, runs_folder

if TYPE_CHECKING:
    from distributed import Client

PACKAGES = (
    *("gan-lab", "dask", "distributed", "cloudpickle", "torch", "ctgan", "sdv", "rdt"),
    *("numpy", "pandas", "pyarrow", "pydantic", "redis"),
)
SHARED_MEMORY = Path("/dev/shm")  # what joblib and torch pass arrays through
LEAST_SHARED_BYTES = 64e6
LEAST_FREE_BYTES, LEAST_FREE_SHARE = 2e9, 0.05
LEAST_WORKER_BYTES = 1e9
MOST_SKEW_S = 2.0  # a lease is judged by the age of its file


@dataclass(frozen=True)
class Finding:
    """What one check found; `advice`: what to do, where something is wrong."""

    check: str
    says: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is to be done."""
        return not self.advice


# ---- how it stands


def overview(settings: Settings) -> dict[str, Any]:
    """Say where the services are, what they are at, and what there is; starts nothing.

    `lost` is None where a scheduler that does not answer may have what waits.
    """
    facts = services.services_status(settings)
    client = services.find_client(settings) if facts["scheduler_answers"] else None
    open_runs = [RunFolder(path) for path in run_paths(runs_folder(settings.home))]
    count, open_runs = len(open_runs), [run for run in open_runs if not run.final]
    unknown = facts["scheduler_trouble"] is not None
    lost = None if unknown else len(handover.lost(open_runs))
    running = [run for run in open_runs if run.lease.held]
    facts |= {
        "running": [_task(run) for run in running],
        "queued": len(open_runs) - len(running) - (lost or 0),
        "lost": lost,
        "runs": count,
        "runs_bytes": folder_bytes(runs_folder(settings.home)),
        "disk_free_bytes": shutil.disk_usage(settings.home).free,
        "cores": 0,
        "memory_bytes": 0,
        "version_differences": {},
    }
    if client is not None:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        facts["workers"] = len(workers)
        facts["cores"] = sum(worker["nthreads"] for worker in workers)
        facts["memory_bytes"] = sum(worker["memory_limit"] for worker in workers)
        facts["version_differences"] = differences(versions(client))
    links = _links(facts["dashboard_link"], settings)
    return facts | {"links": links, "dashboard_link": links.get("dashboard")}


def _task(run: RunFolder) -> dict[str, Any]:
    status = run.status()
    about = {"task_id": run.task_id, "kind": run.spec.kind, "machine_id": run.spec.machine_id}
    return about | {"progress": status.progress, "message": status.message}


def _links(dashboard: str | None, settings: Settings) -> dict[str, str]:
    """Where one looks: the dashboard, our page, the metrics, and JupyterLab where one runs."""
    links = {}
    if dashboard:
        base = dashboard.removesuffix("/status")
        pages = {"dashboard": dashboard, "our page": f"{base}/lab", "metrics": f"{base}/metrics"}
        links = {name: url for name, url in pages.items() if _served(url, settings)}
    for path in Path(jupyter_runtime_dir()).glob("jpserver-*.json"):
        with suppress(OSError, ValueError):
            server = json.loads(path.read_text())
            if Path(server["root_dir"]) == settings.home and psutil.pid_exists(server["pid"]):
                links["jupyter"] = f"{server['url']}lab"
    return links


def _served(url: str, settings: Settings) -> bool:
    """Whether there is such a page: a dashboard of somebody else's may be without ours."""
    try:
        asked = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(asked, timeout=settings.connect_timeout_s):
            return True
    except urllib.error.HTTPError as error:  # most of its pages know GET only
        return error.code != HTTPStatus.NOT_FOUND
    except OSError:
        return False


def versions(client: Client) -> dict[str, dict[str, str]]:
    """Return the versions that must agree, by who has them: client, scheduler, each worker."""

    # By value: whoever has another version of this package may not have this module.
    def installed(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
        import platform
        from contextlib import suppress
        from importlib import metadata

        found = {"python": platform.python_version()}
        for name in names:
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
        return found

    here = {"client": installed(), "scheduler": client.run_on_scheduler(installed)}
    return here | client.run(installed)


def differences(found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return the packages whose versions are not the same everywhere, with who has which."""
    names = {name for packages in found.values() for name in packages}
    by_name = {
        name: {who: packages.get(name, "none") for who, packages in found.items()}
        for name in sorted(names)
    }
    return {name: who for name, who in by_name.items() if len(set(who.values())) > 1}


# ---- what usually goes wrong


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what each check finds; starts nothing."""
    yield _folders(settings)
    yield _disk(settings.home)
    yield _shared_memory()
    yield _proxy()
    yield _packages()
    yield from _services(settings)


def _folders(settings: Settings) -> Finding:
    for name in ("data", "runs", "notebooks"):
        folder = settings.home / name
        if not os.access(folder, os.W_OK | os.X_OK):
            advice = "Make it, give yourself the right to write there, or set GAN_LAB_HOME."
            return Finding("workspace", f"{folder} cannot be written to.", advice)
    return Finding("workspace", f"{settings.home} can be written to.")


def _disk(home: Path) -> Finding:
    usage = shutil.disk_usage(home)
    says = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free below {home}."
    if usage.free < max(LEAST_FREE_BYTES, LEAST_FREE_SHARE * usage.total):
        return Finding("disk", says, "Make room: `gan-lab clean --older-than 30` says what may go.")
    return Finding("disk", says)


def _shared_memory() -> Finding:
    advice = "Mount it, with 1 GB or so; with Docker: --shm-size=1g."
    if not os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return Finding("shared memory", f"{SHARED_MEMORY} is missing or read-only.", advice)
    free = shutil.disk_usage(SHARED_MEMORY).free
    says = f"{free / 1e6:,.0f} MB are free in {SHARED_MEMORY}."
    return Finding("shared memory", says, advice if free < LEAST_SHARED_BYTES else "")


def _proxy() -> Finding:
    proxies = {name: url for name, url in urllib.request.getproxies().items() if name != "no"}
    if proxies and not urllib.request.proxy_bypass("127.0.0.1"):
        says = f"{', '.join(sorted(proxies))} requests to this host itself go to a proxy."
        return Finding("proxy", says, "Set NO_PROXY=localhost,127.0.0.1 beside it.")
    return Finding("proxy", "No proxy is in the way to this host.")


def _packages() -> Finding:
    from packaging.requirements import Requirement

    wrong = []
    for text in metadata.requires("gan-lab") or []:
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            has = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(has, prereleases=True):
            wrong.append(f"{wanted.name} is {has}, not {wanted.specifier}")
    if wrong:
        advice = "Install the project anew: `make` does, or `pip install --editable .`."
        return Finding("packages", f"{'; '.join(wrong)}.", advice)
    return Finding("packages", f"All that gan-lab {metadata.version('gan-lab')} needs is there.")


def _services(settings: Settings) -> Iterator[Finding]:
    facts = services.services_status(settings)
    yield _scheduler(facts, settings)
    yield _redis(facts, settings)
    yield _clock("the workspace's folder", lambda: _folder_time(settings.home))
    if facts["scheduler_trouble"]:
        return
    try:
        client, lost = services.find_client(settings), handover.lost()
    except GanLabError as error:
        yield Finding("scheduler", str(error), "Ask again: it answered a moment ago.")
        return
    if client is not None:
        yield _clock("the scheduler", lambda: client.run_on_scheduler(time.time))
        for worker in client.scheduler_info(n_workers=-1)["workers"]:
            yield _clock(worker, partial(_worker_time, client, worker))
        yield _agreement(differences(versions(client)))
        yield _memory(client)
    if lost:
        yield Finding("tasks", *task_names.lost_sentences(len(lost)))


def _scheduler(facts: dict[str, Any], settings: Settings) -> Finding:
    address = facts["scheduler_address"]
    if facts["scheduler_answers"]:
        return Finding("scheduler", f"It answers at {address}.")
    if address:
        return Finding("scheduler", *facts["scheduler_trouble"])
    record = service_record.read_services(settings.home)
    if record is None:
        return Finding("scheduler", "The embedded services do not run; they start when needed.")
    says = f"The record of the services is stale: process {record.pid} is gone or does not answer."
    log = log_path(settings.home)
    return Finding("scheduler", says, f"`gan-lab up` replaces it; {log} says how they ended.")


def _redis(facts: dict[str, Any], settings: Settings) -> Finding:
    if facts["redis_answers"]:
        return Finding("redis", "It answers.")
    url = facts["redis_url"]
    if url is None and settings.scheduler_address:
        return Finding("redis", "None is set (GAN_LAB_REDIS_URL): what tasks say is seen later.")
    if url is None:
        return Finding("redis", "The embedded server does not run; it starts when needed.")
    where = urlsplit(url)
    place = f"{where.hostname}:{where.port or 6379}"
    advice = "Start it, or correct or unset GAN_LAB_REDIS_URL: without it bars stop, nothing else."
    if not settings.redis_url:
        advice = (
            f"The supervisor (process {facts['pid']}) starts it again within seconds; if it does "
            "not: `gan-lab down`, then `gan-lab up`. Without it bars stop, nothing else."
        )
    try:
        target = (str(where.hostname), where.port or 6379)
        with socket.create_connection(target, timeout=settings.connect_timeout_s):
            says = f"Port {place} is taken by something that is no Redis, or refuses the password."
    except OSError as error:
        says = f"Nothing answers at {place} ({error.strerror or error})."
    return Finding("redis", says, advice)


def _folder_time(home: Path) -> float:
    """What time the file system takes it to be."""
    probe = service_record.services_folder(home) / ".clock"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _clock(who: str, ask: Callable[[], float]) -> Finding:
    before = time.time()
    there = ask()
    off = skew(before, there, time.time())
    advice = "Synchronise the clocks (chrony, systemd-timesyncd): leases and events depend on them."
    says = f"{who} is {round(off, 1) + 0.0:+.1f} s off this host's clock."
    return Finding("clock", says, advice if abs(off) > MOST_SKEW_S else "")


def _worker_time(client: Client, worker: str) -> float:
    return float(client.run(time.time, workers=[worker])[worker])


def skew(before: float, there: float, after: float) -> float:
    """How far a clock is off that was read between two moments of ours (s)."""
    return there - min(max(there, before), after)


def _agreement(found: dict[str, dict[str, str]]) -> Finding:
    if not found:
        return Finding("versions", "Client, scheduler and workers have the same packages.")
    says = "; ".join(
        f"{name}: " + ", ".join(f"{who} {has}" for who, has in by_who.items())
        for name, by_who in found.items()
    )
    return Finding(
        "versions", f"{says}.", "Install the same versions (constraints.txt) everywhere."
    )


def _memory(client: Client) -> Finding:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    least = min((worker["memory_limit"] for worker in workers), default=0)
    says = f"Workers: {len(workers)}, with at least {least / 1e9:.1f} GB of memory each."
    advice = "" if least >= LEAST_WORKER_BYTES else "Start workers, or fewer: GAN_LAB_WORKERS."
    return Finding("workers", says, advice)
