"""Which versions client, scheduler and workers have, and where they are not the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

# Beside those that Dask compares by itself: Python, its own packages, NumPy, pandas.
PACKAGES = ["gan-lab", "torch", "ctgan", "sdv", "rdt", "pyarrow", "pydantic", "redis"]

Versions = dict[str, dict[str, str | None]]


def versions(client: Client) -> Versions:
    """Return the versions that must agree, by who has them: client, scheduler, each worker."""
    said: Any = client.get_versions(packages=PACKAGES)
    everyone = {"client": said["client"], "scheduler": said["scheduler"], **said["workers"]}
    return {who: facts["packages"] for who, facts in everyone.items()}


def differences(found: Versions) -> Versions:
    """Return the packages whose versions are not the same everywhere, with who has which."""
    names = sorted({name for packages in found.values() for name in packages})
    by_name = {name: {who: has.get(name) for who, has in found.items()} for name in names}
    return {name: who for name, who in by_name.items() if len(set(who.values())) > 1}


def listed(found: Versions) -> str:
    """Return such differences as a sentence."""
    return "; ".join(
        f"{name}: " + ", ".join(f"{who} {has or 'none'}" for who, has in by_who.items())
        for name, by_who in found.items()
    )
