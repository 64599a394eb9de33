"""
What follows from the end of a run, for a whole batch: rows in one transaction, then one ack.

The order is what makes a crash harmless: a job is acked after its row is committed, so a crash between the two repeats
the ack (the row says that the job has ended), never the job. A broker that lives in the store's own database is acked
in the same transaction, and the two cannot come apart at all.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from django_jobs import clock, workflow
from django_jobs.brokers.base import BaseBroker, Claimed, Retry
from django_jobs.conf import settings
from django_jobs.envelope import GENERATION_BITS, OUTBOX_MARK, Job, decode
from django_jobs.exceptions import ResultNotStorable
from django_jobs.execution import error_of, fence_of, options_in_force
from django_jobs.options import TaskOptions
from django_jobs.outcome import (
    Failed,
    Ignored,
    Outcome,
    Recorded,
    Replaced,
    Retried,
    Snoozed,
    Succeeded,
    Superseded,
    Undeliverable,
    Unsettled,
    plain,
)
from django_jobs.registry import registry
from django_jobs.results.base import BaseStore, Record, Settled
from django_jobs.results.outbox import Again, Kept, Standing
from django_jobs.results.recording import record_of, record_of_undecodable
from django_jobs.states import TERMINAL_STATES, State
from django_jobs.worker import announce
from django_jobs.worker.continuity import Continuity
from django_jobs.worker.slots import Finished

logger = logging.getLogger("django_jobs.worker")

#: Rows of one transaction.
SETTLE_BATCH = 200
#: A job that this code cannot run is offered again after this long.
UNDELIVERABLE_DELAY_MS = 30_000
#: So is one whose transaction could not begin, or came to an unknown end, after this long.
UNSETTLED_DELAY_MS = 1000

#: A row in one of these carries the message of the next attempt.
_WAITING = frozenset({State.RETRY.value, State.SCHEDULED.value})


@dataclass(slots=True)
class Plan:
    """What a batch of finished jobs asks for."""

    records: list[Record] = field(default_factory=list)
    acks: list[Claimed] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    later: list[Claimed] = field(default_factory=list)
    #: To be looked up by whoever gets them next.
    unsettled: list[Claimed] = field(default_factory=list)
    #: Of jobs in the outbox: (id, generation) of those that have ended, and the next attempts of the others.
    ended: list[tuple[str, int]] = field(default_factory=list)
    again: list[Again] = field(default_factory=list)
    #: By id: the canvases that take the place of jobs.
    replaced: dict[str, Replaced] = field(default_factory=dict)


class Settler:
    """Settles batches of finished jobs for one process."""

    def __init__(self, broker: BaseBroker, store: BaseStore, *, worker: str) -> None:
        self._broker = broker
        self._store = store
        self._worker = worker
        self._continuity = Continuity(broker, store)
        #: Broker and rows are in one database: one transaction settles both.
        self._together = broker.joins_transaction(store.using)
        #: Ids whose running state was written: their end is, too, even when results are ignored.
        self.reported: set[str] = set()
        #: (id, fence) of rows that are committed, of a batch whose other steps are still to be done: written once more
        #: they would say the same twice in their history.
        self._recorded: set[tuple[str, int]] = set()
        #: Ids of that batch whose row says something newer.
        self._stayed: set[str] = set()

    def settle(self, batch: Sequence[Finished]) -> list[Claimed]:
        """
        Record a batch and send again what is to run again. Return what is to be acked (nothing, when that is done
        already).

        May be repeated for the same batch after StoreUnavailable or BrokerUnavailable: every step is idempotent.
        """
        plan = self.plan(batch)
        if self._together:
            workflow.in_transaction(self._store, partial(self._settle_together, plan))
            plan.acks.clear()
        else:
            self._record_once(plan)
            self._drop_ended(plan)
            self._apply(plan)
            self._recorded.clear()
        self._stayed.clear()
        self.reported.difference_update(finished.claimed.id for finished in batch)
        for finished in batch:
            announce.finished(finished._replace(outcome=plain(finished.outcome)))
        return plan.acks

    def _settle_together(self, plan: Plan, trusting: bool) -> None:
        self._record(plan.records, plan, trusting=trusting)
        self._drop_ended(plan)
        self._apply(plan)
        if plan.acks:
            self._broker.ack(plan.acks)

    def _drop_ended(self, plan: Plan) -> None:
        """Send none of those again that another run has brought to an end meanwhile."""
        stayed = [again.job.id for again in plan.retries if again.job.id in self._stayed]
        if not stayed:
            return
        ended = {job_id for job_id, row in self._store.settled(stayed).items() if row.is_terminal}
        plan.acks += [again.job for again in plan.retries if again.job.id in ended]
        plan.retries = [again for again in plan.retries if again.job.id not in ended]

    def _record_once(self, plan: Plan) -> None:
        new = [record for record in plan.records if (record.id, record.fence) not in self._recorded]
        if self._recorded:
            before = {job_id for job_id, _ in self._recorded}
            plan.ended = [ended for ended in plan.ended if ended[0] not in before]
            plan.again = [again for again in plan.again if again.id not in before]
        self.write(new, plan)
        self._recorded.update((record.id, record.fence) for record in new)

    def write(self, records: Sequence[Record], plan: Plan) -> None:
        """Write rows, and what a plan asks of the outbox, in one transaction."""
        if plan.ended or plan.again or workflow.concerns(records, plan.replaced):
            workflow.in_transaction(self._store, lambda trusting: self._record(records, plan, trusting=trusting))
        elif records:
            self._stayed.update(self._store.record(records))

    def _record(self, records: Sequence[Record], plan: Plan, *, trusting: bool) -> None:
        """Write rows and outbox; inside a transaction. What a newer attempt has written stays, in both."""
        stayed = (
            set(workflow.record(self._store, records, plan.replaced, trusting=trusting).stayed) if records else set()
        )
        self._stayed |= stayed
        outbox = self._store.outbox
        if outbox is not None and (plan.ended or plan.again):
            # Before an end that was just written, another run of the same attempt may have asked for the next one.
            written = {record.id for record in records if record.state in TERMINAL_STATES}
            outbox.settle(
                [(one, generation + (one in written)) for one, generation in plan.ended if one not in stayed],
                [again for again in plan.again if again.id not in stayed],
                resend_ms=settings.outbox_resend_ms,
            )

    def _apply(self, plan: Plan) -> None:
        if plan.retries:
            self._broker.retry(plan.retries)
        if plan.later:
            self._broker.release(plan.later, delay_ms=UNDELIVERABLE_DELAY_MS)
        if plan.unsettled:
            self._broker.release(plan.unsettled, delay_ms=UNSETTLED_DELAY_MS, started=True)

    def plan(self, batch: Sequence[Finished]) -> Plan:
        """Say what a batch asks for, touching nothing."""
        plan = Plan()
        for finished in batch:
            try:
                self._add(plan, finished)
            except Exception as error:  # a message may hold anything, and the other jobs must not suffer for it
                logger.exception("The end of the job %s cannot be recorded as it was", finished.claimed.id)
                plan.records.append(self._unrecordable(finished, error))
                plan.acks.append(finished.claimed)
                if finished.claimed.body.startswith(OUTBOX_MARK):
                    plan.ended.append(_outboxed(finished))
        return plan

    def _add(self, plan: Plan, finished: Finished) -> None:
        """Add one job to a plan, or raise and leave the plan as it is."""
        claimed, job, outcome = finished.claimed, finished.job, finished.outcome
        if isinstance(outcome, Recorded | Superseded):
            plan.acks.append(claimed)
            return
        if isinstance(outcome, Unsettled):
            plan.unsettled.append(claimed)
            return
        if isinstance(outcome, Undeliverable):
            if self._may_wait(finished, outcome):
                plan.later.append(claimed)
                return
            outcome = Failed(outcome.error)
        if job is None:
            plan.records.append(record_of_undecodable(claimed, outcome, worker=self._worker, now_ms=clock.now_ms()))
            plan.acks.append(claimed)
            if claimed.body.startswith(OUTBOX_MARK):
                plan.ended.append(_outboxed(finished))
            return
        again = _following(claimed, job, outcome)
        options = options_in_force(registry.get(job.task), job)
        # A job that has crashed has a row already, which says so and must not go on saying that it waits.
        if claimed.crashes or self._is_recorded(job, outcome, options):
            plan.records.append(self._record_of(finished, job, outcome, options, again))
        if isinstance(outcome, Replaced):
            plan.replaced[job.id] = outcome
        if again is None:
            plan.acks.append(claimed)
        else:
            plan.retries.append(again)
        if job.outbox and again is None:
            plan.ended.append((job.id, job.generation))
        elif job.outbox and again is not None:
            plan.again.append(Again(job.id, job.generation, again.body, clock.now_ms() + again.delay_ms))

    def _unrecordable(self, finished: Finished, error: Exception) -> Record:
        """Return what is recorded when nothing else can be: the raw message, and why. It cannot be retried."""
        told = ResultNotStorable(f"The job came to its end, but no record of it can be made: {error}")
        claimed, job = finished.claimed, finished.job
        record = record_of_undecodable(
            claimed, Failed(error_of(told)), worker=self._worker, now_ms=finished.finished_ms
        )
        fence = record.fence if job is None else fence_of(job, claimed.deliveries)
        return record._replace(fence=fence, message=None)

    def _is_recorded(self, job: Job, outcome: Outcome, options: TaskOptions) -> bool:
        if job.id in self.reported:
            return True  # there is a row already: it must not go on saying that the job runs
        if job.workflow_id is not None or isinstance(outcome, Replaced):
            return True
        if isinstance(outcome, Snoozed):
            return False
        if job.generation:
            return True  # what its last attempt has left there is not its end
        if isinstance(outcome, Ignored):
            return False
        if isinstance(outcome, Succeeded):
            return not options.ignore_result
        return not options.ignore_result or options.store_errors_even_if_ignored

    def _record_of(
        self, finished: Finished, job: Job, outcome: Outcome, options: TaskOptions, again: Retry | None
    ) -> Record:
        return record_of(
            job,
            outcome,
            options=options,
            deliveries=finished.claimed.deliveries,
            fence=fence_of(job, finished.claimed.deliveries),
            worker=self._worker,
            started_ms=finished.started_ms,
            finished_ms=finished.finished_ms,
            following=None if again is None else again.body,
            eta_ms=None if again is None else clock.now_ms() + again.delay_ms,
        )

    @staticmethod
    def _may_wait(finished: Finished, outcome: Undeliverable) -> bool:
        """Say whether a job that this code cannot run is still young enough to wait for a worker that can."""
        job = finished.job
        since_ms = outcome.since_ms if job is None else max(job.enqueued_ms, job.eta_ms or 0)
        return since_ms is not None and clock.now_ms() - since_ms < settings.unknown_task_ttl_ms

    def concerns(self, jobs: Sequence[Claimed]) -> bool:
        """Say whether one of these has to be looked up before it runs. Asks nobody, unless a connection is new."""
        if self._continuity.is_open:
            self._continuity.ask()
        until_ms = self._continuity.doubtful_until_ms
        return any(
            claimed.deliveries or claimed.body.startswith(OUTBOX_MARK) or claimed.moment_ms <= until_ms
            for claimed in jobs
        )

    def check_redelivered(self, jobs: Sequence[Claimed]) -> list[Claimed]:
        """
        Leave out of claimed jobs those whose end is recorded already, and ack them; return those that are to run.

        Looked up are jobs that were delivered before; those that came before the broker may have lost what it was told;
        and those of the outbox: their rows are there until they have ended. Raises StoreUnavailable: without an answer
        none of them may run.
        """
        plan, to_run = Plan(), []
        outbox = self._store.outbox
        marked = [] if outbox is None else [claimed.id for claimed in jobs if claimed.body.startswith(OUTBOX_MARK)]
        standings = {} if outbox is None else outbox.standings(marked)
        ended = set(marked) - standings.keys()
        later = [job_id for job_id, standing in standings.items() if standing.generation]
        kept = outbox.get_many(later) if outbox is not None and later else {}
        until_ms = self._continuity.doubtful_until_ms
        suspects = [
            claimed.id
            for claimed in jobs
            if claimed.deliveries or claimed.moment_ms <= until_ms or _was_relayed_again(standings, claimed)
        ]
        if not (suspects or ended or kept):
            return list(jobs)
        rows = self._store.settled(suspects) if suspects else {}
        for claimed in jobs:
            if claimed.id in ended:
                plan.acks.append(claimed)
            elif not _has_gone_on(
                plan, claimed, rows.get(claimed.id), kept.get(claimed.id), outboxed=claimed.id in standings
            ):
                to_run.append(claimed)
        if plan.ended:
            self._record_once(plan)
        if plan.acks:
            logger.info("%d redelivered jobs had ended already, and do not run again", len(plan.acks))
            self._broker.ack(plan.acks)
        self._apply(plan)
        return to_run


def _has_gone_on(plan: Plan, claimed: Claimed, row: Settled | None, kept: Kept | None, *, outboxed: bool) -> bool:
    """
    Say whether the attempt that was claimed is over, and add to the plan what is to be done with it.

    ``kept``: what the outbox has of a job that has been sent again.
    """
    generation = -1 if row is None else row.fence >> GENERATION_BITS
    here = _generation_of(claimed) if row is not None or kept is not None else 0
    if kept is not None and kept.generation > here:
        plan.retries.append(Retry(claimed, kept.body, max(0, (kept.eta_ms or 0) - clock.now_ms())))
        return True
    if row is None or generation < here:
        return False
    if row.is_terminal:
        plan.acks.append(claimed)
        if outboxed:
            plan.ended.append((claimed.id, here))
        return True
    if row.message is not None and (row.state in _WAITING or generation > here):
        # Its attempt was recorded, or an operator sent it again: what is to run is in the row.
        delay_ms = max(0, (row.eta_ms or 0) - clock.now_ms())
        plan.retries.append(Retry(claimed, row.message.encode("ascii"), delay_ms))
        return True
    return False


def _following(claimed: Claimed, job: Job, outcome: Outcome) -> Retry | None:
    """Return how a job is sent again; None: this was its end."""
    if not isinstance(outcome, Retried | Snoozed):
        return None
    delay_ms = round(outcome.delay * 1000)
    following = job.evolve(
        retries=job.retries + isinstance(outcome, Retried),
        generation=job.generation + 1,
        eta_ms=clock.now_ms() + delay_ms if delay_ms else None,
    )
    return Retry(claimed, following.encode(), delay_ms)


def _was_relayed_again(standings: Mapping[str, Standing], claimed: Claimed) -> bool:
    standing = standings.get(claimed.id)
    return standing is not None and standing.relays > 1


def _outboxed(finished: Finished) -> tuple[str, int]:
    return finished.claimed.id, 0 if finished.job is None else finished.job.generation


def _generation_of(claimed: Claimed) -> int:
    try:
        return decode(claimed.body, job_id=claimed.id, queue=claimed.queue).generation
    except ValueError:
        return 0
