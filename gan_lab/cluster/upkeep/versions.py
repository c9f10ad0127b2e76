"""Which versions client, scheduler and workers have, and where they are not the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client

PACKAGES = (
    *("gan-lab", "dask", "distributed", "cloudpickle", "torch", "ctgan", "sdv", "rdt"),
    *("numpy", "pandas", "pyarrow", "pydantic", "redis"),
)


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


def listed(found: dict[str, dict[str, str]]) -> str:
    """Return such differences as a sentence."""
    return "; ".join(
        f"{name}: " + ", ".join(f"{who} {has}" for who, has in by_who.items())
        for name, by_who in found.items()
    )
