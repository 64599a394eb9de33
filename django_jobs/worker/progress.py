"""
What running jobs say about themselves, on its way to the result store.

Jobs say it in their own threads, as often as they like; the pump writes the latest word of each job at most ten times a
second. What was said right before the end is dropped: the end is recorded anyway.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from django.db import DatabaseError

from django_jobs import clock
from django_jobs.envelope import Job
from django_jobs.execution import fence_of
from django_jobs.results.base import BaseStore, Record
from django_jobs.serializers import dumps
from django_jobs.states import State
from django_jobs.worker.wake import Wake

logger = logging.getLogger("django_jobs.worker")

_INTERVAL_SECONDS = 0.1
_OWN_STATES = frozenset(State.values) - {State.STARTED.value}


class ProgressReporter:
    """Collects and writes the running states of one process's jobs."""

    def __init__(self, store: BaseStore, reported: set[str], *, wake: Wake) -> None:
        self._store = store
        self._reported = reported
        self._wake = wake
        self._latest: dict[str, Record] = {}
        self._next_write = 0.0

    def __call__(self, job: Job, state: str, meta: Any, *, fence: int, worker: str) -> None:
        """Take a job's word. Raises ValueError for a state that is not the job's to set, EncodeError."""
        if not isinstance(state, str) or not 1 <= len(state) <= 32 or state in _OWN_STATES:
            raise ValueError(
                f"update_state() takes a state of your own, of at most 32 characters, or 'STARTED', not {state!r}."
            )
        encoded = None if meta is None else dumps(meta, "meta").decode("ascii")
        self._put(job, state, encoded, fence=fence, worker=worker)

    def started(self, job: Job, worker: str, deliveries: int) -> None:
        """Say that a job with ``track_started`` starts."""
        self._put(job, State.STARTED.value, None, fence=fence_of(job, deliveries), worker=worker)

    def _put(self, job: Job, state: str, meta: str | None, *, fence: int, worker: str) -> None:
        now_ms = clock.now_ms()
        self._reported.add(job.id)
        self._latest[job.id] = Record(
            id=job.id,
            task=job.task,
            queue=job.queue,
            state=state,
            priority=job.priority,
            meta=meta,
            worker=worker,
            retries=job.retries,
            fence=fence,
            enqueued_ms=job.enqueued_ms,
            eta_ms=job.eta_ms,
            started_ms=now_ms,
            root_id=job.root_id,
            parent_id=job.parent_id,
            workflow_id=job.workflow_id,
        )
        self._wake.set()

    def drop(self, job_ids: Iterable[str]) -> None:
        """Forget what jobs that have ended said last: written late, it would stand over how they ended."""
        for job_id in job_ids if self._latest else ():
            self._latest.pop(job_id, None)

    @property
    def is_pending(self) -> bool:
        """Say whether something is to be written."""
        return bool(self._latest)

    def write(self) -> None:
        """Write what has been said, unless something was written a moment ago. Raises StoreUnavailable."""
        if not self._latest or time.monotonic() < self._next_write:
            return
        self._next_write = time.monotonic() + _INTERVAL_SECONDS
        for job_id in list(self._latest):
            record = self._latest.pop(job_id, None)
            if record is not None:
                self._write(record)

    def _write(self, record: Record) -> None:
        try:
            self._store.update_meta(record)
        except DatabaseError as error:  # it is only a word in passing, and must not cost the process
            logger.warning("What the job %s says of itself cannot be stored: %s", record.id, error)
