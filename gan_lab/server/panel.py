"""The workspace's cluster in JupyterLab's Dask panel, its dashboard behind Jupyter's own login."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tornado import web

from gan_lab.cluster import services
from gan_lab.errors import GanLabError
from gan_lab.settings import find_workspace, load_settings
from gan_lab.workspace import runs

LAYOUT = Path(__file__).with_name("lab.jupyterlab-workspace")
PANEL_ID = "gan_lab-cluster-of-the-workspace"  # five words: so its addresses are made
ASK_EVERY_S = 2.0
ASK_TIMEOUT_S = 2.0


class WorkspaceCluster:
    """What dask-labextension wants of a cluster; `start`: start the services if nobody has."""

    def __init__(self, start: bool = True, asynchronous: bool = True) -> None:
        self._start = start
        self._address: str | None = None
        self._identity: dict[str, Any] = {}
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    def __await__(self) -> Generator[Any, None, Self]:
        return self._ready().__await__()

    async def _ready(self) -> Self:
        if self._start:
            await asyncio.to_thread(services.ensure_services)
        await self._ask()
        return self

    @property
    def scheduler_info(self) -> dict[str, Any]:
        """Who the scheduler is and which workers it has, as it said a moment ago."""
        if time.monotonic() - self._asked_at > ASK_EVERY_S:
            self._asked_at = time.monotonic()
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return {"workers": {}, **self._identity}

    @property
    def scheduler_address(self) -> str:
        """Where the scheduler is; empty while there is none."""
        return str(self._identity.get("address", ""))

    @property
    def dashboard_link(self) -> str:
        """Where the dashboard is, as the Jupyter server reaches it; empty while there is none."""
        port = self._identity.get("services", {}).get("dashboard")
        return f"http://{urlsplit(self.scheduler_address).hostname}:{port}/status" if port else ""

    async def _ask(self) -> None:
        self._asked_at = time.monotonic()
        with suppress(OSError, ValueError, GanLabError):
            settings = await asyncio.to_thread(load_settings)
            address = await asyncio.to_thread(services.scheduler_address, settings)
            if address != self._address:  # one that is only busy keeps its pages
                self._address, self._identity = address, {}
            if address is not None:
                self._identity = await services.identify(address, settings, ASK_TIMEOUT_S)

    def scale(self, workers: int) -> None:
        """Refuse: how many workers there are is a setting."""
        raise web.HTTPError(
            409,
            "The number of workers is a setting: GAN_LAB_WORKERS, then `gan-lab down` and "
            "`gan-lab up`.",
        )

    adapt = scale

    async def close(self) -> None:
        """End the embedded services, unless that would cut off a task that runs."""
        if busy := await asyncio.to_thread(lambda: sum(run.lease.held for run in runs.all_runs())):
            raise GanLabError(
                f"Tasks are running ({busy}): cancel them first, or run `gan-lab down`."
            )
        await asyncio.to_thread(services.stop_services)
        self._identity = {}


async def show() -> None:
    """Give this Jupyter server's panel the workspace's cluster, and a layout that shows it."""
    if "dask_labextension" not in sys.modules:
        return
    import dask
    from dask_labextension.manager import manager

    try:
        name = find_workspace().name
    except GanLabError:
        return
    factory = {"module": __name__, "class": WorkspaceCluster.__name__}
    dask.config.set({f"labextension.factory.{key}": value for key, value in factory.items()})
    if manager.get_cluster(PANEL_ID) is None:
        with dask.config.set({"labextension.factory.kwargs": {"start": False}}):
            await manager.start_cluster(PANEL_ID, {"name": f"gan_lab: {name}"})
    if "jupyterlab" in sys.modules:
        await asyncio.to_thread(_save_layout)


def _save_layout() -> None:
    """Put our layout among the user's JupyterLab workspaces; one they have changed stays."""
    from jupyterlab.commands import get_workspaces_dir
    from jupyterlab_server.workspaces_handler import WorkspacesManager

    text = LAYOUT.read_text()
    name, layouts = json.loads(text)["metadata"]["id"], WorkspacesManager(get_workspaces_dir())
    with suppress(OSError):  # a home that is read-only has no workspaces
        if not layouts.load(name)["data"]:
            layouts.save(name, text)
