"""Has a job ended? Asked in the transaction that fires the next one, of the database alone: a broker may be away."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobs.brokers import get_broker
from django_jobs.models.queue import DEAD, QueuedJob
from django_jobs.results import get_store
from django_jobs.states import TERMINAL_STATES


def unfinished(alias: str, job_ids: Sequence[str]) -> set[str]:
    """
    Return those of these jobs that have not ended.

    A job that was sent through the outbox is there until it has ended, and one of a broker in this database is in its
    table; both go in the transaction that records the end.
    """
    if not job_ids:
        return set()
    broker, store = get_broker(), get_store()
    found = set() if store.outbox is None else set(store.outbox.get_many(job_ids))
    if broker.joins_transaction(alias):
        waiting = QueuedJob.objects.using(alias).filter(pk__in=job_ids).exclude(state=DEAD)
        found.update(str(pk) for pk in waiting.values_list("pk", flat=True))
    elif not broker.is_shared:  # that of the testing kit: it is here, and cannot be away
        ended = {job_id for job_id, how in store.settled(job_ids).items() if how.state in TERMINAL_STATES}
        found.update(job_id for job_id in job_ids if job_id not in ended and broker.find(job_id) is not None)
    return found
