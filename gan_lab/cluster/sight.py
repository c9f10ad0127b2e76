"""What each worker of a cluster sees of the workspace, and which of them cannot work on it."""

from __future__ import annotations

import os
import shutil
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_lab.cluster.provenance import package_versions
from gan_lab.cluster.work import this_worker
from gan_lab.errors import ServiceUnreachable
from gan_lab.settings import Settings
from gan_lab.workspace.runs import runs_folder, workspace_mark

if TYPE_CHECKING:
    from distributed import Client

Sight = dict[str, Any]
OURS = ("gan-lab", "commit")  # of the versions: what must be the same everywhere


@cache
def own_home() -> Path | None:
    """Return the workspace that this worker was started with; asked before a task sets another."""
    home = os.environ.get("GAN_LAB_HOME")
    return Path(home).expanduser() if home else None


def home_of_worker(asked: Path) -> Path:
    """Return where this worker has the workspace: where its own `GAN_LAB_HOME` says, else where
    whoever asks has it."""
    return (own_home() if this_worker() else None) or asked


def no_workspace(home: Path) -> str:
    """Say that a worker sees another folder than whoever asked, or none."""
    return (
        f"does not see this workspace at {home}: mount its folder there, or set the worker's own "
        "GAN_LAB_HOME to where it is mounted."
    )


def look_around(asked: str) -> Sight:
    """Return what this worker has; executed there."""
    home = own_home() or Path(asked)
    runs = runs_folder(home)
    return {
        "home": str(home),
        "mark": workspace_mark(home),
        "writes": os.access(runs, os.W_OK | os.X_OK),
        "versions": package_versions(),
        "time": time.time(),
        "free": shutil.disk_usage(home).free if home.exists() else 0,
    }


def sights(client: Client, home: Path, workers: list[str] | None = None) -> dict[str, Sight]:
    """Return what workers have, by their addresses; an `error` where one cannot say it."""

    # By value: a worker may not have this package, and says so.
    def look(asked: str) -> Sight:
        try:
            from gan_lab.cluster.sight import look_around
        except ImportError as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return look_around(asked)

    return dict(client.run(look, str(home), workers=workers))


def trouble(sight: Sight, home: Path) -> str | None:
    """Say why a worker cannot work on this workspace; None where it can."""
    ours = package_versions()
    if "error" in sight:
        return f"cannot load gan_lab ({sight['error']}): install version {ours['gan-lab']} there."
    for name in OURS:
        theirs = sight["versions"].get(name)
        if theirs and ours.get(name, theirs) != theirs:
            what = "version" if name == "gan-lab" else "commit"
            return (
                f"has {what} {theirs} of gan_lab, and this is {ours[name]}: install the same "
                "everywhere."
            )
    if sight["mark"] != workspace_mark(home):
        return no_workspace(Path(sight["home"]))
    if not sight["writes"]:
        return f"may not write to {sight['home']}/runs: give its user the right to."
    return None


_seen: set[tuple[str, str]] = set()  # connections and workers that were asked


def refuse_unfit_workers(client: Client, workers: list[str], settings: Settings) -> None:
    """Raise `ServiceUnreachable` where workers that were not asked yet cannot work here.

    Those of the embedded services are made for this workspace.
    """
    new = [address for address in workers if (client.id, address) not in _seen]
    if not settings.scheduler_address or not new:
        return
    workspace_mark(settings.home, make=True)
    found = sights(client, settings.home, new)
    troubles = {who: why for who, sight in found.items() if (why := trouble(sight, settings.home))}
    if troubles:
        who, why = next(iter(troubles.items()))
        others = f" So it is with {len(troubles)} of {len(found)} workers."
        raise ServiceUnreachable(f"Worker {who} {why}{others if len(troubles) > 1 else ''}")
    _seen.update((client.id, address) for address in found)
