"""Redis and Dask of a workspace: joined where they are, started where there are none.

It hands out `ensure_services`, `get_client`, `find_client` and `stop_services`; the supervisor is a
process of its own that outlives whoever started it. It imports `wire` and `workspace`, and no other
room of the cluster but the monitor that the scheduler shows.
"""

from gan_lab.cluster.services.connection import (
    ensure_services,
    find_client,
    forget_client,
    get_client,
    scheduler_address,
    services_status,
    started_otherwise,
    stop_services,
    use,
    worker_count,
)
from gan_lab.cluster.services.scheduler import identify

__all__ = [
    "ensure_services",
    "find_client",
    "forget_client",
    "get_client",
    "identify",
    "scheduler_address",
    "services_status",
    "started_otherwise",
    "stop_services",
    "use",
    "worker_count",
]
