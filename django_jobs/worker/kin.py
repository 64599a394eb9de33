"""A child process as its supervisor sees it."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from django_jobs import clock
from django_jobs.brokers.base import Consumer
from django_jobs.worker import process
from django_jobs.worker.channel import Channel
from django_jobs.worker.hard_limits import HardLimits
from django_jobs.worker.markers import RunningMarkers

logger = logging.getLogger("django_jobs.worker")


#: Running jobs of one child that are named in the report.
MOST_REPORTED = 50


@dataclass(slots=True, eq=False)
class Kin:
    """One child: what it is told, and what is known of it."""

    number: int
    name: str
    consumer: Consumer
    markers: RunningMarkers
    #: The supervisor's end of what it is told by.
    orders: Channel
    #: Has it been told to claim nothing more?
    is_quiet: bool
    pid: int = 0
    born: float = field(default_factory=time.monotonic)
    started_ms: int = field(default_factory=clock.now_ms)
    #: Jobs that were ended together with it: id -> reason, for the broker.
    ended: dict[str, str] = field(default_factory=dict)
    _limits: HardLimits = field(default_factory=HardLimits)
    #: Revoked jobs that it knows of, and whether they are to be interrupted; and those that were seen to run.
    _asked: dict[str, bool] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def ask_to_stop(self, ids: Collection[str], terminated: Collection[str]) -> None:
        """Pass on which of its jobs somebody has revoked; said again with each heartbeat while they run."""
        for job_id in ids:
            terminate = job_id in terminated
            if self._asked.get(job_id) is None or (terminate and not self._asked[job_id]):
                self._asked[job_id] = terminate
                self.orders.send(do="revoke", id=job_id, terminate=terminate)
                if terminate:
                    self._limits.terminate(job_id)
        for job_id in [known for known in self._asked if known not in ids]:
            self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        """Forget that a job was revoked: it has ended here, and if its id comes back that is another run."""
        del self._asked[job_id]
        self._seen.discard(job_id)
        self._limits.forget(job_id)

    def enforce_limits(self) -> None:
        """Kill it when the time of one of its jobs is over."""
        if self.ended:
            return
        running = self.markers.read()
        if self._asked:
            ids = {job.id for job in running}
            for job_id in self._seen - ids:
                self._forget(job_id)
            self._seen |= ids & self._asked.keys()
        verdicts = self._limits.verdicts(running, worker=self.name)
        for job_id, verdict in verdicts.items():
            logger.error("The job %s is ended with its process %d (%s): %s", job_id, self.pid, self.name, verdict.why)
            self.ended[job_id] = verdict.encode()
        if verdicts:
            process.send_signal(self.pid, signal.SIGKILL)

    def last_words(self, *, broken: bool = False) -> list[str]:
        """
        Return the ids that are charged with its death, and let go of what it shared with its parent.

        Those that were running; when the worker's own code has failed (``broken``) and none was, the one that ended
        last: it may have broken what the worker needs, and nothing else would ever stop it.
        """
        running = self.markers.running()
        if broken and not running and (last := self.markers.last()) is not None:
            running = [last]
        self.markers.close()
        self.orders.close()
        return running

    def describe(self) -> dict[str, Any]:
        """Return how it stands, for the worker's report."""
        return {
            "number": self.number,
            "pid": self.pid,
            "consumer": self.consumer.id,
            "started_ms": self.started_ms,
            "running": [{"id": job.id, "since_ms": job.started_ms} for job in self.markers.read()[:MOST_REPORTED]],
        }
