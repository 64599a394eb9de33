"""
Which caches live in the broker's own Redis database: emptying one of those empties the queues.

``cache.clear()`` is FLUSHDB, in Django's Redis cache and in django-redis alike; it knows nothing of key prefixes.
Addresses are compared as they are written down, so two names of one machine are two machines here. Nothing is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.conf import settings
from redis.connection import parse_url

from django_jobs.brokers.redis.locations import Endpoint, Location

#: A database of a server, or of a service that Sentinel knows.
Address = tuple[str | int, ...]

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
#: The alias that the whole project uses: code that clears it does not think of jobs, also where the broker lives there.
EVERYBODYS = "default"


def caches_beside(location: Location, url: str) -> list[str]:
    """Return the aliases of CACHES that share a database with the broker of this URL."""
    ours = {place for endpoint in location.endpoints for place in _addresses_of(endpoint)}
    scheme, _, alias = url.partition("://")
    own = alias if scheme == "cache" and alias != EVERYBODYS else None
    return [
        name
        for name, cache in settings.CACHES.items()
        if name != own and not ours.isdisjoint(_addresses_of_cache(cache))
    ]


def _addresses_of(endpoint: Endpoint) -> Iterator[Address]:
    pool = endpoint.arguments.get("connection_pool")
    if pool is None:
        yield _address(endpoint.arguments)
        return
    for sentinel in pool.sentinel_manager.sentinels:
        asked = sentinel.connection_pool.connection_kwargs
        yield _behind_sentinel(pool.service_name, endpoint.arguments, asked.get("host"), asked.get("port"))


def _addresses_of_cache(cache: Mapping[str, Any]) -> Iterator[Address]:
    options = cache.get("OPTIONS") or {}
    for url in _urls(cache.get("LOCATION", "")):
        try:
            # A URL says more than an option, as it does where the connections are made.
            arguments = {**options, **options.get("CONNECTION_POOL_KWARGS", {}), **_parse(url)}
        except ValueError:
            continue  # no Redis
        for host, port in options.get("SENTINELS", ()):
            yield _behind_sentinel(arguments.get("host", ""), arguments, host, port)
        if not options.get("SENTINELS"):
            yield _address(arguments)


def _urls(location: Any) -> Iterable[str]:
    if isinstance(location, str):
        return re.split("[;,]", location)
    return [url for url in location if isinstance(url, str)] if isinstance(location, list | tuple | set) else []


def _parse(url: str) -> dict[str, Any]:
    arguments: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    return arguments


def _address(arguments: Mapping[str, Any]) -> Address:
    db = int(arguments.get("db") or 0)
    if arguments.get("path"):
        return "unix", str(arguments["path"]), db
    return "tcp", _host(arguments.get("host")), int(arguments.get("port") or 6379), db


def _behind_sentinel(service: str, arguments: Mapping[str, Any], host: Any, port: Any) -> Address:
    return "sentinel", service, int(arguments.get("db") or 0), _host(host), int(port or 26379)


def _host(name: Any) -> str:
    written = str(name or "localhost").lower().rstrip(".")
    return "localhost" if written in LOCAL_NAMES else written
