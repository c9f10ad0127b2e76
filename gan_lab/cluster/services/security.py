"""The certificate with which the processes of a Dask cluster know each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gan_lab.workspace.files import write_beside

if TYPE_CHECKING:
    from distributed import Security

CERTIFICATE = "dask.pem"


def make_security(certificate: Path) -> Security:
    """Make a certificate for all roles, its own authority, and return Dask's view of it."""
    from distributed import Security

    made = Security.temporary()
    text = f"{made.tls_client_key}{made.tls_client_cert}"
    write_beside(certificate, text, mode=0o600)
    return read_security(certificate)


def read_security(certificate: Path) -> Security:
    """Return Dask's view of a certificate that `make_security` left."""
    from distributed import Security

    roles = {f"tls_{role}_cert": str(certificate) for role in ("client", "scheduler", "worker")}
    return Security(require_encryption=True, tls_ca_file=str(certificate), **roles)
