"""
What becomes of dead jobs whose end nobody has recorded.

A job is put aside as dead when it was ended together with its process (its time limit, a revocation with
``terminate``), and when it was revoked or purged by somebody who died before they could record it. A child records the
end: it has the code of the tasks, so signals are sent and a task's policy may have the job run again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence

from django_jobs import clock
from django_jobs.brokers.base import BaseBroker, Claimed, Found, Message
from django_jobs.envelope import DELIVERIES_MAX, GENERATION_BITS, Job
from django_jobs.exceptions import JobRevoked, JobsConfigurationError, JobsError, TimeLimitExceeded
from django_jobs.execution import error_of, options_of, outcome_of
from django_jobs.outcome import Failed, Outcome, Revoked
from django_jobs.registry import registry
from django_jobs.results.base import BaseStore, Settled
from django_jobs.states import Place, State
from django_jobs.worker import announce
from django_jobs.worker.settler import Settler
from django_jobs.worker.slots import Finished, read
from django_jobs.worker.verdict import TERMINATED, Verdict

#: Between two looks; at once when somebody says that there is something.
SWEEP_SECONDS = 60.0
SWEEP_BATCH = 100
#: Whoever revokes a job records it, and has this long for it.
REVOKERS_MS = 10_000
#: What is recorded of a job that did not end when it was interrupted.
KILLED = "The job was revoked while it ran; it did not end when it was interrupted, and its process was killed."
_REVOKED = frozenset({"revoked", "purged"})
_WAITING = frozenset({State.RETRY.value, State.SCHEDULED.value})


class DeadSweep:
    """Records the ends of dead jobs, for one process."""

    def __init__(self, broker: BaseBroker, store: BaseStore, settler: Settler) -> None:
        self._broker = broker
        self._store = store
        self._settler = settler
        self._next = 0.0

    def hurry(self, *_: object) -> None:
        """Say that there may be something. Any thread may."""
        self._next = 0.0

    def sweep_if_due(self, queues: Sequence[str]) -> None:
        """Look for dead jobs when it is time. Raises BrokerUnavailable, StoreUnavailable."""
        if time.monotonic() < self._next:
            return
        # Not all at once, over all workers.
        self._next = time.monotonic() + SWEEP_SECONDS * random.uniform(0.5, 1.5)
        for queue in queues:
            found = self._broker.peek(queue, Place.DEAD, limit=SWEEP_BATCH)
            if len(found) == SWEEP_BATCH:
                self._next = 0.0
            if found:
                self._bury(queue, found)

    def _bury(self, queue: str, found: Sequence[Found]) -> None:
        rows = self._store.settled([dead.id for dead in found])
        recorded: list[str] = []
        again: list[Message] = []
        ends: list[Finished] = []
        for dead in found:
            row, end = rows.get(dead.id), _end_of(dead, rows.get(dead.id))
            if row is not None and _says_enough(row, end.job):
                if row.is_terminal or row.message is None:
                    recorded.append(dead.id)
                else:  # it was recorded that it runs again, and not sent
                    again.append(Message(dead.id, queue, row.message.encode("ascii"), dead.priority, row.eta_ms))
            elif dead.reason not in _REVOKED or clock.now_ms() - dead.moment_ms > REVOKERS_MS:
                ends.append(end)
        self._settle(queue, {dead.id: dead for dead in found}, ends, recorded, again)

    def _settle(
        self,
        queue: str,
        found: Mapping[str, Found],
        ends: Sequence[Finished],
        recorded: list[str],
        again: list[Message],
    ) -> None:
        plan = self._settler.plan(ends)
        verdicts = {job_id: Verdict.decode(dead.reason) for job_id, dead in found.items()} if plan.records else {}
        records = [
            record if (verdict := verdicts[record.id]) is None else record._replace(worker=verdict.worker)
            for record in plan.records
        ]
        self._settler.write(records, plan)
        for retry in plan.retries:
            eta_ms = clock.now_ms() + retry.delay_ms if retry.delay_ms else None
            again.append(Message(retry.job.id, queue, retry.body, retry.job.priority, eta_ms))
        gone = [*recorded, *(claimed.id for claimed in plan.acks)]
        if gone:
            self._broker.forget(gone, queue)
        if again:
            self._broker.revive(again)
        for end in ends:
            announce.finished(end)


def _says_enough(row: Settled, job: Job | None) -> bool:
    """Say whether a row knows of this generation of a job already how it ended, or that it runs again."""
    return (row.is_terminal or row.state in _WAITING) and (
        job is None or row.fence >> GENERATION_BITS >= job.generation
    )


def _end_of(dead: Found, row: Settled | None) -> Finished:
    claimed = Claimed(dead.id, dead.queue, dead.body, "", dead.moment_ms, dead.priority)
    verdict, job = Verdict.decode(dead.reason), read(claimed)
    if row is not None and isinstance(job, Job) and row.fence >> GENERATION_BITS == job.generation:
        # Under the number of its last delivery: progress that it has written must not be newer than its end.
        claimed = claimed._replace(deliveries=row.fence & DELIVERIES_MAX)
    started_ms, ended_ms = (dead.moment_ms,) * 2 if verdict is None else (verdict.started_ms, verdict.ended_ms)
    if not isinstance(job, Job):
        return Finished(claimed, None, job, started_ms, ended_ms)
    return Finished(claimed, job, _outcome_of(dead, job, verdict), started_ms, ended_ms)


def _outcome_of(dead: Found, job: Job, verdict: Verdict | None) -> Outcome:
    if verdict is None:
        if dead.reason in _REVOKED:
            return Revoked(error_of(JobRevoked()))
        return Failed(error_of(JobsError(f"The job was put aside: {dead.reason or 'nobody said why'}.")))
    if verdict.why == TERMINATED:
        return Revoked(error_of(JobRevoked(KILLED)))
    seconds = (verdict.ended_ms - verdict.started_ms) / 1000
    error = TimeLimitExceeded(f"The job had run for {seconds:.1f} s when its time was over: its process was killed.")
    task = registry.get(job.task)
    if task is None:
        return Failed(error_of(error), error)
    try:
        return outcome_of(error, job, options_of(task, job))
    except JobsConfigurationError:  # options of another version of the code
        return Failed(error_of(error), error)
