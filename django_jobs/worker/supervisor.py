"""
The head of a worker: forks, watches, replaces, and passes on signals. It runs no user code, opens no connection, and
starts no thread, so that its forks are clean.

    supervisor --+-- keeper            leases and reaping for all of them
                 +-- child 1 .. n      claim, run, settle
                 +-- beat              fires periodic tasks; only with --beat

When a child dies the supervisor reads from shared memory which jobs were running, and has the keeper give back what the
child held: at once, and charged only to those that ran. When the supervisor dies its children are killed by the kernel
(Linux), or notice it themselves, and their leases run out.
"""

from __future__ import annotations

import logging
import os
import random
import select
import signal
import time
from collections.abc import Callable
from functools import partial
from uuid import uuid4

from django.db import connections

from django_jobs import clock, signals
from django_jobs.brokers.base import BaseBroker, Consumer
from django_jobs.results.base import BaseStore
from django_jobs.worker import keepalive, process
from django_jobs.worker.beat_process import BeatProcess, Service
from django_jobs.worker.channel import Channel
from django_jobs.worker.child import Child
from django_jobs.worker.companion import PAUSE_SECONDS, pause_after
from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.hard_limits import LOOK_SECONDS
from django_jobs.worker.head_signals import HeadSignals
from django_jobs.worker.keeper import Keeper
from django_jobs.worker.keeper_process import KeeperProcess
from django_jobs.worker.kin import Kin
from django_jobs.worker.markers import RunningMarkers
from django_jobs.worker.process import Exit
from django_jobs.worker.status import describe

logger = logging.getLogger("django_jobs.worker")

#: How long a child that was told to hand back may take before it is killed.
KILL_AFTER_SECONDS = 3.0
#: Between the dumps of two processes, which write to the same place and do not wait for each other.
DUMP_SECONDS = 0.05


class Supervisor:
    """Runs one worker in the pool prefork, with beat beside it where ``make_beat`` makes one, in its own process."""

    def __init__(
        self,
        broker: BaseBroker,
        store: BaseStore,
        config: WorkerConfig,
        *,
        weights: list[tuple[str, int]],
        make_beat: Callable[[], Service] | None = None,
    ) -> None:
        self._broker = broker
        self._store = store
        self._config = config
        self._weights = weights
        self._queues = tuple(queue for queue, _ in weights)
        self._children: dict[int, Kin] = {}
        self._keeper = KeeperProcess(
            self._fork,
            partial(_keep, broker, store, config),
            heartbeat_seconds=config.heartbeat_ms / 1000,
            lease_seconds=config.lease_ms / 1000,
        )
        self._beat = BeatProcess(self._fork, make_beat, worker=config.name)
        #: Numbers of children to start, and when.
        self._vacancies: list[tuple[float, int]] = []
        self._started_ms = clock.now_ms()
        self._report_at = 0.0
        self._signals = HeadSignals()
        self._deadline: float | None = None
        self._killed = False

    def run(self) -> int:
        """Run until told to stop. Return the exit code: 0, or 1 when running jobs had to be handed back."""
        keepalive.install()
        self._signals.install(self._dump)
        signals.send(signals.worker_started, type(self), worker=self._config.name)
        process.share_before_fork()
        self._start_keeper()
        self._beat.start_if_due()
        for number in range(1, self._config.concurrency + 1):
            if not self._signals.stops:
                self._start_child(number)
        process.set_title(f"django-jobs: {self._config.name} supervisor [{','.join(self._queues)}]")
        signals.send(signals.worker_ready, type(self), worker=self._config.name)
        while self._children or (self._vacancies and not self._signals.stops):
            self._sleep()
            self._bury_dead()
            self._listen()
            self._keeper.end_if_hung()
            self._start_keeper()
            self._beat.start_if_due()
            self._enforce_limits()
            self._report()
            self._pass_on_quiet()
            self._enforce_grace()
            self._fill_vacancies()
        self._keeper.stop(self._see_to_keeper, seconds=KILL_AFTER_SECONDS)
        self._beat.wait(KILL_AFTER_SECONDS)
        signals.send(signals.worker_stopping, type(self), worker=self._config.name)
        return 1 if self._killed else 0

    # Signals

    def _dump(self) -> None:
        """Have every process write down what its threads are doing."""
        process.dump_stacks()
        for pid in [self._keeper.pid, self._beat.pid, *self._children]:
            if pid:
                process.send_signal(pid, signal.SIGTTIN)
                time.sleep(DUMP_SECONDS)

    def _pass_on_quiet(self) -> None:
        for kin in self._children.values() if self._signals.is_quiet else ():
            if not kin.is_quiet:
                kin.is_quiet = True
                process.send_signal(kin.pid, signal.SIGTSTP)

    def _enforce_grace(self) -> None:
        if not self._signals.stops or self._killed:
            return
        now = time.monotonic()
        if self._deadline is None:
            logger.info("Stopping: running jobs have %.0f s to end", self._config.grace_ms / 1000)
            self._deadline = now + self._config.grace_ms / 1000
            self._tell_children("drain", signal.SIGTERM)
            self._beat.stop()
        if self._signals.stops > 1 or now >= self._deadline:
            self._killed = True
            logger.warning("Handing back the jobs that still run")
            self._tell_children("hand_back", signal.SIGQUIT)
            self._kill_at = now + KILL_AFTER_SECONDS

    def _tell_children(self, order: str, number: int) -> None:
        """Tell every child in both ways: a signal is answered by its main thread alone, which may be in a C call."""
        for kin in self._children.values():
            kin.orders.send(do=order)
        self._signal_children(number)

    def _signal_children(self, number: int) -> None:
        for pid in self._children:
            process.send_signal(pid, number)

    def _sleep(self) -> None:
        moments = [at for at, _ in self._vacancies]
        moments += [at for at in (self._keeper.start_at, self._beat.start_at) if at is not None]
        timeout = min([LOOK_SECONDS, *(max(0.0, moment - time.monotonic()) for moment in moments)])
        readers = [self._signals.fileno(), *self._keeper.readers()]
        readable, _, _ = select.select(readers, [], [], timeout)
        if self._signals.fileno() in readable:
            self._signals.clear()
        if self._killed and time.monotonic() >= self._kill_at:
            self._signal_children(signal.SIGKILL)

    # Birth and death

    def _fork(self, body: Callable[[], int]) -> int:
        parent = os.getpid()

        def within() -> int:
            self._become_child(parent)
            return body()

        return process.fork(within)

    def _become_child(self, parent: int) -> None:
        self._signals.leave_to_parent()
        for kin in self._children.values():
            kin.orders.close()
        if self._keeper.channel is not None:
            self._keeper.channel.close()
        process.die_with_parent(parent)
        # Connections of the parent's are not ours; there should be none.
        connections.close_all()
        random.seed()

    def _start_keeper(self) -> None:
        self._keeper.start_if_due(kin.consumer for kin in self._children.values())

    def _see_to_keeper(self) -> None:
        self._bury_dead()
        self._start_keeper()

    def _start_child(self, number: int) -> None:
        try:
            self._bear(number)
        except OSError as error:  # no memory, no process, no file descriptor left: a moment later there may be
            logger.error("A process of the worker could not be started (%s). Trying again.", error)  # noqa: TRY400
            self._vacancies.append((time.monotonic() + PAUSE_SECONDS, number))

    def _bear(self, number: int) -> None:
        consumer = Consumer(id=uuid4().hex, queues=self._queues)
        ours, theirs = Channel.pair()
        name = f"{self._config.name}/{number}"
        markers = RunningMarkers(self._config.slots)
        kin = Kin(number, name, consumer, markers, ours, is_quiet=self._signals.is_quiet)
        self._keeper.bear(consumer)

        def body() -> int:
            ours.close()
            process.set_title(f"django-jobs: {name} [{','.join(self._queues)}]")
            child = Child(
                self._broker,
                self._store,
                self._config,
                consumer,
                markers,
                weights=self._weights,
                name=name,
                orders=theirs,
            )
            signal.signal(signal.SIGTERM, child.drain)
            signal.signal(signal.SIGTSTP, child.quiet)
            signal.signal(signal.SIGQUIT, child.hand_back)
            if kin.is_quiet:
                child.quiet()
            process.admit_signals()
            return int(child.run())

        try:
            kin.pid = self._fork(body)
        except OSError:
            kin.last_words()
            self._keeper.bury(consumer, [], {}, "")
            raise
        finally:
            theirs.close()
        self._children[kin.pid] = kin

    def _bury_dead(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._keeper.pid:
                self._keeper.has_died(status)
            elif pid == self._beat.pid:
                self._beat.has_died(status)
            elif pid in self._children:
                self._mourn(self._children.pop(pid), status)

    def _mourn(self, kin: Kin, status: int) -> None:
        running = kin.last_words(broken=os.WIFEXITED(status) and os.WEXITSTATUS(status) == Exit.BROKEN)
        # What had to be ended is no crash of what ran beside it.
        where = f"{kin.name} (process {kin.pid}): {process.describe_exit(status)}"
        self._keeper.bury(kin.consumer, [] if kin.ended else running, kin.ended, where)
        orderly = os.WIFEXITED(status) and os.WEXITSTATUS(status) in (Exit.DONE, Exit.REPLACE)
        if not orderly and not self._killed and not kin.ended:
            _say_lost(self._config.name, kin, status, running)
        done = self._config.burst and orderly and os.WEXITSTATUS(status) == Exit.DONE
        if not self._signals.stops and not done:
            self._vacancies.append((time.monotonic() + pause_after(kin.born), kin.number))

    def _fill_vacancies(self) -> None:
        now = time.monotonic()
        due = [vacancy for vacancy in self._vacancies if vacancy[0] <= now]
        for vacancy in due:
            self._vacancies.remove(vacancy)
            if not self._signals.stops:
                self._start_child(vacancy[1])

    # What the keeper says, and is told

    def _listen(self) -> None:
        for message in self._keeper.listen():
            if message["what"] == "revoked":
                for kin in self._children.values():
                    if kin.consumer.id == message["consumer"]:
                        kin.ask_to_stop(message["ids"], message["terminated"])
            elif message["what"] == "reaped" and message["ended"] and self._children:
                next(iter(self._children.values())).orders.send(do="sweep")

    def _enforce_limits(self) -> None:
        for kin in self._children.values():
            kin.enforce_limits()

    def _report(self) -> None:
        if time.monotonic() < self._report_at:
            return
        self._report_at = time.monotonic() + self._config.heartbeat_ms / 1000
        children = [kin.describe() for kin in self._children.values()]
        status = describe(
            self._config, self._queues, started_ms=self._started_ms, quiet=self._signals.is_quiet, children=children
        )
        self._keeper.report(status)


def _keep(broker: BaseBroker, store: BaseStore, config: WorkerConfig, channel: Channel) -> int:
    """Be the keeper."""
    process.set_title(f"django-jobs: {config.name} keeper")
    for number in (signal.SIGTERM, signal.SIGTSTP):  # Ctrl-Z tells the whole group
        signal.signal(number, signal.SIG_IGN)
    process.admit_signals()
    Keeper(broker, store, config, channel).run()
    return 0


def _say_lost(worker: str, kin: Kin, status: int, running: list[str]) -> None:
    """Say that a child has died, and what it was running."""
    logger.error(
        "Process %d (%s) died: %s; it was running: %s",
        kin.pid, kin.name, process.describe_exit(status), ", ".join(running) or "nothing",
    )  # fmt: skip
    signals.send(
        signals.worker_lost,
        Supervisor,
        worker=worker,
        pid=kin.pid,
        exitcode=os.waitstatus_to_exitcode(status),
        job_ids=running,
    )
