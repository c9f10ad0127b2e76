"""The one process that keeps a workspace's embedded services: a Valkey server, a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock, Timeout

from gan_lab.cluster.services.embedded import BUSY
from gan_lab.cluster.services.scheduler import CERTIFICATE, check_certificate, make_security
from gan_lab.cluster.services.valkey import ValkeyChild
from gan_lab.schema import ServiceRecord, utc_now
from gan_lab.settings import Settings, load_settings, workspace_path
from gan_lab.workspace import service_record

if TYPE_CHECKING:
    from distributed import LocalCluster, Scheduler, Security

log = logging.getLogger("gan_lab.supervisor")
CHECK_S = 1.0
PRELOAD, TRAIN = "gan_lab.cluster.preload", {"TRAIN": 1}  # what workers load, and offer
STARTED = utc_now()

# A killed worker makes every task that waited on it look suspicious. The tasks count their own
# attempts in their run folders, so Dask must not give up before they do.
DASK_CONFIG = {
    "distributed.scheduler.allowed-failures": 1000,
    "distributed.scheduler.unknown-task-duration": "60s",
    # A worker that was killed is started again, which takes a busy host more than Dask's 15 s.
    "distributed.deploy.lost-worker-timeout": "5 minutes",
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
    home = workspace_path(sys.argv[1])
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    # Whoever only looks whether it listens has no part in the handshake.
    logging.getLogger("distributed.comm.tcp").setLevel(logging.ERROR)
    lock = FileLock(service_record.services_folder(home) / "supervisor.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return BUSY
    with lock:
        asyncio.run(_keep(load_settings()))
    return 0


async def _keep(settings: Settings) -> None:
    from gan_lab.cluster.monitor import page as monitor

    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    folder = service_record.services_folder(settings.home)
    server = ValkeyChild(folder)
    server.start()
    security = make_security(folder / CERTIFICATE)
    try:
        async with _make_cluster(settings, security) as cluster:
            if settings.dashboard == "on":
                monitor.dask_setup(cluster.scheduler)
            else:  # Dask has a port for its pages whether or not there are any
                cluster.scheduler.http_server.stop()
                del cluster.scheduler.services["dashboard"]
            _record(settings, server, cluster)
            with suppress(OSError):  # where Linux groups processes by session, the group counts
                Path("/proc/self/autogroup").write_text(str(settings.worker_nice))
            cluster.scale(settings.workers)  # they take seconds; what is submitted waits for them
            await _until_unneeded(settings, server, cluster, stop, folder)
            # Nobody is to join what is about to end.
            service_record.forget_services(settings.home)
    finally:
        service_record.forget_services(settings.home)
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
        dashboard_link=cluster.dashboard_link if settings.dashboard == "on" else "",
        workers=settings.workers,
        worker_memory=settings.worker_memory,
    )
    service_record.write_services(record, settings.home)


async def _until_unneeded(
    settings: Settings,
    server: ValkeyChild,
    cluster: LocalCluster,
    stop: asyncio.Event,
    folder: Path,
) -> None:
    """Return when told to stop, after the idle time, or when the workspace is gone; start the
    server anew when it died."""
    needed, recorded = time.monotonic(), True
    while not stop.is_set() and time.monotonic() - needed < settings.idle_timeout_s:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), CHECK_S)
        try:
            if not folder.exists():
                log.info("The workspace %s is gone.", settings.home)
                return
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


def config_of_cluster(certificate: Path | None = None) -> dict[str, Any]:
    """Return what Dask's own configuration is to say on every host of a cluster of somebody's; with
    a certificate, which is made where there is none, that all speak TLS by it. Raises
    `BadParameter`."""
    import dask

    needed: dict[str, Any] = {
        "distributed.scheduler.preload": ["gan_lab.cluster.monitor"],
        "distributed.worker.preload": [PRELOAD],
        "distributed.worker.resources": TRAIN,
    }
    if certificate is not None:
        if certificate.exists():
            check_certificate(certificate)
        else:
            make_security(certificate)
        roles = ("ca-file", "client.cert", "scheduler.cert", "worker.cert")
        needed |= {f"distributed.comm.tls.{role}": str(certificate) for role in roles}
        needed |= {"distributed.comm.require-encryption": True}
        needed |= {"distributed.comm.default-scheme": "tls"}
    tree: dict[str, Any] = {}
    dask.config.set(DASK_CONFIG | needed, config=tree)
    return tree


def _make_cluster(settings: Settings, security: Security) -> LocalCluster:
    import dask
    from distributed import LocalCluster

    os.environ["GAN_LAB_HOME"] = str(settings.home)
    dask.config.set(DASK_CONFIG)
    return LocalCluster(
        n_workers=0,
        threads_per_worker=1,
        memory_limit=settings.worker_memory,
        processes=True,
        host="127.0.0.1",
        protocol="tls://",
        security=security,
        dashboard_address="127.0.0.1:0",
        resources=TRAIN,
        preload=[PRELOAD],
        local_directory=str(service_record.services_folder(settings.home) / "workers"),
        asynchronous=True,
        silence_logs=False,
    )


if __name__ == "__main__":
    sys.exit(main())
