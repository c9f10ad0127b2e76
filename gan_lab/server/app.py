"""The extension itself: which path is answered by whom."""

from __future__ import annotations

import re
from typing import Any

from jupyter_server.extension.application import ExtensionApp

from gan_lab.server import handlers, panel
from gan_lab.server.openapi import document
from gan_lab.server.operation import LabHandler, operation
from gan_lab.server.shared import Shared
from gan_lab.server.socket import TaskSocket


class OpenApi(LabHandler):
    """The description of all this."""

    @operation("This document.", dict[str, Any])
    async def get(self) -> None:
        """Answer with the OpenAPI document."""
        self.answer(document(ROUTES, self.base_url))


ROUTES: dict[str, type[LabHandler]] = {
    "/api/gan/openapi.json": OpenApi,
    "/api/gan/machines": handlers.Machines,
    "/api/gan/machines/{machine_id}": handlers.Machine,
    "/api/gan/machines/{machine_id}/data": handlers.MachineData,
    "/api/gan/machines/{machine_id}/report": handlers.MachineReport,
    "/api/gan/machines/{machine_id}/seed": handlers.StartSeed,
    "/api/gan/machines/{machine_id}/train": handlers.StartTrain,
    "/api/gan/machines/{machine_id}/generate": handlers.StartGenerate,
    "/api/gan/machines/{machine_id}/pipeline": handlers.StartPipeline,
    "/api/gan/tasks": handlers.Tasks,
    "/api/gan/tasks/{task_id}": handlers.Task,
}
SOCKET = "/ws/gan/training/{task_id}"


class GanLabExtension(ExtensionApp):
    """gan_lab within a Jupyter server: no second server, no second password."""

    name = "gan_lab"
    extension_url = "/api/gan/openapi.json"

    def initialize_settings(self) -> None:
        """Put what the handlers share where they find it."""
        self.settings["gan_lab_shared"] = Shared()

    def initialize_handlers(self) -> None:
        """Append our routes; the server puts its base_url before them."""
        for path, handler in ROUTES.items():
            self.handlers.append((pattern(path), handler))
        self.handlers.append((pattern(SOCKET), TaskSocket))
        self.handlers.append((r"/(?:api|ws)/gan(?:/.*)?", handlers.Nothing))

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        shared: Shared = self.settings["gan_lab_shared"]
        shared.cluster.submit(shared.warm)
        await panel.show()

    async def stop_extension(self) -> None:
        """Let go of the threads."""
        self.settings["gan_lab_shared"].close()


def pattern(path: str) -> str:
    """Return the regular expression of a path with `{names}`."""
    return re.sub(r"\{\w+\}", "([^/]+)", path)
