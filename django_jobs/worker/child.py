"""
A process that runs jobs.

Its threads: the slots (the main thread is the slot when there is only one), the pump, and the waiter, which blocks
until a queue has work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django_jobs import signals
from django_jobs.brokers.base import BaseBroker, Claimed, Consumer
from django_jobs.envelope import Job
from django_jobs.exceptions import BrokerUnavailable
from django_jobs.execution import Delivery, options_of
from django_jobs.registry import RegisteredTask
from django_jobs.results.base import BaseStore
from django_jobs.worker import announce
from django_jobs.worker.atomic import Atomic
from django_jobs.worker.channel import Channel
from django_jobs.worker.config import WorkerConfig
from django_jobs.worker.dead_sweep import DeadSweep
from django_jobs.worker.feeder import Feeder
from django_jobs.worker.markers import RunningMarkers
from django_jobs.worker.membership import Membership
from django_jobs.worker.process import Exit, own_errors_are_fatal
from django_jobs.worker.progress import ProgressReporter
from django_jobs.worker.pump import Pump
from django_jobs.worker.settler import Settler
from django_jobs.worker.slots import Slots
from django_jobs.worker.wake import Wake
from django_jobs.worker.watch import Watch
from django_jobs.workflow.growing import grow
from django_jobs.workflow.inputs import inputs_of

#: A wait is this long at most, so that a process that ends does not wait for it.
WAIT_MS = 500
#: After an error of the broker's.
PAUSE_SECONDS = 1.0


class Child:
    """One process (or, in the pools without fork, the only one) that runs jobs."""

    def __init__(
        self,
        broker: BaseBroker,
        store: BaseStore,
        config: WorkerConfig,
        consumer: Consumer,
        markers: RunningMarkers,
        *,
        weights: Sequence[tuple[str, int]],
        name: str,
        orders: Channel | None = None,
    ) -> None:
        self._broker = broker
        self._config = config
        self._name = name
        self._wake = Wake()
        settler = Settler(broker, store, worker=name)
        self._progress = ProgressReporter(store, settler.reported, wake=self._wake)
        self._watch = Watch(markers, orders)
        self._slots = Slots(
            threads=config.threads,
            async_limit=config.async_concurrency,
            watch=self._watch,
            delivery=self._delivery,
            wake=self._wake,
        )
        #: What all jobs that were never delivered before share: made once, not once a job.
        self._first_delivery = self._make_first_delivery(store)
        self._sweep = DeadSweep(broker, store, settler)
        self._feeder = Feeder(broker, consumer, self._slots, weights=weights)
        self._membership = Membership(broker, config, consumer)
        self._pump = self._make_pump(settler)
        self._watch.answers = self._answers()

    def _make_first_delivery(self, store: BaseStore) -> Delivery:
        return Delivery(
            worker=self._name,
            report=self._progress,
            is_revoked=self._slots.is_revoked,
            on_start=self._on_start,
            atomic=Atomic(store, worker=self._name),
            inputs=inputs_of,
            grow=grow,
        )

    def _make_pump(self, settler: Settler) -> Pump:
        return Pump(
            self._broker,
            self._config,
            self._membership,
            slots=self._slots,
            feeder=self._feeder,
            settler=settler,
            progress=self._progress,
            sweep=self._sweep,
            wake=self._wake,
        )

    def _answers(self) -> dict[str, Callable[[dict[str, Any]], None]]:
        """Return what is done about the supervisor's orders."""
        return {
            "drain": self.drain,
            "hand_back": self.hand_back,
            "sweep": self._sweep.hurry,
            "revoke": lambda order: self.revoke(order["id"], terminate=order["terminate"]),
        }

    def drain(self, *_: object) -> None:
        """Claim no more, let what runs end, give back the rest, and end. May be a signal handler, as the next two."""
        self._pump.drain()

    def quiet(self, *_: object) -> None:
        """Claim no more, and stay."""
        self._pump.quiet()

    def hand_back(self, *_: object) -> None:
        """Give back everything, what runs included, and end this process at once."""
        self._pump.hand_back()

    def revoke(self, job_id: str, *, terminate: bool) -> None:
        """Ask a job to stop, and with ``terminate`` interrupt it. Any thread may."""
        self._slots.revoke(job_id)
        if terminate:
            self._watch.interrupt(job_id)

    def run(self) -> Exit:
        """Work until drained. Return how it ended."""
        signals.send(signals.worker_process_started, type(self), worker=self._name)
        pump = threading.Thread(target=self._pump.run, name="django-jobs-pump", daemon=True)
        pump.start()
        self._watch.start()
        threading.Thread(target=self._run_waiter, name="django-jobs-waiter", daemon=True).start()
        if self._config.threads == 1:
            self._slots.work()
        else:
            self._slots.start_threads()
        while pump.is_alive():
            pump.join(1.0)
        self._watch.stop()
        signals.send(signals.worker_process_stopping, type(self), worker=self._name)
        return self._pump.exit

    def _run_waiter(self) -> None:
        with own_errors_are_fatal():
            self._wait_for_work()

    def _wait_for_work(self) -> None:
        pump = self._pump
        while not pump.is_draining:
            if not pump.may_wait.wait(0.5):
                continue
            pump.waiter_waits = True
            try:
                if not pump.may_wait.is_set():  # looked at again behind the flag: pump and waiter never both wait
                    continue
                queue = self._broker.wait(self._membership.consumer.queues, WAIT_MS)
            except BrokerUnavailable:
                time.sleep(PAUSE_SECONDS)  # the pump meets the same error, says so, and recovers
                continue
            finally:
                pump.waiter_waits = False
                if not pump.may_wait.is_set():
                    self._wake.set()  # the pump wanted to wait itself, and may have been kept from it by us
            if queue is not None:
                pump.may_wait.clear()
                self._feeder.wake(queue)
                self._wake.set()

    def _delivery(self, claimed: Claimed) -> Delivery:
        first = self._first_delivery
        if not claimed.deliveries:
            return first
        return Delivery(
            deliveries=claimed.deliveries,
            crashes=claimed.crashes,
            worker=first.worker,
            report=first.report,
            is_revoked=first.is_revoked,
            on_start=partial(self._on_start, deliveries=claimed.deliveries),
            atomic=first.atomic,
            inputs=first.inputs,
            grow=first.grow,
        )

    def _on_start(self, task: RegisteredTask, job: Job, deliveries: int = 0) -> None:
        options, atomic = options_of(task, job), self._first_delivery.atomic
        if options.track_started and (not options.atomic or atomic is None or atomic.can_report):
            self._progress.started(job, self._name, deliveries)
        announce.started(task, job)
