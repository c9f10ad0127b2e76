"""What each worker of a cluster sees of the workspace, and which of them cannot work on it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_lab.cluster.provenance import package_versions
from gan_lab.cluster.work import this_worker
from gan_lab.errors import ServiceUnreachable
from gan_lab.settings import Settings, workspace_path
from gan_lab.store import StorePath
from gan_lab.wire.connection import answers
from gan_lab.workspace.files import can_write
from gan_lab.workspace.runs import disk_of, runs_folder, workspace_mark

if TYPE_CHECKING:
    from distributed import Client

Sight = dict[str, Any]
PACKAGE = Path(__file__).parents[1]


@cache
def own_home() -> Path | None:
    """Return the workspace that this worker was started with; asked before a task sets another."""
    home = os.environ.get("GAN_LAB_HOME")
    return workspace_path(home) if home else None


def home_of_worker(asked: Path) -> Path:
    """Return where this worker has the workspace: where its own `GAN_LAB_HOME` says, else where
    whoever asks has it."""
    return (own_home() if this_worker() else None) or asked


def no_workspace(home: Path) -> str:
    """Say that a worker sees another folder than whoever asked, or none."""
    if isinstance(home, StorePath):
        return (
            f"does not see this workspace at {home}: give it the client's GAN_LAB_HOME, and "
            "credentials for the store (AWS_ACCESS_KEY_ID and the like)."
        )
    return (
        f"does not see this workspace at {home}: mount its folder there, or set the worker's own "
        "GAN_LAB_HOME to where it is mounted, or keep the workspace in an object store that all "
        "reach (GAN_LAB_HOME=s3://bucket/folder)."
    )


@cache
def committed_code(package: Path = PACKAGE) -> str | None:
    """Return what tells the committed code of the package from others; None outside a checkout.

    It is of the package's folder alone: a repository around it that has other files, as a project
    has around its virtual environment, is none of its business.
    """
    git = ["git", "-C", str(package), "rev-parse", "--verify", "--quiet", "HEAD:./"]
    with suppress(OSError, subprocess.CalledProcessError):  # no git, or not tracked there
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return None


def look_around(asked: str, redis_url: str = "") -> Sight:
    """Return what this worker has, and whether it reaches that Redis; executed there."""
    home, free = own_home() or workspace_path(asked), 0
    with suppress(OSError):  # not there, or no right to see it
        free = shutil.disk_usage(disk_of(home)).free
    runs = runs_folder(home)
    return {
        "home": str(home),
        "mark": workspace_mark(home),
        "writes": can_write(runs),
        "versions": package_versions(),
        "code": committed_code(),
        "time": time.time(),
        "free": free,
        "load": os.getloadavg()[0] / (os.cpu_count() or 1),
        "redis": not redis_url or answers(redis_url),
    }


def sights(
    client: Client,
    home: Path,
    workers: list[str],
    patience_s: float = 4.0,
    redis_url: str = "",
) -> dict[str, Sight]:
    """Return what workers have, by their addresses; an `error` where one cannot say it.

    One that is stopped or busy for longer than `patience_s` is a `TimeoutError`. `redis_url`: each
    tries to reach it.
    """
    workspace_mark(home, make=True)

    # By value: a worker may not have this package, and says so.
    def look(asked: str, redis_url: str) -> Sight:
        from gan_lab.cluster.sight import look_around

        return look_around(asked, redis_url)

    async def ask(who: str) -> Sight:
        try:
            async with asyncio.timeout(patience_s):
                said = await client.run(
                    look, str(home), redis_url, workers=[who], on_error="return"
                )
        except TimeoutError as error:
            return {"error": error}
        return said[who] if isinstance(said[who], dict) else {"error": said[who]}

    async def ask_all() -> list[Sight]:
        return await asyncio.gather(*map(ask, workers))

    return dict(zip(workers, client.sync(ask_all), strict=True))


def trouble(sight: Sight, home: Path) -> str | None:
    """Say why a worker cannot work on this workspace; None where it can."""
    version, code = package_versions().get("gan-lab"), committed_code()
    if error := sight.get("error"):
        if isinstance(error, TimeoutError):
            return "does not answer: it is stopped, or busy with something else for long."
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, ImportError):
            return f"cannot load gan_lab ({what}): install version {version} there."
        return f"cannot say what it sees of the workspace ({what}): its log says more."
    theirs = sight.get("versions", {}).get("gan-lab")
    if version and theirs and theirs != version:
        return f"has gan_lab {theirs}, and this is {version}: install the same everywhere."
    if code and sight.get("code") and sight["code"] != code:
        return "has other code of gan_lab than this: check out the same commit everywhere."
    if sight["mark"] != workspace_mark(home):
        return no_workspace(workspace_path(sight["home"]))
    if not sight["writes"]:
        return f"may not write to {sight['home']}/runs: give its user the right to."
    return None


_seen: set[tuple[str, str]] = set()  # connections and workers that were asked


def refuse_unfit_workers(client: Client, workers: list[str], settings: Settings) -> None:
    """Raise `ServiceUnreachable` where workers that were not asked yet cannot work here.

    Those of the embedded services are made for this workspace. One that is silent, or leaves while
    it is asked, is let be: a task that it takes finds out by itself.
    """
    from distributed.comm.core import CommClosedError

    new = [address for address in workers if (client.id, address) not in _seen]
    if not settings.scheduler_address or not new:
        return
    found = sights(client, settings.home, new)
    silent = TimeoutError | CommClosedError
    heard = {who: s for who, s in found.items() if not isinstance(s.get("error"), silent)}
    troubles = {who: why for who, sight in heard.items() if (why := trouble(sight, settings.home))}
    if troubles:
        who, why = next(iter(troubles.items()))
        others = f" So it is with {len(troubles)} of {len(found)} workers."
        raise ServiceUnreachable(f"Worker {who} {why}{others if len(troubles) > 1 else ''}")
    _seen.update((client.id, address) for address in found)
