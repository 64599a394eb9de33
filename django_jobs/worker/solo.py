"""
A worker in one process: the pools threads and solo, and every platform that cannot fork.

The keeper is a thread here, so a job that holds the interpreter for longer than a lease can cost the worker its lease;
and no job can be ended from outside. What it has running when its process dies comes back when the lease has run out.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

from django_jobs import clock, signals
from django_jobs.brokers.base import BaseBroker, Consumer
from django_jobs.results.base import BaseStore
from django_jobs.worker import keepalive, process
from django_jobs.worker.channel import Channel
from django_jobs.worker.child import Child
from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.keeper import Keeper
from django_jobs.worker.markers import RunningMarkers
from django_jobs.worker.process import Exit, own_errors_are_fatal
from django_jobs.worker.status import describe

#: How long saying goodbye may take.
LEAVE_SECONDS = 2.0


class Solo:
    """Runs one worker in this process."""

    def __init__(
        self,
        broker: BaseBroker,
        store: BaseStore,
        config: WorkerConfig,
        *,
        weights: list[tuple[str, int]],
        before_end: Callable[[], None] | None = None,
    ) -> None:
        self._broker = broker
        self._store = store
        self._config = config
        self._weights = weights
        self._child: Child | None = None
        self._stops = 0
        self._is_quiet = False
        self._started_ms = clock.now_ms()
        self._consumer: Consumer | None = None
        self._markers: RunningMarkers | None = None
        #: Told by a signal handler, where no lock may be taken and no thread started: put() is reentrant.
        self._stopped: SimpleQueue[None] = SimpleQueue()
        #: Called before running jobs are handed back: that ends the process at once.
        self._before_end = before_end

    def run(self) -> int:
        """Run until told to stop. Return the exit code: 0, or 1 when running jobs had to be handed back."""
        keepalive.install()
        threading.Thread(target=self._enforce_grace, name="django-jobs-grace", daemon=True).start()
        self._install_signals()
        signals.send(signals.worker_started, type(self), worker=self._config.name)
        ours, theirs = Channel.pair()
        keeper = Keeper(self._broker, self._store, self._config, theirs)
        keeper_thread = threading.Thread(target=self._keep, args=(keeper,), name="django-jobs-keeper", daemon=True)
        keeper_thread.start()
        threading.Thread(target=self._mind, args=(ours,), name="django-jobs-head", daemon=True).start()
        signals.send(signals.worker_ready, type(self), worker=self._config.name)
        code = Exit.REPLACE
        while code == Exit.REPLACE and not self._stops:
            consumer = Consumer(id=uuid4().hex, queues=tuple(queue for queue, _ in self._weights))
            ours.send(what="lives", consumer=consumer.id, queues=consumer.queues)
            self._markers = RunningMarkers(self._config.slots)
            self._child = Child(
                self._broker,
                self._store,
                self._config,
                consumer,
                self._markers,
                weights=self._weights,
                name=self._config.name,
            )
            self._catch_up(self._child)
            self._consumer = consumer
            code = self._child.run()
            ours.send(what="died", consumer=consumer.id, queues=consumer.queues, running=[], ended={}, where="")
        ours.send(what="stop")
        keeper_thread.join(LEAVE_SECONDS)
        signals.send(signals.worker_stopping, type(self), worker=self._config.name)
        return 0

    @staticmethod
    def _keep(keeper: Keeper) -> None:
        with own_errors_are_fatal():
            keeper.run()

    def _mind(self, keeper: Channel) -> None:
        """Tell the keeper how the worker stands, and the jobs what the keeper has heard. A thread of its own."""
        with own_errors_are_fatal(), suppress(EOFError, OSError):  # the end of the keeper
            while True:
                keeper.send(what="status", status=self._status())
                for message in keeper.receive(self._config.heartbeat_ms / 1000):
                    if message["what"] == "revoked":
                        self._revoke(message["ids"], message["terminated"])

    def _revoke(self, ids: Sequence[str], terminated: Sequence[str]) -> None:
        if self._child is not None:
            for job_id in ids:
                self._child.revoke(job_id, terminate=job_id in terminated)

    def _status(self) -> dict[str, Any]:
        queues = [queue for queue, _ in self._weights]
        child = {"number": 1, "pid": os.getpid(), "consumer": "", "started_ms": self._started_ms, "running": []}
        if self._consumer is not None and self._markers is not None:
            running = [{"id": job.id, "since_ms": job.started_ms} for job in self._markers.read()]
            child |= {"consumer": self._consumer.id, "running": running}
        return describe(self._config, queues, started_ms=self._started_ms, quiet=self._is_quiet, children=[child])

    def _install_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores HUP
                signal.signal(number, self._stop)
        if hasattr(signal, "SIGQUIT"):
            signal.signal(signal.SIGQUIT, lambda *_: self._hand_back())
        if hasattr(signal, "SIGTSTP"):
            signal.signal(signal.SIGTSTP, self._quiet)
        if hasattr(signal, "SIGTTIN"):
            signal.signal(signal.SIGTTIN, process.dump_stacks)

    def _catch_up(self, child: Child) -> None:
        """Tell a child what signals have said while there was none, or another one."""
        if self._is_quiet:
            child.quiet()
        if self._stops:
            child.drain()

    def _quiet(self, *_: object) -> None:
        self._is_quiet = True
        if self._child is not None:
            self._child.quiet()

    def _hand_back(self) -> None:
        if self._before_end is not None:
            self._before_end()
        if self._child is not None:
            self._child.hand_back()

    def _stop(self, *_: object) -> None:
        self._stops += 1
        if self._stops > 1:
            self._hand_back()
            return
        if self._child is not None:
            self._child.drain()
        self._stopped.put(None)

    def _enforce_grace(self) -> None:
        """Wait to be stopped, then hand back what has not ended within the grace. A thread of its own, a daemon."""
        self._stopped.get()
        time.sleep(self._config.grace_ms / 1000)
        self._hand_back()
