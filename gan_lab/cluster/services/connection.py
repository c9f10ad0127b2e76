"""Join the services of a workspace, and hold one connection to its Dask cluster.

Embedded services belong to one supervisor process (`services.supervisor`) that everybody
joins and that outlives whoever started it. With `DASK_SCHEDULER_ADDRESS` set, nothing is started.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gan_lab.cluster.services.embedded import end_supervisor, find_supervisor, start_supervisor
from gan_lab.cluster.services.scheduler import ask_scheduler, dashboard_link, security_of
from gan_lab.errors import ServiceUnreachable
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.connection import answers
from gan_lab.workspace import service_record

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)


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
    record = find_supervisor(settings)
    if record is None:
        with service_record.services_lock(settings.home):
            record = find_supervisor(settings) or start_supervisor(settings)
    if settings.redis_url:
        _warn_without_redis(settings.redis_url, settings)
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
        ended = record is not None and end_supervisor(record, settings)
        service_record.forget_services(settings.home)
    return ended


def services_status(settings: Settings | None = None) -> dict[str, Any]:
    """Say where the services are and whether they answer; starts nothing."""
    settings = settings or load_settings()
    record = None if settings.scheduler_address else find_supervisor(settings)
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
        _warn_without_redis(settings.redis_url, settings)
    address = str(settings.scheduler_address)
    return Services(
        redis_url=settings.redis_url,
        scheduler_address=address,
        dashboard_link=dashboard_link(address, get_client(settings).scheduler_info()),
        embedded=False,
    )


def _warn_without_redis(url: str, settings: Settings) -> None:
    """Warn, without the password, where no Redis answers at this URL: bars stop, nothing else."""
    if not answers(url, settings.connect_timeout_s):
        where = urlsplit(url)
        log.warning(
            "No Redis answers at %s:%s (GAN_LAB_REDIS_URL): tasks go on, and what they say is read "
            "from their folders. Start it, correct address or password, or unset the variable.",
            where.hostname, where.port or 6379,
        )  # fmt: skip


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
            _client, _client_key = connect(address, settings), key
        return _client


def find_client(settings: Settings | None = None) -> Client | None:
    """Return a connection to the cluster if there is one to connect to; starts nothing.

    Raises `ServiceUnreachable` where it does not answer.
    """
    settings = settings or load_settings()
    record = None if settings.scheduler_address else find_supervisor(settings)
    address = settings.scheduler_address or (record.scheduler_address if record else None)
    return _client_to(address, settings) if address else None


def scheduler_address(settings: Settings) -> str | None:
    """Where the scheduler is by setting or record, whether or not it is still alive."""
    record = None if settings.scheduler_address else service_record.read_services(settings.home)
    return settings.scheduler_address or (record.scheduler_address if record else None)


def connect(address: str, settings: Settings) -> Client:
    """Return a new connection to this scheduler; raises `ServiceUnreachable`."""
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
                security=security_of(settings),
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
