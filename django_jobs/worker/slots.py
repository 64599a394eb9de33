"""
Where jobs run: threads (the main thread is one of them when there is only one), and an event loop for ``async def``
tasks.

A slot takes a claimed job, runs it and puts what came of it among the finished. It never touches the broker or the
result store itself; the database connections that a job opens are its thread's own, and are closed or kept by Django's
rules after each job.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from django.db import connections

from django_jobs import clock
from django_jobs.brokers.base import Claimed
from django_jobs.envelope import Job, decode
from django_jobs.exceptions import DecodeError, JobRevoked, UndecodableJob, UnknownVersion
from django_jobs.execution import Delivery, aexecute, error_of, execute
from django_jobs.outcome import Failed, Outcome, Retried, Revoked, Snoozed, Undeliverable
from django_jobs.registry import registry
from django_jobs.worker.interrupts import LoopGuard, ThreadGuard
from django_jobs.worker.orm_thread import OrmThread, end_request
from django_jobs.worker.process import own_errors_are_fatal
from django_jobs.worker.wake import Wake
from django_jobs.worker.watch import Watch


class Finished(NamedTuple):
    """A job whose run is over, and how it went."""

    claimed: Claimed
    #: None: its message could not be read.
    job: Job | None
    outcome: Outcome
    started_ms: int
    finished_ms: int


def read(claimed: Claimed) -> Job | Outcome:
    """Return the job in a message, or what becomes of a message that cannot be read."""
    try:
        return decode(claimed.body, job_id=claimed.id, queue=claimed.queue)
    except UnknownVersion as error:
        return Undeliverable(error_of(error), error.enqueued_ms)
    except DecodeError as error:
        return Failed(error_of(UndecodableJob(str(error))))


#: A signal is answered after this long at the latest.
SIGNAL_SECONDS = 1.0
#: Weight of the newest job in the running average of durations.
_SMOOTHING = 0.2


class Slots:
    """
    All the slots of one process.

    One thread (the process's pump) puts jobs in and takes finished ones out; the slots do the rest. What they share are
    single operations on sets, dictionaries, deques and a SimpleQueue, which are atomic.
    """

    def __init__(
        self,
        *,
        threads: int,
        async_limit: int,
        watch: Watch,
        delivery: Callable[[Claimed], Delivery],
        wake: Wake,
    ) -> None:
        self.threads = threads
        self.async_limit = async_limit
        #: Jobs that are in a thread or wait for one, and jobs on the event loop. By claim, not by id: a job that is to
        #: run again at once may be here anew before the thread that ran it has taken its last claim out.
        self.in_threads: set[Claimed] = set()
        self.in_loop: set[Claimed] = set()
        #: Running average of how long a job holds a thread, in seconds.
        self.average_seconds = 0.0
        #: Jobs that somebody revoked after they had been claimed: they do not start, or do not run again.
        self._revoked: set[Claimed] = set()
        self._watch = watch
        self._pid = os.getpid()
        self._delivery = delivery
        self._wake = wake
        self._inbox: SimpleQueue[tuple[Claimed, Job] | None] = SimpleQueue()
        #: Jobs of async tasks on their way to the loop, or beyond its limit.
        self._loop_inbox: deque[tuple[Claimed, Job]] = deque()
        self._finished: deque[Finished] = deque()
        self._low_water = 1
        self._loop = _Loop(self._start_next)
        self._orm_thread = OrmThread()

    # For the pump

    def put(self, jobs: Sequence[Claimed]) -> None:
        """Give jobs to the slots, in order. What cannot be read is finished at once."""
        for claimed in jobs:
            job = read(claimed)
            if not isinstance(job, Job):
                self._finish(claimed, None, job, clock.now_ms())
                self._wake_for_batch()
                continue
            task = registry.get(job.task)
            if task is not None and task.is_async:
                self._put_on_loop(claimed, job)
            else:
                self.in_threads.add(claimed)
                self._inbox.put((claimed, job))
        self._low_water = max(1, len(self.in_threads) // 2)

    def _put_on_loop(self, claimed: Claimed, job: Job) -> None:
        self.in_loop.add(claimed)
        self._loop_inbox.append((claimed, job))
        self._loop.call(self._start_next)

    def _start_next(self) -> None:
        """Start jobs that wait for the loop, as far as there is room. Runs on the loop."""
        while self._loop_inbox and self._loop.count < self.async_limit:
            try:
                claimed, job = self._loop_inbox.popleft()
            except IndexError:  # the pump has taken it back
                return
            self._loop.spawn(self._run_on_loop(claimed, job))

    def take_finished(self, limit: int) -> list[Finished]:
        """Return up to ``limit`` jobs whose run is over."""
        taken: list[Finished] = []
        while self._finished and len(taken) < limit:
            taken.append(self._finished.popleft())
        return taken

    def take_back(self) -> list[Claimed]:
        """Return the jobs that have not been started, and now will not be."""
        taken: list[Claimed] = []
        try:
            while (entry := self._inbox.get_nowait()) is not None:
                taken.append(entry[0])
                self.in_threads.remove(entry[0])
        except Empty:
            pass
        while self._loop_inbox:
            try:
                claimed, _ = self._loop_inbox.popleft()
            except IndexError:  # the loop was faster
                break
            taken.append(claimed)
            self.in_loop.remove(claimed)
        return taken

    @property
    def waiting(self) -> int:
        """How many jobs wait for a slot."""
        return self._inbox.qsize() + len(self._loop_inbox)

    @property
    def has_finished(self) -> bool:
        """Say whether there is something to settle."""
        return bool(self._finished)

    @property
    def is_idle(self) -> bool:
        """Say whether nothing runs, waits or is to be settled."""
        return not (self.in_threads or self.in_loop or self._finished)

    @property
    def count(self) -> int:
        """How many jobs were put in and not taken out; for a moment one that ends counts twice."""
        return len(self.in_threads) + len(self.in_loop) + len(self._finished)

    def known(self) -> set[str]:
        """Return the ids of everything that was put in and not taken out."""
        # In this order: a job is among the finished before it leaves the others.
        inside = [*self.in_threads, *self.in_loop]
        return {claimed.id for claimed in [*inside, *(finished.claimed for finished in list(self._finished))]}

    def running_jobs(self) -> list[Claimed]:
        """Return the jobs that run right now."""
        running = set(self._watch.ids)
        return [claimed for claimed in [*self.in_threads, *self.in_loop] if claimed.id in running]

    # For those who ask jobs to stop

    def revoke(self, job_id: str) -> None:
        """Ask a job to stop: it does not start any more, or is not run again after this attempt. Any thread may."""
        self._revoked.update(claimed for claimed in [*self.in_threads, *self.in_loop] if claimed.id == job_id)
        # Not one that has ended meanwhile: the next run of that job is not revoked.
        self._revoked.intersection_update([*self.in_threads, *self.in_loop])

    def is_revoked(self, job_id: str) -> bool:
        """Say whether a job was asked to stop."""
        return any(claimed.id == job_id for claimed in list(self._revoked))

    # For the threads that run jobs

    def start_threads(self) -> None:
        """Start the threads that run jobs; with a single one the caller's own thread runs ``work`` instead."""
        for number in range(self.threads):
            threading.Thread(target=self.work, name=f"django-jobs-slot-{number + 1}", daemon=True).start()

    def stop(self) -> None:
        """Let every thread end after the job that it runs."""
        for _ in range(self.threads):
            self._inbox.put(None)
        self._loop.stop()

    def work(self) -> None:
        """Run jobs until ``stop``. An error that is not a job's own ends the process."""
        with own_errors_are_fatal():
            guard, context = ThreadGuard(self._watch), copy_context()
            while (entry := self._next()) is not None:
                # What a job activates (a language, a time zone, a context variable) ends with it.
                context.copy().run(self._run, guard, *entry)
            connections.close_all()

    def _next(self) -> tuple[Claimed, Job] | None:
        while True:
            try:
                # The main thread answers signals. One that comes right before it blocks would wait until something
                # else wakes it, so it never blocks for long.
                return self._inbox.get(timeout=SIGNAL_SECONDS)
            except Empty:
                continue

    def _run(self, guard: ThreadGuard, claimed: Claimed, job: Job) -> None:
        started, started_ms = time.monotonic(), clock.now_ms()
        self._watch.enter(claimed.id, guard, started_ms)
        outcome = self._unless_revoked(claimed) or execute(job, self._delivery(claimed), guard)
        self._end_if_forked()
        end_request()
        self._watch.leave(claimed.id)
        self.average_seconds += _SMOOTHING * (time.monotonic() - started - self.average_seconds)
        # In this order: at every moment the job is known to be somewhere, and who is woken finds the slot free.
        self._finish(claimed, job, outcome, started_ms)
        self.in_threads.remove(claimed)
        self._wake_for_batch()

    async def _run_on_loop(self, claimed: Claimed, job: Job) -> None:
        with own_errors_are_fatal():
            await self._orm_thread.find()
            started_ms = clock.now_ms()
            guard = LoopGuard(self._watch)
            self._watch.enter(claimed.id, guard, started_ms)
            outcome = self._unless_revoked(claimed) or await aexecute(job, self._delivery(claimed), guard)
            self._end_if_forked()
            self._orm_thread.job_ended(alone=self._loop.count == 1)
            self._watch.leave(claimed.id)
            self._finish(claimed, job, outcome, started_ms)
            self.in_loop.remove(claimed)
            self._wake_for_batch()

    def _end_if_forked(self) -> None:
        """End a process that a job has forked, and that has come out of the job: it is no worker."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _unless_revoked(self, claimed: Claimed) -> Outcome | None:
        """Return how a job ends that was revoked before it could start."""
        return Revoked(error_of(JobRevoked())) if claimed in self._revoked else None

    def _finish(self, claimed: Claimed, job: Job | None, outcome: Outcome, started_ms: int) -> None:
        if self._revoked and claimed in self._revoked:
            self._revoked.discard(claimed)
            if isinstance(outcome, Retried | Snoozed):  # it was asked to stop while it ran
                outcome = Revoked(error_of(JobRevoked()))
        self._finished.append(Finished(claimed, job, outcome, started_ms, clock.now_ms()))

    def _wake_for_batch(self) -> None:
        """
        Have finished jobs settled. Waking costs two thread switches: wait for a good batch while there is more to run,
        but never while a slot starves.
        """
        if self._inbox.empty() or len(self._finished) >= self._low_water:
            self._wake.set()


class _Loop:
    """An event loop in a thread of its own, started by the first job that needs it."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopped = False
        #: The loop holds tasks weakly; somebody must hold them.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """How many jobs are on the loop."""
        return len(self._tasks)

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the loop. Called by the pump alone."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._run, args=(self._loop,), name="django-jobs-loop", daemon=True).start()
        self._loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        """End the loop and its thread. Called by the pump, when no job is on it any more."""
        if self._loop is not None:
            self._is_stopped = True
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with own_errors_are_fatal():
            loop.run_forever()  # SystemExit of a job's own asyncio task comes out here
            if not self._is_stopped:
                raise RuntimeError("A job has stopped the event loop of the worker.")
            loop.close()

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Start a job. Runs on the loop."""
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._on_end()
