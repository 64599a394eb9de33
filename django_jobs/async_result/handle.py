"""``AsyncResult``: how a job is asked about by whoever sent it, or knows its id."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from asgiref.sync import sync_to_async

from django_jobs import clock, operations
from django_jobs.async_result.identity import Identified
from django_jobs.async_result.look import Look, look
from django_jobs.async_result.sent import Sent
from django_jobs.async_result.waiting import Pause, Waited, steps
from django_jobs.async_result.workflow import WorkflowResult, cause_of, why_it_never_ran, workflow_of
from django_jobs.brokers import get_broker
from django_jobs.envelope import Job, decode
from django_jobs.exceptions import DecodeError, JobsError, RelatedObjectMissing, UpstreamFailed
from django_jobs.execution import options_in_force
from django_jobs.identifiers import parse_id
from django_jobs.registry import registry
from django_jobs.results import get_store
from django_jobs.results.base import Record
from django_jobs.results.rebuild import exception_of
from django_jobs.results.redaction import shown_arguments
from django_jobs.serializers import load_packed, loads, unpack
from django_jobs.states import State

R = TypeVar("R")


class AsyncResult(Identified, Sent, Generic[R]):
    """
    A job, by its id.

    Every attribute asks anew, until the job has ended. ``queue`` saves a search. Raises ValueError for what is no id.
    """

    def __init__(
        self, job_id: str | UUID, queue: str | None = None, *, ignored: bool = False, parent: Any = None
    ) -> None:
        #: The id of the job.
        self.id = parse_id(job_id) if queue is None else str(job_id)
        self._queue = queue
        #: Was the job sent with ``ignore_result``? Known to the handle that sent it.
        self._ignored = ignored
        #: What came before it in its canvas; known to the handle that sent it.
        self._parent = parent
        #: How it ended, once that is known.
        self.ended: Look | None = None
        #: The job that is waited for: this one, or the last that has taken its place.
        self.target_id = self.id

    # How it stands

    @property
    def state(self) -> str:
        """A ``State``, or a state of the task's own. UNKNOWN: neither the broker nor the database knows this id."""
        state = self._look().state
        return State(state) if state in State.values else state

    status = state

    def ready(self) -> bool:
        """Say whether the job has ended."""
        return self._look().has_ended

    def successful(self) -> bool:
        """Say whether the job has succeeded."""
        return self._look().state == State.SUCCESS

    def failed(self) -> bool:
        """Say whether the job has failed."""
        return self._look().state == State.FAILURE

    @property
    def result(self) -> Any:
        """What the job returned, or the exception that it ended with; None before its end. See ``get``."""
        seen = self._look()
        return _end_of(seen) if seen.has_ended else None

    @property
    def info(self) -> Any:
        """As ``result``; before the end, the error of the last attempt, or what the job said last about itself."""
        seen = self._look()
        if seen.has_ended:
            return _end_of(seen)
        if seen.state == State.RETRY and seen.stored is not None:
            return exception_of(seen.stored.record)
        return None if seen.stored is None or seen.stored.record.meta is None else loads(seen.stored.record.meta)

    @property
    def traceback(self) -> str | None:
        """The traceback of the last attempt, if it failed."""
        record = self._record()
        return record.traceback or None if record is not None else None

    @property
    def date_done(self) -> datetime | None:
        """When the job ended, in UTC."""
        seen = self._look()
        if not seen.has_ended or seen.stored is None or seen.stored.record.finished_ms is None:
            return None
        return clock.from_ms(seen.stored.record.finished_ms)

    # What it is

    @property
    def retries(self) -> int:
        """How many attempts failed before the last, or the next, one."""
        seen = self._look()
        job = _job_in(seen)
        if job is not None:
            return job.retries
        return 0 if seen.stored is None else seen.stored.record.retries

    @property
    def queue(self) -> str | None:
        """The queue of the job."""
        if self._queue is not None:
            return self._queue
        seen = self._look()
        if seen.found is not None:
            return seen.found.queue
        return None if seen.stored is None else seen.stored.record.queue

    @property
    def worker(self) -> str | None:
        """The worker process that ran the job, or said last that it runs."""
        record = self._record()
        return None if record is None else record.worker or None

    @property
    def name(self) -> str | None:
        """The name of the task."""
        seen = self._look()
        job = _job_in(seen)
        if job is not None:
            return job.task
        return None if seen.stored is None else seen.stored.record.task

    @property
    def args(self) -> Any:
        """The positional arguments as they may be shown: secrets are hidden, and what is long is cut."""
        return _shown(self._look(), 0)

    @property
    def kwargs(self) -> Any:
        """The keyword arguments as they may be shown."""
        return _shown(self._look(), 1)

    @property
    def parent(self) -> Any:
        """What came before it in its canvas (of a chord, a GroupResult), or the job that sent it."""
        if self._parent is not None:
            return self._parent
        seen = self._look()
        job = _job_in(seen)
        parent_id = job.parent_id if job is not None else seen.stored.record.parent_id if seen.stored else None
        return None if parent_id is None else AsyncResult(parent_id)

    @property
    def workflow(self) -> WorkflowResult | None:
        """The canvas that the job is a step of, with all that was sent with it; None: it stands alone."""
        return workflow_of(self.id)

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The jobs that this one sent, as far as they are recorded: those that still wait are not among them."""
        return [AsyncResult(child_id) for child_id in get_store().children(self.id)]

    # Waiting

    def get(self, timeout: timedelta | float | None = None, propagate: bool = True, *, allow_in_job: bool = False) -> R:
        """
        Wait for the end of the job and return its result; None for a job whose result is ignored.

        ``timeout``: seconds or a timedelta; None: for as long as the job takes. A job that failed or was revoked raises
        its exception (JobFailed, when that cannot be rebuilt here), with its traceback as a note; ``propagate=False``
        returns it. Raises ResultTimeout, which says what the job waits for; JobUnknown at once; and WouldDeadlock
        inside a job (``allow_in_job`` permits it) and inside the transaction that made the job.
        """
        seconds = as_seconds(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        self._doubt()
        while self.ended is None:
            waiting = steps(self._waited(), _left_of(deadline), allow_in_job=allow_in_job)
            try:
                seen = _drive(waiting, self.target_id)
            finally:
                waiting.close()
            self.keep(seen)
            if seen.replaced_by is None:
                break
        return self._value(propagate)

    wait = get

    async def aget(
        self,
        timeout: timedelta | float | None = None,  # noqa: ASYNC109 - as in get()
        propagate: bool = True,
        *,
        allow_in_job: bool = False,
    ) -> R:
        """Wait for the end of the job without blocking the event loop. See ``get``."""
        seconds = as_seconds(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        self._doubt()
        while self.ended is None:
            waiting = steps(self._waited(), _left_of(deadline), allow_in_job=allow_in_job)
            try:
                seen = await _adrive(waiting, self.target_id)
            finally:
                await sync_to_async(waiting.close)()
            await sync_to_async(self.keep)(seen)
            if seen.replaced_by is None:
                break
        return self._value(propagate)

    # Doing

    def revoke(self, *, terminate: bool = False) -> State:
        """
        Stop the job. Return how it stands now: REVOKED, or its end; STARTED if it is running.

        A running one is asked to stop, with ``terminate`` interrupted and then killed, at its worker's next heartbeat.
        """
        self._look()  # another job may have taken its place
        return operations.revoke(self.target_id, self._queue, terminate=terminate)

    def retry(self) -> AsyncResult[R]:
        """Send a job that failed or was revoked again, under its id. Raises JobsError when it cannot be sent."""
        self._look()
        self.ended = None
        if not operations.retry([self.target_id]).done:
            why = f"its state is {self.state}, it was not kept, or a middleware has not let it pass"
            raise JobsError(why_it_never_ran(self.target_id) or f"The job {self.id} cannot be sent again: {why}.")
        return self

    def forget(self) -> None:
        """Delete what is recorded of the job; of a step, not before its workflow has finished and needs no retry."""
        self.ended = None
        get_store().let_go([self.id])

    # How

    def _look(self) -> Look:
        self._doubt()
        return self.ended or self.keep(look(self.target_id, self._queue))

    def _doubt(self) -> None:
        """Forget an end that may have been undone since it was seen: its workflow may go on."""
        if self.ended is not None and self.ended.may_be_undone:
            self.ended = None

    def keep(self, seen: Look) -> Look:
        """Take note of how the job stands. One that was replaced stands as that which has taken its place does."""
        while seen.replaced_by is not None:
            self.target_id, self._queue = seen.replaced_by, None
            seen = look(self.target_id, None)
        if seen.is_recorded:
            self.ended = seen
        return seen

    def _record(self) -> Record | None:
        stored = self._look().stored
        return None if stored is None else stored.record

    def _waited(self) -> Waited:
        return Waited(id=self.target_id, queue=self._queue, ignored=self._ignored)

    def _value(self, propagate: bool) -> R:
        if self.ended is None:
            return cast(R, None)  # it left no row: its result is ignored
        value = _end_of(self.ended)
        if propagate and self.ended.state != State.SUCCESS:
            raise value from cause_of(self.target_id) if isinstance(value, UpstreamFailed) else None
        return cast(R, value)


def as_seconds(timeout: timedelta | float | None) -> float | None:
    """Return how long to wait, in seconds; None: for ever. Raises TypeError or ValueError."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, timedelta | int | float):
        raise TypeError(f"timeout= takes seconds, a timedelta or None, not {timeout!r}.")
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if seconds != seconds:  # not a number: no clock ever reaches it
        raise ValueError(f"timeout= takes seconds, a timedelta or None, not {timeout!r}.")
    return min(seconds, threading.TIMEOUT_MAX)


def _left_of(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _end_of(seen: Look) -> Any:
    if seen.stored is None:
        return None
    record = seen.stored.record
    if record.state == State.SUCCESS:
        return None if record.result is None else loads(record.result)
    return exception_of(record)


def _job_in(seen: Look) -> Job | None:
    """Return the job as the broker holds it."""
    if seen.found is None:
        return None
    with suppress(DecodeError):
        return decode(seen.found.body, job_id=seen.found.id, queue=seen.found.queue)
    return None


def _shown(seen: Look, which: int) -> Any:
    job = _job_in(seen)
    if job is not None:
        task = registry.get(job.task)
        text = shown_arguments(job, options_in_force(task, job).sensitive)[which]
    elif seen.stored is not None:
        text = (seen.stored.record.args, seen.stored.record.kwargs)[which]
    else:
        return None
    packed = load_packed(text)
    try:
        return unpack(packed)
    except (DecodeError, RelatedObjectMissing):
        return packed  # something in it is hidden, cut, gone, or not registered here


# A generator's end cannot be raised through a future, so it comes back as a value.


def _advance(waiting: Generator[Pause, bool, Look], woken: bool | None) -> Pause | Look:
    try:
        return next(waiting) if woken is None else waiting.send(woken)
    except StopIteration as stop:
        return cast(Look, stop.value)


def _drive(waiting: Generator[Pause, bool, Look], job_id: str) -> Look:
    seen = _advance(waiting, None)
    while isinstance(seen, Pause):
        woken = False
        if seen.queue is None:
            time.sleep(seen.seconds)
        else:
            woken = get_broker().wait_end(job_id, seen.queue, round(seen.seconds * 1000))
        seen = _advance(waiting, woken)
    return seen


async def _adrive(waiting: Generator[Pause, bool, Look], job_id: str) -> Look:
    advance = sync_to_async(_advance)
    # Blocks for seconds and touches no database connection: not in the one thread that all sync code shares.
    wait_end = sync_to_async(get_broker().wait_end, thread_sensitive=False)
    seen = await advance(waiting, None)
    while isinstance(seen, Pause):
        woken = False
        if seen.queue is None:
            await asyncio.sleep(seen.seconds)
        else:
            # A thread that waits cannot be cancelled: it must not hold up the end of the process for long.
            woken = await wait_end(job_id, seen.queue, round(min(seen.seconds, 1.0) * 1000))
        seen = await advance(waiting, woken)
    return seen
