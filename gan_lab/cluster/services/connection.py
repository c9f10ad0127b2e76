"""Find, start and end the services of a workspace, and hold one connection to its Dask cluster.

Embedded services belong to one supervisor process (`services.supervisor`) that everybody
joins and that outlives whoever started it. With `DASK_SCHEDULER_ADDRESS` set, nothing is started.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gan_lab.cluster.services.security import BUSY, CERTIFICATE, read_security
from gan_lab.errors import ServiceUnreachable
from gan_lab.schema import ServiceRecord
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.connection import answers
from gan_lab.workspace import service_record

if TYPE_CHECKING:
    import psutil
    from distributed import Client, Security

log = logging.getLogger(__name__)

START_S = 60.0  # how long a supervisor may take on a busy host
END_S = 20.0
SUPERVISOR = "gan_lab.cluster.services.supervisor"
LOG = "supervisor.log"


@dataclass(frozen=True)
class Services:
    """Where the services of a workspace are; `redis_url` holds a password."""

    redis_url: str | None = field(repr=False)
    scheduler_address: str
    dashboard_link: str | None
    embedded: bool
    pid: int | None = None


def ensure_services(settings: Settings | None = None) -> Services:
    """Join the services of the workspace, starting the embedded ones if nobody has.

    Raises `ServiceUnreachable` where the scheduler that is configured does not answer, or nothing
    can be started.
    """
    settings = settings or load_settings()
    if settings.scheduler_address:
        return _external(settings)
    record = _alive(settings)
    if record is None:
        with service_record.services_lock(settings.home):
            record = _alive(settings) or _start(settings)
    if settings.redis_url:
        _miss_redis(settings.redis_url, settings)
    return Services(
        redis_url=settings.redis_url or record.redis_url,
        scheduler_address=record.scheduler_address,
        dashboard_link=record.dashboard_link,
        embedded=True,
        pid=record.pid,
    )


def stop_services(settings: Settings | None = None) -> bool:
    """End the embedded services of the workspace; returns whether there were any."""
    settings = settings or load_settings()
    forget_client()
    with service_record.services_lock(settings.home):
        record = service_record.read_services(settings.home)
        ended = record is not None and _end(record, settings)
        service_record.forget_services(settings.home)
    return ended


def services_status(settings: Settings | None = None) -> dict[str, Any]:
    """Say where the services are and whether they answer; starts nothing."""
    settings = settings or load_settings()
    record = None if settings.scheduler_address else _alive(settings)
    redis_url = settings.redis_url or (record.redis_url if record else None)
    scheduler = settings.scheduler_address or (record.scheduler_address if record else None)
    identity, trouble = ask_scheduler(scheduler, settings) if scheduler else ({}, None)
    return {
        "home": str(settings.home),
        "embedded": not settings.scheduler_address,
        "redis_url": redis_url,
        "redis_answers": redis_url is not None and answers(redis_url, settings.connect_timeout_s),
        "scheduler_address": scheduler,
        "scheduler_answers": bool(identity),
        "scheduler_trouble": trouble,
        "dashboard_link": dashboard_link(scheduler, identity) if scheduler else None,
        "workers": record.workers if record else None,
        "pid": record.pid if record else None,
        "started": record.started if record else None,
    }


# ---- services of somebody else


def _external(settings: Settings) -> Services:
    if settings.redis_url:
        _miss_redis(settings.redis_url, settings)
    address = str(settings.scheduler_address)
    return Services(
        redis_url=settings.redis_url,
        scheduler_address=address,
        dashboard_link=dashboard_link(address, get_client(settings).scheduler_info()),
        embedded=False,
    )


def _miss_redis(url: str, settings: Settings) -> None:
    """Warn, without the password, where no Redis answers at this URL: bars stop, nothing else."""
    if not answers(url, settings.connect_timeout_s):
        where = urlsplit(url)
        log.warning(
            "No Redis answers at %s:%s (GAN_LAB_REDIS_URL): tasks go on, and what they say is read "
            "from their folders. Start it, correct address or password, or unset the variable.",
            where.hostname, where.port or 6379,
        )  # fmt: skip


def _listens(address: str, settings: Settings) -> bool:
    try:
        with socket.create_connection(_place(address), timeout=settings.connect_timeout_s):
            return True
    except (OSError, ValueError):
        return False


def _place(address: str) -> tuple[str, int]:
    """Host and port of a Dask address."""
    where = urlsplit(address if "//" in address else f"tcp://{address}")
    return str(where.hostname), where.port or 8786


async def identify(address: str, settings: Settings, patience_s: float) -> dict[str, Any]:
    """Return what a scheduler says of itself; whatever goes wrong is raised as `OSError`."""
    from distributed.core import rpc

    try:
        options = _security(settings).get_connection_args("client")
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
    if not _listens(address, settings):
        return {}, (f"No Dask scheduler at {address}: nothing answers.", start + advice)
    # In a thread, for a notebook's own has a loop that runs.
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(asyncio.run, identify(address, settings, settings.connect_timeout_s))
        try:
            return asked.result(), None
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


def _security(settings: Settings) -> Security:
    from distributed import Security

    if settings.scheduler_address:
        return Security()
    return read_security(service_record.services_folder(settings.home) / CERTIFICATE)


# ---- the embedded supervisor


def _alive(settings: Settings) -> ServiceRecord | None:
    """Return the record of a supervisor that lives and answers; a stale record is no supervisor."""
    record = service_record.read_services(settings.home)
    if record is None or not _is_ours(record, settings.home):
        return None
    return record if _listens(record.scheduler_address, settings) else None


def _is_ours(record: ServiceRecord, home: Path) -> bool:
    """Whether the recorded process is still that supervisor, not another that got its number."""
    import psutil

    try:
        process = psutil.Process(record.pid)
        words = process.cmdline()
        return SUPERVISOR in words and str(home) in words and process.status() != "zombie"
    except psutil.Error:
        return False


def _start(settings: Settings) -> ServiceRecord:
    """Start a supervisor and wait for its word; the lock of the services is held."""
    stale = service_record.read_services(settings.home)
    if stale is not None:  # alive and deaf, or long dead
        _end(stale, settings)
        service_record.forget_services(settings.home)
    process, ready = _spawn(settings)
    with os.fdopen(ready, "rb") as pipe:
        readable, _, _ = select.select([pipe], [], [], START_S)
        word = pipe.read(5) if readable else b""
    record = service_record.read_services(settings.home)
    if word == b"ready" and record is not None:
        return record
    if process.poll() is None and word != b"ready":
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2)
    if process.poll() == BUSY:  # its starter died before it was ready
        record = _await_record(settings)
        if record is not None:
            return record
    log_path = service_record.services_folder(settings.home) / LOG
    raise ServiceUnreachable(f"The embedded services did not start; {log_path} says why.")


def _spawn(settings: Settings) -> tuple[subprocess.Popen[bytes], int]:
    """Start a supervisor in a session of its own; returns it and the pipe where it says ready."""
    reading, writing = os.pipe()
    log_path = service_record.services_folder(settings.home) / LOG
    environment = {**os.environ, "GAN_LAB_HOME": str(settings.home)}
    with log_path.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", SUPERVISOR, str(settings.home), str(writing)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
            env=environment,
            cwd=settings.home,
        )
    os.close(writing)
    # Reaped whenever it ends, so that it never lies there as a zombie of a long-lived notebook.
    threading.Thread(target=process.wait, daemon=True).start()
    return process, reading


def _await_record(settings: Settings) -> ServiceRecord | None:
    waiter = threading.Event()
    for _ in range(int(START_S)):
        if record := _alive(settings):
            return record
        waiter.wait(1)
    return None


def _end(record: ServiceRecord, settings: Settings) -> bool:
    """End the recorded supervisor if it is still that one; returns whether it was."""
    import psutil

    if not _is_ours(record, settings.home):
        return False
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(record.pid)
        process.send_signal(signal.SIGTERM)
        if not _has_ended(process, END_S):
            process.kill()
            _has_ended(process, END_S)
    return True


def _has_ended(process: psutil.Process, patience_s: float) -> bool:
    """Whether a process ends within this time; one that its parent has yet to reap has ended."""
    waiter = threading.Event()
    for _ in range(int(patience_s / 0.05)):
        if not process.is_running() or process.status() == "zombie":
            return True
        waiter.wait(0.05)
    return False


# ---- the connection


_client: Client | None = None
_client_key: tuple[int, str] | None = None
_client_lock = threading.Lock()


def get_client(settings: Settings | None = None) -> Client:
    """Return this process's connection to the cluster, made anew when it has died.

    Raises `ServiceUnreachable`.
    """
    settings = settings or load_settings()
    known = _client
    key = (os.getpid(), scheduler_address(settings))  # this process's, to what is recorded now
    if known is not None and known.status == "running" and _client_key == key:
        return known
    return _client_to(
        settings.scheduler_address or ensure_services(settings).scheduler_address, settings
    )


def _client_to(address: str, settings: Settings) -> Client:
    global _client, _client_key
    with _client_lock:
        key = (os.getpid(), address)
        if _client is None or _client_key != key or _client.status != "running":
            _close(_client, _client_key)
            _client, _client_key = _connect(address, settings), key
        return _client


def find_client(settings: Settings | None = None) -> Client | None:
    """Return a connection to the cluster if there is one to connect to; starts nothing.

    Raises `ServiceUnreachable` where it does not answer.
    """
    settings = settings or load_settings()
    record = None if settings.scheduler_address else _alive(settings)
    address = settings.scheduler_address or (record.scheduler_address if record else None)
    return _client_to(address, settings) if address else None


def scheduler_address(settings: Settings) -> str | None:
    """Where the scheduler is by setting or record, whether or not it is still alive."""
    record = None if settings.scheduler_address else service_record.read_services(settings.home)
    return settings.scheduler_address or (record.scheduler_address if record else None)


def _connect(address: str, settings: Settings) -> Client:
    from distributed import Client

    _, trouble = ask_scheduler(address, settings)
    if trouble:
        raise ServiceUnreachable(" ".join(trouble))
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Client(
                address,
                security=_security(settings),
                timeout=settings.connect_timeout_s,
                set_as_default=False,
                name="gan_lab",
            )
    except (OSError, TimeoutError, ValueError) as error:
        raise ServiceUnreachable(
            f"The Dask scheduler at {address} no longer answers ({type(error).__name__}): "
            "`gan-lab status` says where it stands."
        ) from None


def forget_client() -> None:
    """Close this process's connection; the next `get_client` makes a new one."""
    global _client, _client_key
    with _client_lock:
        _close(_client, _client_key)
        _client = _client_key = None


def _close(client: Client | None, key: tuple[int, str] | None) -> None:
    """Close a connection of this process, not one inherited through a fork."""
    if client is not None and key is not None and key[0] == os.getpid():
        with suppress(Exception):
            client.close(timeout=2)


atexit.register(forget_client)
