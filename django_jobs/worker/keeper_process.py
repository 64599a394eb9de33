"""
The keeper as its supervisor sees it: a process to start, to tell things, to replace when it dies, and to end.

What it has not answered is said again to its successor, so that no keeper's death loses a child's.
"""

from __future__ import annotations

import logging
import select
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django_jobs.brokers.base import Consumer
from django_jobs.worker import process
from django_jobs.worker.channel import Channel
from django_jobs.worker.companion import PAUSE_SECONDS, Companion

logger = logging.getLogger("django_jobs.worker")

#: A keeper speaks with each heartbeat, whatever the broker and the database do. One that has said nothing for a lease,
#: and for so long at least, hangs. (A broker that does not answer may hold it for as long as its timeout.)
HUNG_SECONDS = 15.0


class KeeperProcess(Companion):
    """Starts, tells and replaces the keeper of one worker."""

    def __init__(
        self,
        fork: Callable[[Callable[[], int]], int],
        body: Callable[[Channel], int],
        *,
        heartbeat_seconds: float,
        lease_seconds: float,
    ) -> None:
        # Leases run on meanwhile: they must not miss more than one heartbeat by it.
        super().__init__("keeper", fork, pause=min(PAUSE_SECONDS, heartbeat_seconds))
        self._body = body
        self._patience = max(lease_seconds, HUNG_SECONDS)
        #: When it said something last, and when that was looked at: a supervisor that was stopped itself has missed it.
        self._heard = self._looked = 0.0
        self.channel: Channel | None = None
        #: Said until it answers: consumer id -> (consumer, ids that are charged, id -> reason of the ended, its end).
        self._unreaped: dict[str, tuple[Consumer, list[str], dict[str, str], str]] = {}

    def readers(self) -> list[int]:
        """Return the file descriptors that become readable when it says something. That of a dead one always is."""
        return [self.channel.fileno()] if self._pid and self.channel is not None else []

    def start_if_due(self, living: Iterable[Consumer]) -> None:
        """Start a keeper when there is none, and tell it what there is to keep."""
        if not self.is_due:
            return
        ours, theirs = Channel.pair()

        def within() -> int:
            ours.close()
            return self._body(theirs)

        self._heard = time.monotonic()
        try:
            started = self.start(within)
        finally:
            theirs.close()
        if not started:
            ours.close()
            return
        if self.channel is not None:
            self.channel.close()
        self.channel = ours
        for consumer in living:
            self._tell("lives", consumer)
        for consumer, running, ended, where in self._unreaped.values():
            self._tell("died", consumer, running, ended, where)

    def bear(self, consumer: Consumer) -> None:
        """Say that a child is about to start: nothing may run without somebody who renews its lease."""
        self._tell("lives", consumer)

    def bury(self, consumer: Consumer, running: list[str], ended: dict[str, str], where: str) -> None:
        """
        Say that a child has died, which jobs are charged with it, which were ended by it (id -> reason), and which
        process it was, and how it died, in words.
        """
        self._unreaped[consumer.id] = (consumer, running, ended, where)
        self._tell("died", consumer, running, ended, where)

    def report(self, status: dict[str, Any]) -> None:
        """Say how the worker stands."""
        if self.channel is not None:
            self.channel.send(what="status", status=status)

    def listen(self) -> list[dict[str, Any]]:
        """Take its answers, and return what else it has to say."""
        assert self.channel is not None
        try:
            messages = self.channel.receive()
        except (EOFError, OSError):
            return []  # it died: waitpid says so in a moment
        if messages:
            self._heard = time.monotonic()
        for message in messages:
            if message["what"] == "reaped":
                self._unreaped.pop(message["consumer"], None)
        return messages

    def end_if_hung(self) -> None:
        """Kill it when it has been silent for too long: another one then renews the leases before they are given up."""
        now = time.monotonic()
        if now - self._looked > self._patience / 2:
            self._heard = now
        self._looked = now
        if self._pid and now - self._heard > self._patience:
            logger.error("The keeper (process %d) has been silent for %.0f s: it is killed", self._pid, self._patience)
            process.send_signal(self._pid, signal.SIGKILL)
            self._heard = now  # waitpid has the next word

    def stop(self, reap: Callable[[], None], *, seconds: float) -> None:
        """Let it give back what the last children held, then end it. ``reap`` is called meanwhile: a keeper may die."""
        assert self.channel is not None
        deadline = time.monotonic() + seconds
        while self._unreaped and time.monotonic() < deadline:
            select.select(self.readers(), [], [], 0.2)
            reap()
            self.listen()
        self.channel.send(what="stop")
        self.channel.close()
        self.wait(deadline + 1 - time.monotonic())

    def _tell(
        self,
        what: str,
        consumer: Consumer,
        running: Sequence[str] = (),
        ended: Mapping[str, str] | None = None,
        where: str = "",
    ) -> None:
        assert self.channel is not None
        said = {"running": running, "ended": ended or {}, "where": where}
        self.channel.send(what=what, consumer=consumer.id, queues=consumer.queues, **said)
