"""What usually goes wrong with a workspace: a table of checks, each with what to do."""

from __future__ import annotations

import os
import shutil
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gan_lab.cluster import queue, services, task_names
from gan_lab.cluster.services.embedded import log_path
from gan_lab.cluster.upkeep.versions import differences, versions
from gan_lab.errors import GanLabError
from gan_lab.settings import Settings
from gan_lab.workspace import service_record

if TYPE_CHECKING:
    from distributed import Client

SHARED_MEMORY = Path("/dev/shm")  # what joblib and torch pass arrays through
MIN_SHARED_BYTES = 64e6
MIN_FREE_BYTES, MIN_FREE_SHARE = 2e9, 0.05
MIN_WORKER_BYTES = 1e9
MAX_SKEW_S = 2.0  # a lease is judged by the age of its file

Found = tuple[str, str]  # what there is, and what to do: nothing where all is well


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


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what each check finds; starts nothing."""
    for check, look in HOST_CHECKS.items():
        yield Finding(check, *look(settings))
    facts = services.services_status(settings)
    for check, ask in SERVICE_CHECKS.items():
        yield Finding(check, *ask(facts, settings))
    yield Finding("clock", *_clock("the workspace's folder", lambda: _folder_time(settings.home)))
    if facts["scheduler_trouble"]:
        return
    try:
        client, lost = services.find_client(settings), queue.lost()
    except GanLabError as error:
        yield Finding("scheduler", str(error), "Ask again: it answered a moment ago.")
        return
    if client is not None:
        yield from _cluster(client)
    if lost:
        yield Finding("tasks", *task_names.lost_sentences(len(lost)))


# ---- this host


def _folders(settings: Settings) -> Found:
    for name in ("data", "runs", "notebooks"):
        folder = settings.home / name
        if not os.access(folder, os.W_OK | os.X_OK):
            advice = "Make it, give yourself the right to write there, or set GAN_LAB_HOME."
            return f"{folder} cannot be written to.", advice
    return f"{settings.home} can be written to.", ""


def _disk(settings: Settings) -> Found:
    usage = shutil.disk_usage(settings.home)
    says = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free below {settings.home}."
    little = usage.free < max(MIN_FREE_BYTES, MIN_FREE_SHARE * usage.total)
    advice = "Make room: `gan-lab clean --older-than 30` says what may go."
    return says, advice if little else ""


def _shared_memory(_: Settings) -> Found:
    advice = "Mount it, with 1 GB or so; with Docker: --shm-size=1g."
    if not os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return f"{SHARED_MEMORY} is missing or read-only.", advice
    free = shutil.disk_usage(SHARED_MEMORY).free
    says = f"{free / 1e6:,.0f} MB are free in {SHARED_MEMORY}."
    return says, advice if free < MIN_SHARED_BYTES else ""


def _proxy(_: Settings) -> Found:
    proxies = {name: url for name, url in urllib.request.getproxies().items() if name != "no"}
    if proxies and not urllib.request.proxy_bypass("127.0.0.1"):
        says = f"{', '.join(sorted(proxies))} requests to this host itself go to a proxy."
        return says, "Set NO_PROXY=localhost,127.0.0.1 beside it."
    return "No proxy is in the way to this host.", ""


def _packages(_: Settings) -> Found:
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
        return f"{'; '.join(wrong)}.", advice
    return f"All that gan-lab {metadata.version('gan-lab')} needs is there.", ""


HOST_CHECKS: dict[str, Callable[[Settings], Found]] = {
    "workspace": _folders,
    "disk": _disk,
    "shared memory": _shared_memory,
    "proxy": _proxy,
    "packages": _packages,
}


# ---- the services; `facts`: what `services_status` says


def _scheduler(facts: dict[str, Any], settings: Settings) -> Found:
    if facts["scheduler_answers"]:
        return f"It answers at {facts['scheduler_address']}.", ""
    if facts["scheduler_address"]:
        says, advice = facts["scheduler_trouble"]
        return says, advice
    record = service_record.read_services(settings.home)
    if record is None:
        return "The embedded services do not run; they start when needed.", ""
    says = f"The record of the services is stale: process {record.pid} is gone or does not answer."
    return says, f"`gan-lab up` replaces it; {log_path(settings.home)} says how they ended."


def _redis(facts: dict[str, Any], settings: Settings) -> Found:
    if facts["redis_answers"]:
        return "It answers.", ""
    url = facts["redis_url"]
    if url is None and settings.scheduler_address:
        return "None is set (GAN_LAB_REDIS_URL): what tasks say is seen later.", ""
    if url is None:
        return "The embedded server does not run; it starts when needed.", ""
    if settings.redis_url:
        advice = "Start it, or correct or unset GAN_LAB_REDIS_URL"
    else:
        advice = (
            f"The supervisor (process {facts['pid']}) starts it again within seconds; if it does "
            "not: `gan-lab down`, then `gan-lab up`"
        )
    advice += ". Without it bars stop, nothing else."
    where = urlsplit(url)
    address = (str(where.hostname), where.port or 6379)
    place = f"{address[0]}:{address[1]}"
    try:
        with socket.create_connection(address, timeout=settings.connect_timeout_s):
            says = f"Port {place} is taken by something that is no Redis, or refuses the password."
    except OSError as error:
        says = f"Nothing answers at {place} ({error.strerror or error})."
    return says, advice


SERVICE_CHECKS: dict[str, Callable[[dict[str, Any], Settings], Found]] = {
    "scheduler": _scheduler,
    "redis": _redis,
}


# ---- the cluster


def _cluster(client: Client) -> Iterator[Finding]:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    yield Finding("clock", *_clock("the scheduler", lambda: client.run_on_scheduler(time.time)))
    for worker in workers:
        yield Finding("clock", *_clock(worker, partial(_worker_time, client, worker)))
    yield Finding("versions", *_versions(client))
    least = min((worker["memory_limit"] for worker in workers.values()), default=0)
    says = f"Workers: {len(workers)}, with at least {least / 1e9:.1f} GB of memory each."
    advice = "" if least >= MIN_WORKER_BYTES else "Start workers, or fewer: GAN_LAB_WORKERS."
    yield Finding("workers", says, advice)


def _versions(client: Client) -> Found:
    found = differences(versions(client))
    if not found:
        return "Client, scheduler and workers have the same packages.", ""
    says = "; ".join(
        f"{name}: " + ", ".join(f"{who} {has}" for who, has in by_who.items())
        for name, by_who in found.items()
    )
    return f"{says}.", "Install the same versions (constraints.txt) everywhere."


def _clock(who: str, read: Callable[[], float]) -> Found:
    off = skew(time.time(), read(), time.time())
    advice = "Synchronise the clocks (chrony, systemd-timesyncd): leases and events depend on them."
    says = f"{who} is {round(off, 1) + 0.0:+.1f} s off this host's clock."
    return says, advice if abs(off) > MAX_SKEW_S else ""


def skew(before: float, there: float, after: float) -> float:
    """How far a clock is off that was read between two moments of ours (s)."""
    return there - min(max(there, before), after)


def _folder_time(home: Path) -> float:
    """What time the file system takes it to be."""
    probe = service_record.services_folder(home) / ".clock"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _worker_time(client: Client, worker: str) -> float:
    return float(client.run(time.time, workers=[worker])[worker])
