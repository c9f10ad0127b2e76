"""The extension itself: which path is answered by whom."""

from __future__ import annotations

import re
from typing import Any

from jupyter_server.extension.application import ExtensionApp

from gan_lab.server import panel
from gan_lab.server.handler import ApiHandler
from gan_lab.server.routes import ROUTES
from gan_lab.server.socket import TaskSocket

SOCKET = r"/ws/gan/training/([^/]+)"


class GanLabExtension(ExtensionApp):
    """gan_lab within a Jupyter server: no second server, no second password."""

    name = "gan_lab"
    extension_url = "/api/gan/openapi.json"

    def initialize_handlers(self) -> None:
        """Append our routes; the server puts its base_url before them."""
        for path in dict.fromkeys(route.path for route in ROUTES):
            routes = {route.method: route for route in ROUTES if route.path == path}
            pattern = re.sub(r"\{\w+\}", "([^/]+)", path)
            self.handlers.append((pattern, ApiHandler, {"routes": routes}))
        self.handlers.append((SOCKET, TaskSocket))
        self.handlers.append((r"/(?:api|ws)/gan(?:/.*)?", ApiHandler, {"routes": {}}))

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        await panel.show()
