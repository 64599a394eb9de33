"""
The loop of a process that runs jobs: settle what is finished, claim what fits, and again.

One thread runs it, and that thread alone talks to the broker and the result store. What it shares with the slots and
the waiter are the flag that wakes it, and containers whose operations are atomic.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import NoReturn

from django.db import connections

from django_jobs.brokers.base import ACK_BATCH, BaseBroker, Claimed
from django_jobs.exceptions import BrokerUnavailable, ConsumerLost, StoreUnavailable
from django_jobs.worker.backoff import Backoff
from django_jobs.worker.config import WorkerConfig, weight_of
from django_jobs.worker.dead_sweep import DeadSweep
from django_jobs.worker.feeder import Feeder
from django_jobs.worker.membership import Membership
from django_jobs.worker.process import Exit, own_errors_are_fatal
from django_jobs.worker.progress import ProgressReporter
from django_jobs.worker.quarantine import DELAY_MS as QUARANTINE_DELAY_MS
from django_jobs.worker.quarantine import Quarantine
from django_jobs.worker.recycling import Recycling
from django_jobs.worker.settler import SETTLE_BATCH, Settler
from django_jobs.worker.slots import Finished, Slots
from django_jobs.worker.wake import Wake

logger = logging.getLogger("django_jobs.worker")

#: While jobs wait or are to be settled the pump looks this often; otherwise it is woken.
BUSY_SECONDS = 0.005
#: Between two turns of a busy pump: the price of a commit and a round trip is shared by what ends in this time.
LINGER_SECONDS = 0.002
#: Jobs that end sooner after a claim do not get a waiter started beside them.
SETTLING_SECONDS = 0.01
#: An idle pump blocks in the broker for so long at most, deaf to everything else: to being told to stop, too.
BLOCK_SECONDS = 0.25


class Pump:
    """Moves jobs between the broker, the slots of this process and the result store."""

    def __init__(
        self,
        broker: BaseBroker,
        config: WorkerConfig,
        membership: Membership,
        *,
        slots: Slots,
        feeder: Feeder,
        settler: Settler,
        progress: ProgressReporter,
        sweep: DeadSweep,
        wake: Wake,
    ) -> None:
        self._broker = broker
        self._config = config
        self._membership = membership
        self._slots = slots
        self._feeder = feeder
        self._settler = settler
        self._progress = progress
        self._sweep = sweep
        self._wake = wake
        self._quarantine = Quarantine(slots)
        self._recycling = Recycling(config)
        # Plain flags: signal handlers set them, and must not touch a lock.
        self.is_draining = self._is_quiet = self._is_handing_back = False
        #: Set while some slots are free and others are not: only then may the waiter take a wake-up, which another
        #: worker would miss. An idle pump waits itself.
        self.may_wait = threading.Event()
        self.waiter_waits = False
        self.exit = Exit.DONE
        #: Finished jobs whose rows are not committed, and jobs whose rows are but that are not acked.
        self._unsettled: list[Finished] = []
        self._unacked: list[Claimed] = []
        self._ended_jobs = 0
        self._stepped_at = 0.0
        #: Something has just been claimed: it may be over before the waiter is of any use.
        self._is_settling = False
        self._backoff = Backoff()

    # From outside, also from signal handlers

    def drain(self) -> None:
        """Claim no more, let what runs end, give back the rest, and end."""
        self.is_draining = True
        self._wake.set()

    def quiet(self) -> None:
        """Claim no more, and stay."""
        self._is_quiet = True

    def hand_back(self) -> None:
        """Give back everything, what runs included, and end the process at once."""
        self._is_handing_back = True
        self.drain()

    def run(self) -> None:
        """Work until drained."""
        with own_errors_are_fatal():
            self._register()
            while not self._is_over():
                timeout = self._timeout()
                blocks = timeout > 0 and self._may_block()
                if timeout > 0 and not blocks:
                    self._sleep(timeout)
                self._step(min(timeout, BLOCK_SECONDS) if blocks else 0.0)
            self._leave()

    def _register(self) -> None:
        while not self.is_draining:
            try:
                self._membership.register()
            except BrokerUnavailable as error:
                self._backoff.pause(error)
            else:
                self._backoff.end()
                return

    def _timeout(self) -> float:
        """Return how long there is nothing to do, as far as is known."""
        slots = self._slots
        if slots.has_finished and not slots.waiting:
            return 0.0
        if slots.waiting or slots.has_finished or self._unsettled or self._unacked or self._quarantine.known():
            return BUSY_SECONDS
        if self.is_draining or self._progress.is_pending:
            return 0.1
        return self._feeder.seconds_to_next() if self._want() > 0 else 1.0

    def _sleep(self, timeout: float) -> None:
        """Wait to be woken. Only when a slot stays free and others stay busy is it worth while to start the waiter."""
        if self._feeder.has_free_slot() and not self._slots.is_idle:
            if self._is_settling:
                timeout = min(timeout, SETTLING_SECONDS)
            else:
                self.may_wait.set()
        self._is_settling = False
        self._wake.wait(timeout)
        # While slots are busy let a few more jobs end, to be settled together; never when a slot is starving.
        slots = self._slots
        pause = self._stepped_at + LINGER_SECONDS - time.monotonic()
        if pause > 0 and (slots.in_loop or slots.waiting):
            time.sleep(pause)

    def _may_block(self) -> bool:
        """Say whether there is nothing to do but to wait for jobs."""
        deaf = self.is_draining or self._is_quiet or self._config.burst
        if deaf or self._membership.is_in_doubt or self._progress.is_pending or not self._is_empty():
            return False
        self.may_wait.clear()
        return not self.waiter_waits

    def _step(self, block_seconds: float) -> None:
        """Settle and claim; with ``block_seconds`` wait up to so long for something to claim."""
        self._stepped_at = time.monotonic()
        if self._is_handing_back:
            self._hand_back()
        try:
            self._settle()
            if self._membership.is_in_doubt:
                self._membership.resync(self._known())
            if self.is_draining:
                self._give_back()
            else:
                self._claim(block_seconds)
            self._backoff.end()
        except ConsumerLost:
            logger.warning("This process was taken for dead: it ends what it runs, and is replaced")
            # One queue has said so; what was claimed from another a moment before is known to nobody here.
            self._membership.doubt()
            self._replace()
        except BrokerUnavailable as error:
            self._membership.doubt()
            self._broker.close()
            self._backoff.pause(error)
        except StoreUnavailable as error:
            # Redelivered jobs that could not be looked up are in flight, and known to nobody here.
            self._membership.doubt()
            self._backoff.pause(error)

    def _settle(self) -> None:
        self._progress.write()
        taken = self._slots.take_finished(SETTLE_BATCH - len(self._unsettled))
        self._unsettled += taken
        self._progress.drop(finished.claimed.id for finished in taken)
        if self._unsettled:
            self._unacked += self._settler.settle(self._unsettled)
            self._ended_jobs += len(self._unsettled)
            self._unsettled = []

    def _claim(self, block_seconds: float) -> None:
        if self._quarantine.is_closed:
            self._ack()
            self._release(self._quarantine.turn(all_settled=not self._unsettled), delay_ms=QUARANTINE_DELAY_MS)
        if self._feeder.stale():
            self._feeder.was_wrong()
            self._release(self._slots.take_back())
        for queue in self._membership.discover():
            self._feeder.add_queue(queue, weight_of(queue))
        self._sweep.sweep_if_due(self._membership.consumer.queues)
        if self._recycling.is_due(self._ended_jobs):
            self._replace()
        want = self._want()
        # Asking for a few jobs while many wait would only cost a round trip.
        if want <= 0 or (self._slots.waiting and want < self._slots.waiting // 2):
            self._ack()
            return
        if block_seconds > 0:
            jobs = self._feeder.wait_and_claim(self._membership.consumer, want, block_seconds)
        else:
            acks, rest = self._unacked[:ACK_BATCH], self._unacked[ACK_BATCH:]
            jobs = self._feeder.claim(want, acks)
            self._unacked = rest
        if jobs and self._settler.concerns(jobs):
            to_run = self._settler.check_redelivered(jobs)
            jobs = self._quarantine.admit(self._membership.without_copies(to_run, self._known()))
        self._slots.put(jobs)
        self._feeder.learn(jobs)
        if self._config.burst and self._feeder.has_found_nothing(idle=not jobs and self._is_empty()):
            self.drain()
        self._is_settling = self._is_settling or bool(jobs)
        if not self._feeder.has_free_slot():
            self.may_wait.clear()

    def _want(self) -> int:
        if self.is_draining or self._is_quiet or self._quarantine.is_closed:
            return 0
        return min(self._feeder.want(), self._recycling.room(self._ended_jobs + self._slots.count))

    def _ack(self) -> None:
        while self._unacked:
            self._broker.ack(self._unacked[:ACK_BATCH])
            self._unacked = self._unacked[ACK_BATCH:]

    def _release(self, jobs: list[Claimed], *, started: bool = False, delay_ms: int = 0) -> None:
        if jobs:
            self._broker.release(jobs, started=started, delay_ms=delay_ms)

    def _known(self) -> set[str]:
        """Return the ids of everything that is in flight for us, as far as we know."""
        return {
            *self._slots.known(),
            *self._quarantine.known(),
            *(finished.claimed.id for finished in self._unsettled),
            *(claimed.id for claimed in self._unacked),
        }

    def _replace(self) -> None:
        self.exit = Exit.REPLACE
        self.drain()

    # The end

    def _give_back(self) -> None:
        self._release([*self._slots.take_back(), *self._quarantine.give_up()])
        self._ack()

    def _hand_back(self) -> NoReturn:
        """Give back everything and end. Said once, to a store or a broker that may be away: nothing is waited for."""
        try:
            self._settle()
        except (BrokerUnavailable, StoreUnavailable) as error:
            logger.warning("%s What has just ended runs again.", error)
        try:
            self._give_back()
            # Some rows may be there all the same: who gets a started job looks for its row first.
            ended = [finished.claimed for finished in self._unsettled]
            self._release([*self._slots.running_jobs(), *ended], started=True)
            self._membership.leave()
        except BrokerUnavailable as error:
            logger.warning("%s What this process holds comes back when its lease has run out.", error)
        os._exit(Exit.HANDED_BACK)

    def _is_over(self) -> bool:
        return self.is_draining and self._is_empty()

    def _is_empty(self) -> bool:
        """Say whether this process has nothing in flight. A suspect that runs is in a slot."""
        return self._slots.is_idle and not (self._unsettled or self._unacked or self._quarantine.known())

    def _leave(self) -> None:
        self._slots.stop()
        self._membership.leave()
        self._broker.interrupt()
        connections.close_all()
