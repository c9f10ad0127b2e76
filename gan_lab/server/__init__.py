"""The Jupyter Server extension: REST and WebSocket behind the login of Jupyter itself."""

from __future__ import annotations


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    from gan_lab.server.app import GanLabExtension

    return [{"module": "gan_lab.server", "app": GanLabExtension}]
