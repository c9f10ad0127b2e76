"""Where Redis is, how it is joined, and the names that it knows: every key is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gan_lab.settings import Settings, load_settings
from gan_lab.workspace.service_record import read_services

if TYPE_CHECKING:
    import redis


DATABASE = 2
RECONNECT_S = 2.0


def channel(task_id: str) -> str:
    """Return the channel on which every event of a task is published."""
    return f"gan:training:{task_id}"


def stream_key(task_id: str) -> str:
    """Return the key of the stream that keeps a task's events for late readers in any language."""
    return f"gan:events:{task_id}"


def redis_url(settings: Settings | None = None) -> str | None:
    """Return where Redis is now: the setting, else what the services recorded, else None."""
    settings = settings or load_settings()
    if settings.redis_url:
        return settings.redis_url
    record = read_services(settings.home)
    return record.redis_url if record else None


def connect(url: str, timeout_s: float = 2.0, **options: Any) -> redis.Redis:
    """Return a client of the Redis at `url`, `options` being redis-py's; nothing is sent yet."""
    import redis

    return redis.Redis.from_url(
        url,
        db=DATABASE,  # a database in the URL wins
        decode_responses=True,
        health_check_interval=15,
        socket_keepalive=True,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        **options,
    )


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether a Redis answers there in this time, whatever else may listen."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        with connect(url, timeout_s, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError, ValueError):
        return False
