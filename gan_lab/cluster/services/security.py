"""The certificate with which the processes of a Dask cluster know each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gan_lab.workspace.files import write_beside

if TYPE_CHECKING:
    from distributed import Security


BUSY = 3  # exit status: another supervisor keeps this workspace
CERTIFICATE = "dask.pem"


def make_security(certificate: Path) -> Security:
    """Make a certificate for all roles, its own authority, and return Dask's view of it.

    One file for the owner's eyes holds certificate and key: who can read it is let in, nobody else.
    """
    write_beside(certificate, _self_signed(), mode=0o600)
    return read_security(certificate)


def read_security(certificate: Path) -> Security:
    """Return Dask's view of a certificate that `make_security` left."""
    from distributed import Security

    roles = {f"tls_{role}_cert": str(certificate) for role in ("client", "scheduler", "worker")}
    return Security(require_encryption=True, tls_ca_file=str(certificate), **roles)


def _self_signed() -> bytes:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gan_lab")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + made.public_bytes(serialization.Encoding.PEM)
