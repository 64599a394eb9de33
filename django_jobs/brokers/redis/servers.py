"""Which server a slot is on: one for all of them, or the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from redis.exceptions import ResponseError

from django_jobs.brokers.redis.connection import Link, unavailable
from django_jobs.brokers.redis.locations import Endpoint, Location
from django_jobs.brokers.redis.scripts import Command
from django_jobs.exceptions import BrokerUnavailable


class Servers(Protocol):
    """Where to send what."""

    def link(self, slot: int) -> Link:
        """Return the connections to the server that has this slot. Raises BrokerUnavailable."""

    def links(self) -> Iterable[Link]:
        """Return all that are open."""

    def masters(self) -> Iterable[Link]:
        """Return those that have slots. Raises BrokerUnavailable."""

    def moved(self) -> None:
        """Forget where slots are: a server has said that one is not on it."""


class OneServer:
    """A server alone, or the master that Sentinel names."""

    def __init__(self, endpoint: Endpoint, timeout_ms: int) -> None:
        self._link = Link(endpoint, timeout_ms)

    def link(self, slot: int) -> Link:
        return self._link

    def links(self) -> Iterable[Link]:
        return (self._link,)

    def masters(self) -> Iterable[Link]:
        return (self._link,)

    def moved(self) -> None:
        self._link.close()


class ClusterServers:
    """
    The masters of a cluster.

    The map of slots is asked for when it is needed first, and again after a MOVED, and after a node that did not
    answer: another one may have taken its place.
    """

    def __init__(self, endpoints: Iterable[Endpoint], timeout_ms: int) -> None:
        self._endpoints = tuple(endpoints)
        self._timeout_ms = timeout_ms
        self._links: dict[tuple[str, int], Link] = {}
        self._slots: list[tuple[int, int, Link]] = []

    def link(self, slot: int) -> Link:
        for first, last, link in self._slots or self._ask():
            if first <= slot <= last:
                return link
        self.moved()
        raise BrokerUnavailable(f"No node of the Redis cluster has slot {slot}.")

    def links(self) -> Iterable[Link]:
        return tuple(self._links.values())

    def masters(self) -> Iterable[Link]:
        return dict.fromkeys(link for _, _, link in self._slots or self._ask())

    def moved(self) -> None:
        self._slots = []

    def _link_to(self, host: str, port: int) -> Link:
        link = Link(self._endpoints[0].at(host, port), self._timeout_ms, on_failure=self.moved)
        return self._links.setdefault((host, port), link)

    def _ask(self) -> list[tuple[int, int, Link]]:
        """Ask the nodes in turn for the map. Together they get the time of one call."""
        problem: Exception | None = None
        known = [(str(one.arguments["host"]), int(one.arguments["port"])) for one in self._endpoints]
        share_ms = self._timeout_ms // len(known)
        for host, port in known:
            asking = Link(self._endpoints[0].at(host, port), share_ms)
            try:
                self._slots = self._read(asking.call(Command(0, b"CLUSTER", b"SLOTS").pack()), host)
            except BrokerUnavailable as error:
                problem = error
            except ResponseError as error:
                problem = unavailable(error, asking.where)
            else:
                return self._slots
            finally:
                asking.close()
        raise problem or BrokerUnavailable("The URL of the Redis cluster names no node.")

    def _read(self, rows: list[Any], asked: str) -> list[tuple[int, int, Link]]:
        # A node that does not know its own address leaves it empty: it is the one that was asked.
        return [
            (int(first), int(last), self._link_to(master[0].decode() if master[0] else asked, int(master[1])))
            for first, last, master, *_ in rows
        ]


def servers_of(location: Location, timeout_ms: int) -> Servers:
    if location.is_cluster:
        return ClusterServers(location.endpoints, timeout_ms)
    return OneServer(location.endpoints[0], timeout_ms)
