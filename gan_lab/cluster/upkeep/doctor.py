"""What usually goes wrong with a workspace: checks, each with what to do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gan_lab.cluster import queue, services, task_names
from gan_lab.cluster.provenance import package_versions
from gan_lab.cluster.services.embedded import log_path
from gan_lab.cluster.services.scheduler import open_door
from gan_lab.cluster.sight import Sight, sights, trouble
from gan_lab.errors import GanLabError
from gan_lab.settings import WORKSPACE_FOLDERS, Settings
from gan_lab.workspace import service_record
from gan_lab.workspace.files import can_write
from gan_lab.workspace.runs import disk_of

if TYPE_CHECKING:
    from distributed import Client

MIN_FREE_BYTES, MIN_FREE_SHARE = 2e9, 0.05
MIN_WORKER_BYTES = 1e9
MAX_SKEW_S = 2.0
MAX_LOAD = 2.0  # processes that want a core, for each core of a host


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
    yield _folders(settings)
    yield _disk(settings)
    facts = services.services_status(settings)
    yield _scheduler(facts, settings)
    if late := services.started_otherwise(settings):
        yield Finding("services", *late)
    yield _redis(facts, settings)
    if facts["scheduler_trouble"]:
        return
    try:
        client, lost = services.find_client(settings), queue.lost()
    except GanLabError as error:
        yield Finding("scheduler", str(error), "Ask again: it answered a moment ago.")
        return
    if client is not None:
        yield from _cluster(client, settings, facts["redis_url"] if facts["redis_answers"] else "")
    if lost:
        yield Finding("tasks", *task_names.lost_sentences(len(lost)))


# ---- this host


def _folders(settings: Settings) -> Finding:
    for name in WORKSPACE_FOLDERS:
        folder = settings.home / name
        if not can_write(folder):
            advice = "Make it, give yourself the right to write there, or set GAN_LAB_HOME."
            return Finding("workspace", f"{folder} cannot be written to.", advice)
    return Finding("workspace", f"{settings.home} can be written to.")


def _disk(settings: Settings) -> Finding:
    disk = disk_of(settings.home)
    usage = shutil.disk_usage(disk)
    says = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free below {disk}."
    little = usage.free < max(MIN_FREE_BYTES, MIN_FREE_SHARE * usage.total)
    advice = "Make room: `gan-lab clean --older-than 30` says what may go."
    return Finding("disk", says, advice if little else "")


# ---- the services; `facts`: what `services_status` says


def _scheduler(facts: dict[str, Any], settings: Settings) -> Finding:
    if facts["scheduler_answers"]:
        door = open_door(facts["scheduler_address"]) or ""
        return Finding("scheduler", f"It answers at {facts['scheduler_address']}.", door)
    if facts["scheduler_address"]:
        return Finding("scheduler", *facts["scheduler_trouble"])
    record = service_record.read_services(settings.home)
    if record is None:
        return Finding("scheduler", "The embedded services do not run; they start when needed.")
    says = f"The record of the services is stale: process {record.pid} is gone or does not answer."
    advice = f"`gan-lab up` replaces it; {log_path(settings.home)} says how they ended."
    return Finding("scheduler", says, advice)


def _redis(facts: dict[str, Any], settings: Settings) -> Finding:
    url = facts["redis_url"]
    if facts["redis_answers"]:
        return Finding("redis", "It answers.")
    if url is None and settings.scheduler_address:
        return Finding("redis", "None is set (GAN_LAB_REDIS_URL): what tasks say is seen later.")
    if url is None:
        return Finding("redis", "The embedded server does not run; it starts when needed.")
    advice = "Start it, or correct or unset GAN_LAB_REDIS_URL"
    if not settings.redis_url:
        advice = (
            f"The supervisor (process {facts['pid']}) starts it again within seconds; if it does "
            "not: `gan-lab down`, then `gan-lab up`"
        )
    says = f"No Redis answers at {_without_password(url)}, or it refuses the password."
    return Finding("redis", says, f"{advice}. Without it bars stop, nothing else.")


def _without_password(url: str) -> str:
    where = urlsplit(url)
    return f"{where.hostname}:{where.port or 6379}"


# ---- the cluster


def _cluster(client: Client, settings: Settings, redis_url: str) -> Iterator[Finding]:
    workers = queue.workers_of(client)
    if workers:
        before = time.time()
        seen = sights(client, settings.home, list(workers), redis_url=redis_url)
        times = [sight["time"] for sight in seen.values() if "time" in sight] or [before]
        yield _clock(before, max(times, key=lambda there: abs(there - time.time())))
        for address, sight in seen.items():
            if why := trouble(sight, settings.home):
                yield Finding("worker", f"{address} {why}", "No task is given to it until then.")
            elif sight["free"] < MIN_FREE_BYTES:
                says = f"{address} has {sight['free'] / 1e9:.1f} GB free at {sight['home']}."
                yield Finding("worker", says, "Make room there.")
            elif not sight["redis"]:
                says = f"{address} does not reach Redis at {_without_password(redis_url)}."
                advice = "Open that port to it, or name Redis as all hosts reach it: its bars stop."
                yield Finding("worker", says, advice)
        yield from _busy_hosts(seen)
        yield _versions([sight["versions"] for sight in seen.values() if "versions" in sight])
    least = min((worker["memory_limit"] for worker in workers.values()), default=0)
    says = f"Workers: {len(workers)}, with at least {least / 1e9:.1f} GB of memory each."
    advice = "" if least >= MIN_WORKER_BYTES else "Start workers, or fewer: GAN_LAB_WORKERS."
    yield Finding("workers", says, advice)
    if workers and queue.train_resource(client) is None:
        start = queue.START_ONE.format(services.scheduler_address(settings))
        says = "No worker has the resource TRAIN: trainings run as many at once as it has threads."
        yield Finding("workers", says, start[0].upper() + start[1:] + ".")


def _busy_hosts(seen: dict[str, Sight]) -> Iterator[Finding]:
    loads = {urlsplit(address).hostname: sight.get("load", 0) for address, sight in seen.items()}
    for host, load in loads.items():
        if load > MAX_LOAD:
            yield Finding(
                "load",
                f"{load:.1f} processes want each core of {host}, where workers step back.",
                "Trainings wait for the others: end these, or set GAN_LAB_WORKER_NICE=0.",
            )


def _versions(theirs: list[dict[str, str]]) -> Finding:
    found = sorted(
        f"{name} {has.get(name)} beside {version}"
        for has in {tuple(sorted(one.items())): one for one in theirs}.values()
        for name, version in package_versions().items()
        if name != "commit" and has.get(name) != version
    )
    if not found:
        return Finding("versions", "The workers have the same packages as this process.")
    advice = "Install the same versions (constraints.txt) everywhere."
    return Finding("versions", f"Workers have {', '.join(found)} here.", advice)


def _clock(before: float, there: float) -> Finding:
    off = there - min(max(there, before), time.time())  # it was read since `before`
    advice = "Synchronise the clocks (chrony, systemd-timesyncd): events and logs go by them."
    says = f"A worker is {round(off, 1) + 0.0:+.1f} s off this host's clock."
    return Finding("clock", says, advice if abs(off) > MAX_SKEW_S else "")
