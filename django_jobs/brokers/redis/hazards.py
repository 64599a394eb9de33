"""What is dangerous about how a Redis is set up, asked of each server that has our keys."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from redis.connection import SSLConnection
from redis.exceptions import ResponseError

from django_jobs.brokers.hazards import Danger, Hazard
from django_jobs.brokers.redis.connection import Link
from django_jobs.brokers.redis.core import RedisCore
from django_jobs.brokers.redis.locations import Endpoint, Location
from django_jobs.brokers.redis.neighbours import caches_beside
from django_jobs.brokers.redis.scripts import Command
from django_jobs.exceptions import BrokerUnavailable

HINTS = {
    Danger.EVICTION: "Set maxmemory-policy noeviction: a full Redis then refuses new jobs, and keeps those it has.",
    Danger.NO_PERSISTENCE: "Set appendonly yes: a crash then costs about the last second.",
    Danger.OLD_PERSISTENCE: "Set appendonly yes: a crash then costs about the last second.",
    Danger.PLAIN_TEXT: "Use rediss:// (or ?ssl=true with Sentinel and a cluster). If the network between is encrypted,"
    " or nobody else's, silence this check.",
    Danger.SHARED: "cache.clear() is FLUSHDB, which empties the whole database whatever the prefix of its keys. Give"
    " the broker a database of its own, or an alias of CACHES that nothing else uses.",
    Danger.UNSEEN: "Managed services forbid such commands; see there how it is set up.",
}


class Said(NamedTuple):
    """What one server has to say for itself; the sentence goes on after its name."""

    danger: Danger
    text: str


def hazards_of_redis(core: RedisCore, location: Location) -> list[Hazard]:
    """Return every danger, those of the settings first. A server that cannot be reached is one of them."""
    found = [*_of_settings(core, location)]
    said: dict[Said, list[str]] = {}
    try:
        for link in core.every_server():
            for sentence in _of_server(link):
                said.setdefault(sentence, []).append(link.where)
    except BrokerUnavailable as error:
        found.append(Hazard(danger=Danger.UNREACHABLE, text=str(error)))
    for (danger, text), servers in said.items():
        where = ", ".join(servers)
        found.append(Hazard(danger=danger, text=f"Redis at {where} {text}", hint=HINTS[danger]))
    return found


def _of_settings(core: RedisCore, location: Location) -> Iterator[Hazard]:
    readable = [endpoint for endpoint in location.endpoints if not _is_encrypted(endpoint) and not _is_local(endpoint)]
    if readable:
        text = f"Jobs, and the password if there is one, travel unencrypted to Redis at {core.describe()}."
        yield Hazard(danger=Danger.PLAIN_TEXT, text=text, hint=HINTS[Danger.PLAIN_TEXT])
    aliases = caches_beside(location, core.location)
    if aliases:
        caches = " and ".join(f"CACHES[{alias!r}]" for alias in aliases)
        text = f"The broker {core.describe()} shares its Redis database with {caches}: clearing one erases every queue."
        yield Hazard(danger=Danger.SHARED, text=text, hint=HINTS[Danger.SHARED])


def _is_encrypted(endpoint: Endpoint) -> bool:
    kind = endpoint.connection_class
    return isinstance(kind, type) and issubclass(kind, SSLConnection)


def _is_local(endpoint: Endpoint) -> bool:
    arguments = endpoint.arguments
    pool = arguments.get("connection_pool")
    if pool is None:
        return "path" in arguments or _is_this_machine(str(arguments.get("host", "localhost")))
    # Where the master is nobody has said yet; it is not far from its sentinels.
    asked = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    return all(_is_this_machine(str(one.get("host", ""))) for one in asked)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")


def _of_server(link: Link) -> Iterator[Said]:
    try:
        text: bytes = link.call(Command(0, b"INFO").pack())
    except ResponseError as error:
        yield Said(Danger.UNSEEN, f"does not say how it is set up: INFO was refused ({error}).")
        return
    info = dict(line.split(":", 1) for line in text.decode(errors="replace").splitlines() if ":" in line)
    yield from _on_eviction(info)
    if info.get("aof_enabled") != "1":
        yield from _without_aof(link)


def _on_eviction(info: dict[str, str]) -> Iterator[Said]:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return
    when = (
        "when its memory is full" if info.get("maxmemory", "0") != "0" else "as soon as maxmemory is set, and reached"
    )
    # Jobs do not expire, and with such a policy they stay.
    which = "keys that expire, though no jobs," if policy.startswith("volatile") else "jobs"
    yield Said(Danger.EVICTION, f"throws {which} away {when}: its maxmemory-policy is {policy}.")


def _without_aof(link: Link) -> Iterator[Said]:
    try:
        answer: list[bytes] = link.call(Command(0, b"CONFIG", b"GET", b"save").pack())
    except ResponseError as error:
        text = f"keeps no append-only file, and does not say whether it saves snapshots: CONFIG was refused ({error})."
        yield Said(Danger.UNSEEN, text)
        return
    points = answer[1].decode() if len(answer) > 1 else ""
    if points:
        text = f'keeps snapshots (save "{points}"), but no append-only file: a crash costs everything since the last.'
        yield Said(Danger.OLD_PERSISTENCE, text)
    else:
        yield Said(Danger.NO_PERSISTENCE, "writes nothing to disk: every waiting job is lost when it restarts.")
