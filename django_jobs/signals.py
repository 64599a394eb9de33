"""
What happens, as Django signals. Sender: the task (None when it is not known here), or the class of the worker; sent
with ``send_robust``: a receiver that raises is logged, and nothing else.

Sent in the process where it happens: ``job_enqueued`` in the caller's, ``job_revoked`` in that of whoever revokes a
waiting job, the others in the worker's.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

#: kwargs: job. After the broker (or the outbox) has it, and after the commit of the transaction that it is a part of.
job_enqueued = Signal()
#: kwargs: job. Before the function is called.
job_started = Signal()
#: kwargs: job, duration (seconds). After the result is recorded.
job_succeeded = Signal()
#: kwargs: job, exception, error (its words). After the failure is recorded.
job_failed = Signal()
#: kwargs: job (the attempt that failed), exception, error, delay (seconds).
job_retry_scheduled = Signal()
#: kwargs: job, reason.
job_revoked = Signal()
#: kwargs: job, outcome. After any end, also the ignored ones.
job_finished = Signal()
#: kwargs: worker (its name). In the supervisor: before it forks; when all its processes have started; when it stops.
worker_started = Signal()
worker_ready = Signal()
worker_stopping = Signal()
#: kwargs: worker, pid, exitcode, job_ids (running when it died). In the supervisor.
worker_lost = Signal()
#: kwargs: worker. In a process that runs jobs, right after it has started, and before it ends.
worker_process_started = Signal()
worker_process_stopping = Signal()

#: kwargs: periodic_task (the row), run (a PeriodicRun: what became of one moment). After the commit, in the process of
#: beat, or of whoever runs it by hand.
periodic_task_fired = Signal()
#: kwargs: periodic_task, due, lateness (a timedelta above BEAT["LATE"]). In the process of beat.
beat_late = Signal()

#: kwargs: broker (its location, without credentials), relayed (how many jobs of the outbox are handed over again).
#: Sender: the class of the broker. In the worker's process that finds it out first.
broker_lost_continuity = Signal()


def send(signal: Signal, sender: Any, **kwargs: Any) -> None:
    """Send a signal, if anybody listens. What its receivers raise, Django logs (``django.dispatch``)."""
    if signal.receivers:
        signal.send_robust(sender, **kwargs)
