"""
What a keeper notes down about jobs that were running when their process died: where, when and how.

The process that dies says nothing any more, and who runs the job next was not there. So the row of such a job says that
it waits again, and its history what has happened; should it be ended because it has crashed too often, whoever looks at
it finds every crash.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from django.db import connections

from django_jobs import clock
from django_jobs.brokers.base import BaseBroker, Found
from django_jobs.conf import settings
from django_jobs.envelope import decode
from django_jobs.exceptions import BrokerUnavailable, DecodeError, StoreUnavailable
from django_jobs.execution import fence_of, options_in_force
from django_jobs.registry import registry
from django_jobs.results.base import BaseStore, Record
from django_jobs.results.recording import event_line
from django_jobs.results.redaction import shown_arguments
from django_jobs.states import TERMINAL_STATES, State

logger = logging.getLogger("django_jobs.worker")

#: Jobs of one crash that are noted down, at most: those of a whole machine that is gone may be many.
MOST = 100
PATIENCE_SECONDS = 0.5


def note_crashes(
    broker: BaseBroker, store: BaseStore, ids: Sequence[str], *, where: str, seconds: float = PATIENCE_SECONDS
) -> None:
    """
    Note down that these jobs were running when their process died; ``where``: which one, and how it died.

    Only a note: a database that is slow must not keep leases from being renewed, so nobody waits for it longer than
    ``seconds``, and when it cannot be written that is logged.
    """
    thread = threading.Thread(
        target=_note, args=(broker, store, list(ids[:MOST]), where), name="django-jobs-crash-notes", daemon=True
    )
    thread.start()
    thread.join(seconds)


def _note(broker: BaseBroker, store: BaseStore, ids: Sequence[str], where: str) -> None:
    try:
        found = [one for job_id in ids if (one := broker.find(job_id)) is not None]
        rows = store.get_many([one.id for one in found])
        records = [
            record
            for one in found
            if (record := _noted(one, rows[one.id].record if one.id in rows else None, where)) is not None
        ]
        if records:
            store.record(records)
    except (BrokerUnavailable, StoreUnavailable) as error:
        logger.warning("The crash of %s could not be noted down with its jobs: %s", where, error)
    finally:
        connections.close_all()


def _noted(found: Found, row: Record | None, where: str) -> Record | None:
    """Return the row of a job that waits again; None: it has ended, or cannot be read."""
    line = event_line("crashed", by=where, at_ms=clock.now_ms())
    if row is not None:
        return None if row.state in TERMINAL_STATES else row._replace(state=State.PENDING.value, history=line)
    try:
        job = decode(found.body, job_id=found.id, queue=found.queue)
    except DecodeError:
        return None
    args, kwargs = shown_arguments(job, options_in_force(registry.get(job.task), job).sensitive)
    kept_ms = settings.results_ms("FAILURES_EXPIRE")
    return Record(
        id=job.id,
        task=job.task,
        queue=job.queue,
        state=State.PENDING.value,
        priority=job.priority,
        args=args,
        kwargs=kwargs,
        retries=job.retries,
        fence=fence_of(job, 0),
        enqueued_ms=job.enqueued_ms,
        eta_ms=job.eta_ms,
        expires_ms=None if kept_ms is None else clock.now_ms() + kept_ms,
        root_id=job.root_id,
        parent_id=job.parent_id,
        workflow_id=job.workflow_id,
        message=found.body.decode("ascii"),
        history=line,
    )
