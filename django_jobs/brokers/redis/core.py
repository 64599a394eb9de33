"""What the verbs stand on: queues by name, and requests sent in one round trip per server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from django_jobs.brokers.base import BaseBroker
from django_jobs.brokers.redis.connection import Link, is_moved
from django_jobs.brokers.redis.keys import CommonKeys, QueueKeys
from django_jobs.brokers.redis.locations import locate
from django_jobs.brokers.redis.scripts import Bound, Call, Command, Request, script
from django_jobs.brokers.redis.servers import servers_of
from django_jobs.exceptions import BrokerUnavailable, JobsConfigurationError

#: How many consumers a queue remembers packed keys for; a worker has as many as it has children.
_CONSUMERS_REMEMBERED = 256

#: How often a request is sent in all: a text instead of a hash once, another node of a cluster now and then.
_SENDINGS = 4


class Lane:
    """A queue as this process knows it: its keys, and its scripts with the keys packed."""

    __slots__ = ("_of_consumers", "_scripts", "enqueue", "introduced", "keys", "name")

    def __init__(self, name: str, keys: QueueKeys) -> None:
        self.name = name
        self.keys = keys
        #: Does everybody know the name of this queue?
        self.introduced = False
        self.enqueue = Bound(script("enqueue"), keys)
        self._scripts: dict[str, Bound] = {}
        self._of_consumers: dict[tuple[str, str], Bound] = {}

    def call(self, name: str, *arguments: bytes) -> Call:
        """Return a call of a script that looks at no consumer's jobs."""
        bound = self._scripts.get(name)
        if bound is None:
            bound = self._scripts[name] = Bound(script(name), self.keys)
        return Call(bound, arguments)

    def call_for(self, consumer: str, name: str, arguments: Sequence[bytes]) -> Call:
        """Return a call of a script that looks at what this consumer has in flight."""
        bound = self._of_consumers.get((name, consumer))
        if bound is None:
            if len(self._of_consumers) >= _CONSUMERS_REMEMBERED:
                self._of_consumers.clear()
            bound = self._of_consumers[name, consumer] = Bound(script(name), self.keys, self.keys.inflight(consumer))
        return Call(bound, arguments)

    def command(self, *parts: bytes) -> Command:
        return Command(self.keys.slot, *parts)


class RedisCore(BaseBroker):
    """
    The base of the Redis broker's parts.

    ``location``: a URL (see ``locations.EXPECTED``). Option SINGLE_SLOT: are all queues kept in one slot of a cluster?
    Default: with redis+cluster:// yes, else no. It decides what keys are called, so all who share them have to agree.
    """

    OPTIONS = ("SINGLE_SLOT",)

    def __init__(
        self, location: str, *, prefix: str = "dj", timeout_ms: int = 2000, options: dict[str, Any] | None = None
    ) -> None:
        super().__init__(location, prefix=prefix, timeout_ms=timeout_ms, options=options)
        unknown = set(self.options) - set(self.OPTIONS)
        if unknown:
            raise JobsConfigurationError(
                f"The Redis broker has no option {', '.join(sorted(unknown))}. Expected: {', '.join(self.OPTIONS)}."
            )
        #: What the location says, before any server was asked.
        self.whereabouts = where = locate(location, timeout_ms)
        single_slot = self.options.get("SINGLE_SLOT")
        self.single_slot: bool = where.is_cluster if single_slot is None else bool(single_slot)
        self._is_cluster = where.is_cluster
        self._servers = servers_of(where, timeout_ms)
        self._common = CommonKeys(prefix)
        self._introduce = Bound(script("introduce"), self._common)
        self._lanes: dict[str, Lane] = {}

    def describe(self) -> str:
        # What follows a "?" may be a password, of the sentinels for instance.
        return super().describe().partition("?")[0]

    def lane(self, queue: str) -> Lane:
        """Return a queue by its name. Raises ValueError when it cannot be one."""
        lane = self._lanes.get(queue)
        if lane is None:
            made = Lane(queue, QueueKeys(self.prefix, queue, single_slot=self.single_slot))
            lane = self._lanes.setdefault(queue, made)
        return lane

    def introduce(self, lanes: Sequence[Lane], *, again: bool = False) -> None:
        """Write the names of queues down where everybody looks, once per process, and when Redis has lost its data."""
        new = [lane for lane in lanes if again or not lane.introduced]
        if not new:
            return
        layout = b"single" if self.single_slot else b"queue"
        found = self.run(Call(self._introduce, (layout, *(lane.name.encode() for lane in new))))
        if found != layout:
            raise JobsConfigurationError(
                f"SINGLE_SLOT is {self.single_slot} here, but the keys with the prefix {self.prefix!r} were written"
                f" with SINGLE_SLOT {not self.single_slot}. Expected the same setting wherever this prefix is used; to"
                f" change it, stop everything, drain the queues and delete the key {self._common['layout'].decode()!r}."
            )
        for lane in new:
            lane.introduced = True

    def run(self, request: Request, *, quick: bool = False) -> Any:
        """Send one request and return its answer. Raises BrokerUnavailable."""
        link = self._servers.link(request.slot)
        try:
            return link.call(request.pack(), quick=quick)
        except ResponseError as error:
            if isinstance(error, NoScriptError) or is_moved(error):
                return self._send([request], [error])[0]
            raise link.refused(error) from error

    def run_all(self, requests: Sequence[Request]) -> list[Any]:
        """Send requests, one round trip per server, and return their answers in order. Raises BrokerUnavailable."""
        if len(requests) == 1:
            return [self.run(requests[0])]
        return self._send(requests, [None] * len(requests)) if requests else []

    def _send(self, requests: Sequence[Request], answers: list[Any]) -> list[Any]:
        """Send those without an answer, and again those that the server did not execute."""
        todo = list(range(len(requests)))
        for _ in range(_SENDINGS):
            if any(is_moved(answers[n]) for n in todo):
                self._servers.moved()
            for link, numbers in self._by_link(requests, todo):
                packed = [requests[n].pack(whole=isinstance(answers[n], NoScriptError)) for n in numbers]
                for n, answer in zip(numbers, link.exchange((b"".join(packed),), len(packed)), strict=True):
                    answers[n] = answer
            errors = [n for n in todo if isinstance(answers[n], ResponseError)]
            todo = [n for n in errors if isinstance(answers[n], NoScriptError) or is_moved(answers[n])]
            for n in errors:
                if n not in todo:
                    raise self._servers.link(requests[n].slot).refused(answers[n]) from answers[n]
            if not todo:
                return answers
        raise BrokerUnavailable(f"Redis sends us around: {answers[todo[0]]}") from answers[todo[0]]

    def _by_link(self, requests: Sequence[Request], numbers: Sequence[int]) -> list[tuple[Link, list[int]]]:
        grouped: dict[int, tuple[Link, list[int]]] = {}
        for n in numbers:
            link = self._servers.link(requests[n].slot)
            grouped.setdefault(id(link), (link, []))[1].append(n)
        return list(grouped.values())

    def every_server(self) -> Iterable[Link]:
        """Return the connections to each server that may have our keys. Raises BrokerUnavailable."""
        self._servers.link(self._common.slot)  # a cluster names its nodes when it is asked for one
        return self._servers.links()

    def close(self) -> None:
        for link in self._servers.links():
            link.close()
