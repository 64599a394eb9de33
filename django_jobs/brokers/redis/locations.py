"""From the URL of a broker to what its connections are made of. Nothing here opens a connection."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from django.core.cache import InvalidCacheBackendError, caches
from django.utils.module_loading import import_string
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from django_jobs.exceptions import JobsConfigurationError

EXPECTED = {
    "redis": "redis://[[user]:password@]host[:port][/db]",
    "rediss": "rediss://[[user]:password@]host[:port][/db]",
    "unix": "unix:///path/of/the/socket[?db=0]",
    "redis+sentinel": "redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service[/db][?ssl=true]",
    "redis+cluster": "redis+cluster://[[user]:password@]host[:port][,host[:port]...][?ssl=true]",
    "cache": "cache://alias, with an alias of CACHES that is served by django-redis",
}


# redis-py gives these no types of their own.
_parse_url: Callable[[str], dict[str, Any]] = parse_url
_make_sentinel: Callable[..., Any] = Sentinel
_make_sentinel_pool: Callable[..., Any] = SentinelConnectionPool


class Wire(Protocol):
    """What is used of redis-py's connections."""

    #: None while it is closed. There is no public way to the socket that all versions share.
    _sock: Any
    #: Set by us: its socket has another time limit than that of a call.
    fresh: bool

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def send_packed_command(self, command: Iterable[bytes], check_health: bool) -> None: ...

    def read_response(self, disable_decoding: bool) -> Any: ...


#: Keeps redis-py from introducing itself to the server when it connects, by whatever name its version calls that.
_QUIET: dict[str, None] = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server, and how to connect to it."""

    connection_class: Callable[..., Any]
    arguments: dict[str, Any]
    #: Whatever has to live as long as the connections do.
    owner: object = None

    def connection(self) -> Wire:
        """Make a connection object, not connected yet."""
        wire: Wire = self.connection_class(**self.arguments)
        return wire

    def at(self, host: str, port: int) -> Endpoint:
        """Return the same way to another node of a cluster."""
        return Endpoint(
            connection_class=self.connection_class, arguments={**self.arguments, "host": host, "port": port}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a broker lives: one endpoint, or the nodes of a cluster to start from."""

    endpoints: tuple[Endpoint, ...]
    is_cluster: bool = False


def locate(url: str, timeout_ms: int) -> Location:
    """Turn a broker's URL into its location. Raises JobsConfigurationError naming what is expected."""
    scheme = url.partition("://")[0]
    try:
        location = _locate(scheme, url, timeout_ms)
        location.endpoints[0].connection()  # an unknown query option shows here
    except (ValueError, TypeError) as error:
        expected = EXPECTED.get(scheme) or "one of " + ", ".join(f"{known}://" for known in EXPECTED)
        raise JobsConfigurationError(
            f"The broker's URL {_without_password(url)!r} is wrong: {error}. Expected {expected}."
        ) from error
    return location


def _locate(scheme: str, url: str, timeout_ms: int) -> Location:
    match scheme:
        case "redis" | "rediss" | "unix":
            return Location(endpoints=(_from_url(url, timeout_ms),))
        case "redis+sentinel":
            return Location(endpoints=(_from_sentinels(urlsplit(url), timeout_ms),))
        case "redis+cluster":
            return Location(endpoints=_from_nodes(urlsplit(url), timeout_ms), is_cluster=True)
        case "cache":
            return Location(endpoints=(_from_cache(url.removeprefix("cache://"), timeout_ms),))
    raise ValueError("its scheme is not known")


def _without_password(url: str) -> str:
    credentials, at, rest = re.sub(r"(password=)[^&]*", r"\1***", url).rpartition("@")
    scheme = credentials.partition("://")[0]
    return f"{scheme}://***@{rest}" if at else rest


def _settings(arguments: dict[str, Any], timeout_ms: int) -> dict[str, Any]:
    """
    Add what holds for each of our connections, whatever its URL or cache says.

    No retry: redis-py would send a claim a second time after a lost reply. A bound on every wait. RESP 2, bytes, and
    nothing said at the start that a call has to wait for.
    """
    kept = {
        name: value
        for name, value in arguments.items()
        if name not in ("connection_class", "lib_name", "lib_version", "parser_class", "decode_responses")
        and not name.startswith(("retry", "maint_", "oss_", "orig_"))
    }
    seconds = timeout_ms / 1000
    kept |= {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": seconds,
        # Half: a name may stand for two addresses, and both may swallow what is sent to them.
        "socket_connect_timeout": seconds / 2,
        "health_check_interval": 0,
        "protocol": 2,
    }
    return kept | _QUIET


def _from_url(url: str, timeout_ms: int) -> Endpoint:
    parts = urlsplit(url)
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdigit():
        raise ValueError(f"{parts.path.strip('/')!r} is not the number of a database")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("it names no socket")
    if parts.scheme != "unix" and not parts.hostname:
        raise ValueError("it names no host")
    arguments = dict(_parse_url(url))
    connection_class = arguments.pop("connection_class", Connection)
    if parts.scheme == "unix":
        arguments = _settings(arguments, timeout_ms)
        if "socket_connect_timeout" not in inspect.signature(AbstractConnection.__init__).parameters:
            del arguments["socket_connect_timeout"]
        return Endpoint(connection_class=connection_class, arguments=arguments)
    arguments = _settings({"socket_keepalive": True, **arguments}, timeout_ms)
    return Endpoint(connection_class=connection_class, arguments=arguments)


def _hosts(parts: SplitResult, default_port: int) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Return the (host, port) pairs of a URL with several, and what the rest of it says about the connections."""
    credentials, _, hosts = parts.netloc.rpartition("@")
    found = []
    for host in hosts.split(","):
        one = urlsplit(f"//{host}")
        if not one.hostname:
            raise ValueError("it names no host" if not hosts else f"{host!r} is not a host")
        found.append((one.hostname, one.port or default_port))
    at = f"{credentials}@" if credentials else ""
    arguments = dict(_parse_url(f"redis://{at}host?{parts.query}"))
    del arguments["host"]
    return found, arguments


def _flag(arguments: dict[str, Any], name: str) -> bool:
    return str(arguments.pop(name, "")).lower() in ("1", "true", "yes", "on")


def _from_sentinels(parts: SplitResult, timeout_ms: int) -> Endpoint:
    hosts, arguments = _hosts(parts, 26379)
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("it names no service")
    if db and not db.isdigit():
        raise ValueError(f"{db!r} is not the number of a database")
    use_ssl = _flag(arguments, "ssl")
    # All sentinels may be silent, and the master behind them too: together they get the time of one call.
    share_ms = timeout_ms // (len(hosts) + 2)
    asking = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": share_ms / 1000,
        "socket_connect_timeout": share_ms / 1000,
        "username": arguments.pop("sentinel_username", None),
        "password": arguments.pop("sentinel_password", None),
        "ssl": use_ssl,
        **_QUIET,
    }
    pool = _make_sentinel_pool(
        unquote(service),
        _make_sentinel(hosts, sentinel_kwargs=asking),
        **{**_settings({**arguments, "db": int(db or 0)}, timeout_ms), "socket_connect_timeout": share_ms / 1000},
        ssl=use_ssl,
    )
    return _from_pool(pool, timeout_ms)


def _from_pool(pool: Any, timeout_ms: int) -> Endpoint:
    """Take over the class and the arguments of a pool's connections, and keep the pool alive."""
    arguments = {**_settings(pool.connection_kwargs, timeout_ms)}
    if isinstance(pool, SentinelConnectionPool) and "socket_connect_timeout" in pool.connection_kwargs:
        seconds = pool.connection_kwargs["socket_connect_timeout"]
        arguments["socket_connect_timeout"] = min(seconds or timeout_ms / 1000, arguments["socket_connect_timeout"])
    return Endpoint(connection_class=pool.connection_class, arguments=arguments, owner=pool)


def _from_nodes(parts: SplitResult, timeout_ms: int) -> tuple[Endpoint, ...]:
    hosts, arguments = _hosts(parts, 6379)
    if parts.path.strip("/") not in ("", "0"):
        raise ValueError("a cluster has one database, number 0")
    connection_class = SSLConnection if _flag(arguments, "ssl") else Connection
    first = Endpoint(
        connection_class=connection_class,
        arguments=_settings({"socket_keepalive": True, **arguments}, timeout_ms),
    )
    return tuple(first.at(host, port) for host, port in hosts)


def _from_cache(alias: str, timeout_ms: int) -> Endpoint:
    try:
        cache = caches[alias]
    except InvalidCacheBackendError as error:
        raise JobsConfigurationError(f"The broker is cache://{alias}, but {error}") from error
    django_redis_cache = import_string("django_redis.cache.RedisCache")
    if not isinstance(cache, django_redis_cache):
        kind = f"{type(cache).__module__}.{type(cache).__qualname__}"
        raise JobsConfigurationError(
            f"The broker is cache://{alias}, but CACHES[{alias!r}] is {kind}. Expected django_redis.cache.RedisCache"
            f" (from django-redis). Name the server by a redis:// URL otherwise."
        )
    get_client = getattr(cache.client, "get_client", None)
    pool = getattr(get_client(write=True), "connection_pool", None) if get_client and _is_plain(cache.client) else None
    if pool is None:
        raise JobsConfigurationError(
            f"The broker is cache://{alias}, but the client of CACHES[{alias!r}], {type(cache.client).__qualname__},"
            f" spreads keys over several servers. Expected one of a single server, or of Sentinel."
        )
    return _from_pool(pool, timeout_ms)


def _is_plain(client: object) -> bool:
    return not isinstance(client, import_string("django_redis.client.sharded.ShardClient"))
