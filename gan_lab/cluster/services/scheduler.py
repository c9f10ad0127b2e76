"""A Dask scheduler, asked who it is before anybody connects to it, and how one speaks to it."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gan_lab.errors import BadParameter
from gan_lab.settings import Settings
from gan_lab.workspace import service_record
from gan_lab.workspace.files import write_beside

if TYPE_CHECKING:
    from distributed import Security

CERTIFICATE = "dask.pem"  # for all roles, and its own authority


def listens(address: str, settings: Settings) -> bool:
    """Whether anything at all listens there."""
    try:
        with socket.create_connection(_place(address), timeout=settings.connect_timeout_s):
            return True
    except (OSError, ValueError):
        return False


def open_door(address: str) -> str | None:
    """Say that who reaches a scheduler may do anything; None where it wants a certificate."""
    if "//" in address and not address.startswith("tcp://"):
        return None
    return (
        "Whoever reaches that port runs code as you, for tcp:// asks for no certificate: "
        "`gan-lab dask-config --certificate FILE` makes it tls://."
    )


def _place(address: str) -> tuple[str, int]:
    """Host and port of a Dask address."""
    where = urlsplit(address if "//" in address else f"tcp://{address}")
    return str(where.hostname), where.port or 8786


async def identify(address: str, settings: Settings, patience_s: float) -> dict[str, Any]:
    """Return what a scheduler says of itself; whatever goes wrong is raised as `OSError`."""
    from distributed.core import rpc

    try:
        options = security_of(settings).get_connection_args("client")
        async with asyncio.timeout(patience_s), rpc(address, connection_args=options) as it:
            return dict(await it.identity(n_workers=-1))
    except Exception as error:  # another program's words, read as Dask's, may mean anything
        raise ConnectionError(type(error).__name__) from None


def ask_scheduler(
    address: str, settings: Settings
) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """Return what the scheduler says of itself, or else what is wrong and what to do.

    `Client` would wait for ever for the first word of a program that says none.
    """
    start, advice = "", "Correct or unset DASK_SCHEDULER_ADDRESS: unset, the embedded one is used."
    if settings.scheduler_address:
        start = "Start it; look for a firewall. "
    else:
        advice = "`gan-lab down`, then `gan-lab up`; `gan-lab resume --all` goes on with its tasks."
    if not listens(address, settings):
        return {}, (f"No Dask scheduler at {address}: nothing answers.", start + advice)
    # In a thread, for a notebook's own has a loop that runs.
    with ThreadPoolExecutor(1) as thread:
        identity = thread.submit(
            asyncio.run, identify(address, settings, settings.connect_timeout_s)
        )
        try:
            return identity.result(), None
        except OSError as error:
            return {}, (
                f"Something listens at {address} that does not answer as a Dask scheduler "
                f"({error}): it is another program, hangs, or has other TLS settings.",
                advice,
            )


def dashboard_link(address: str, identity: dict[str, Any]) -> str | None:
    """Where a scheduler that says this of itself has its dashboard; None where it has none."""
    port = identity.get("services", {}).get("dashboard")
    if not port:
        return None
    from distributed.utils import format_dashboard_link

    return str(format_dashboard_link(_place(address)[0], port))


def security_of(settings: Settings) -> Security:
    """Return how one speaks to the scheduler: Dask's own settings, or the embedded certificate."""
    from distributed import Security

    if settings.scheduler_address:
        return Security()
    return read_security(service_record.services_folder(settings.home) / CERTIFICATE)


def make_security(certificate: Path) -> Security:
    """Make a certificate for all processes of a cluster, and return Dask's view of it."""
    from distributed import Security

    made = Security.temporary()
    write_beside(certificate, f"{made.tls_client_key}{made.tls_client_cert}", mode=0o600)
    return read_security(certificate)


def check_certificate(certificate: Path) -> None:
    """Raise `BadParameter` where a file holds no certificate, or one that is no longer valid."""
    from cryptography.x509 import load_pem_x509_certificate

    try:
        until = load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except ValueError:
        raise BadParameter(f"{certificate} is no certificate: name another file.") from None
    if until < datetime.now(UTC):
        raise BadParameter(
            f"The certificate in {certificate} was valid until {until:%Y-%m-%d}: remove it, and a "
            "new one is made. Then start scheduler and workers again."
        )


def read_security(certificate: Path) -> Security:
    """Return Dask's view of a certificate that `make_security` left."""
    from distributed import Security

    roles = {f"tls_{role}_cert": str(certificate) for role in ("client", "scheduler", "worker")}
    return Security(require_encryption=True, tls_ca_file=str(certificate), **roles)
