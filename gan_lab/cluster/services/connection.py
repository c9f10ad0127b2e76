"""Join the services of a workspace, and hold one connection to its Dask cluster."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gan_lab.cluster.services.embedded import end_supervisor, find_supervisor, start_supervisor
from gan_lab.cluster.services.scheduler import (
    ask_scheduler,
    dashboard_link,
    open_door,
    security_of,
)
from gan_lab.errors import BadParameter, ServiceUnreachable
from gan_lab.schema import ServiceRecord
from gan_lab.settings import Settings, load_settings
from gan_lab.wire.connection import answers
from gan_lab.workspace import service_record

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)


def scheduler_address(settings: Settings) -> str | None:
    """Where the scheduler is by setting or record, whether or not it is still alive."""
    if settings.scheduler_address:
        return settings.scheduler_address
    record = service_record.read_services(settings.home)
    return record.scheduler_address if record else None


def ensure_services(settings: Settings | None = None) -> ServiceRecord | None:
    """Join the services of the workspace, starting the embedded ones if nobody has.

    Returns the record of the embedded ones, None where those of the settings are used. Raises
    `ServiceUnreachable` where the scheduler that is configured does not answer, or nothing can be
    started.
    """
    settings = settings or load_settings()
    if settings.redis_url and not answers(settings.redis_url, settings.connect_timeout_s):
        where = urlsplit(settings.redis_url)  # without the password
        log.warning(
            "No Redis answers at %s:%s (GAN_LAB_REDIS_URL): tasks go on, and what they say is read "
            "from their folders. Start it, correct address or password, or unset the variable.",
            where.hostname, where.port or 6379,
        )  # fmt: skip
    if settings.scheduler_address:
        _client_to(settings.scheduler_address, settings)
        return None
    if record := find_supervisor(settings):
        return record
    with service_record.services_lock(settings.home):
        return find_supervisor(settings) or start_supervisor(settings)


def worker_count(settings: Settings) -> int:
    """Return how many workers the services have, also while they are still starting."""
    record = ensure_services(settings)
    return record.workers if record else sum(get_client(settings).nthreads().values())


def started_otherwise(settings: Settings) -> tuple[str, str] | None:
    """Say which settings came too late for the embedded services that run, and what to do."""
    record = None if settings.scheduler_address else service_record.read_services(settings.home)
    if record is None:
        return None
    dashboard = "on" if record.dashboard_link else "off"
    began = {"workers": record.workers, "worker_memory": record.worker_memory}
    late = [
        f"GAN_LAB_{name.upper()} is {getattr(settings, name)}, and they began with {value}"
        for name, value in (began | {"dashboard": dashboard}).items()
        if name in settings.model_fields_set and getattr(settings, name) != value
    ]
    says = f"The services that run are others: {'; '.join(late)}."
    return (says, "`gan-lab down`, then `gan-lab up`, once no task runs.") if late else None


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
    scheduler = record.scheduler_address if record else settings.scheduler_address
    redis_url = settings.redis_url or (record.redis_url if record else None)
    identity, trouble = _ask(scheduler, settings) if scheduler else ({}, None)
    return {
        "home": str(settings.home),
        "embedded": not settings.scheduler_address,
        "redis_url": redis_url,
        "redis_answers": redis_url is not None and answers(redis_url),
        "scheduler_address": scheduler,
        "scheduler_answers": bool(identity),
        "scheduler_trouble": trouble,
        "dashboard_link": dashboard_link(scheduler, identity) if scheduler else None,
        "workers": record.workers if record else None,
        "pid": record.pid if record else None,
        "started": record.started if record else None,
    }


def _ask(address: str, settings: Settings) -> tuple[dict[str, Any], tuple[str, str] | None]:
    if _given and (client := _known_client(address)):  # by its own security
        return client.scheduler_info(), None
    return ask_scheduler(address, settings)


# ---- the connection


_client: Client | None = None
_client_key: tuple[int, str] | None = None  # the process it belongs to, and where it leads
_given = False  # `use` made or got it: it has the security of the user's own cluster
_ours = True  # to close: the user made no client of it
_client_lock = threading.RLock()


def use(cluster: Any) -> None:
    """Work on this Dask cluster from now on: a cluster object or a client that the user made.

    A `LocalCluster`, `SSHCluster`, `SLURMCluster`, a gateway's: as it is, with its own security. It
    is as if `DASK_SCHEDULER_ADDRESS` named it, in this process and those that it starts; of these
    only what Dask's own configuration says of TLS is known. None: the setting is unset again.
    Raises `BadParameter`.
    """
    global _client, _client_key, _given, _ours
    from distributed import Client

    if cluster is None:
        forget_client()
        os.environ.pop("DASK_SCHEDULER_ADDRESS", None)
        return
    made = not isinstance(cluster, Client)
    if made and not hasattr(cluster, "get_client"):
        raise BadParameter(f"{cluster!r} is neither a Dask cluster nor a client of one.")
    if getattr(cluster, "asynchronous", False):
        raise BadParameter(f"{cluster!r} is asynchronous: make it without asynchronous=True.")
    try:
        client = Client(cluster, set_as_default=False) if made else cluster
    except (OSError, RuntimeError, TimeoutError, ValueError) as error:
        raise BadParameter(f"{cluster!r} cannot be connected to: {error}") from None
    address = getattr(client.scheduler, "address", None)
    if client.status != "running" or not address:
        raise BadParameter(f"{cluster!r} is not connected to a scheduler: make it anew.")
    with _client_lock:
        forget_client()
        _client, _client_key = client, (os.getpid(), str(address))
        _given, _ours = True, made
    os.environ["DASK_SCHEDULER_ADDRESS"] = str(address)


def get_client(settings: Settings | None = None) -> Client:
    """Return this process's connection to the cluster, made anew when it has died."""
    settings = settings or load_settings()
    if known := _known_client(scheduler_address(settings)):
        return known
    record = ensure_services(settings)
    return _client_to(
        record.scheduler_address if record else str(settings.scheduler_address), settings
    )


def find_client(settings: Settings | None = None) -> Client | None:
    """Return a connection to the cluster if there is one to connect to; starts nothing."""
    settings = settings or load_settings()
    record = None if settings.scheduler_address else find_supervisor(settings)
    address = record.scheduler_address if record else settings.scheduler_address
    return _client_to(address, settings) if address else None


def _client_to(address: str, settings: Settings) -> Client:
    global _client, _client_key
    with _client_lock:
        if known := _known_client(address):
            return known
        forget_client()
        _client, _client_key = connect(address, settings), (os.getpid(), address)
        if door := open_door(address):
            log.warning("Dask's scheduler at %s: %s", address, door)
        return _client


def _known_client(address: str | None) -> Client | None:
    """Return the connection of this process if it leads there and lives."""
    lives = _client is not None and _client.status == "running"
    return _client if lives and _client_key == (os.getpid(), address) else None


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
    """Close this process's connection; the next `get_client` makes a new one.

    A client that the user made stays open, and so does one inherited through a fork.
    """
    global _client, _client_key, _given, _ours
    with _client_lock:
        if _client is not None and _client_key and _client_key[0] == os.getpid() and _ours:
            with suppress(Exception):
                _client.close(timeout=2)
        _client, _client_key, _given, _ours = None, None, False, True


atexit.register(forget_client)
