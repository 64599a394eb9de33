"""What is said when something has happened to a job: signals for the project, log lines for the operator."""

from __future__ import annotations

import logging

from django_jobs import signals
from django_jobs.envelope import Job
from django_jobs.exceptions import JobFailed
from django_jobs.outcome import (
    Error,
    Failed,
    Rejected,
    Replaced,
    Retried,
    Revoked,
    Snoozed,
    Succeeded,
    Superseded,
    Undeliverable,
    Unsettled,
)
from django_jobs.registry import RegisteredTask, registry
from django_jobs.worker.slots import Finished

logger = logging.getLogger("django_jobs.worker")

#: A result longer than this is cut in the log.
_RESULT_SHOWN = 100


def started(task: RegisteredTask, job: Job) -> None:
    """Say that a job starts; called right before its function, in its thread."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s[%s] received", job.task, job.id, extra=_fields(job))
    signals.send(signals.job_started, task, job=job)


def finished(end: Finished) -> None:
    """Say how a job ended; called after it was recorded."""
    job, outcome = end.job, end.outcome
    if job is None:
        logger.error("A message in %r could not be read: %s", end.claimed.queue, getattr(outcome, "error", outcome))
        return
    task = registry.get(job.task)
    seconds = (end.finished_ms - end.started_ms) / 1000
    if isinstance(outcome, Succeeded):
        if logger.isEnabledFor(logging.INFO):
            logger.info(
                "%s[%s] succeeded in %.3f s: %s", job.task, job.id, seconds, _shown(outcome), extra=_fields(job)
            )
        signals.send(signals.job_succeeded, task, job=job, duration=seconds)
    elif isinstance(outcome, Failed | Rejected):
        _failed(job, outcome.error, seconds)
        exception = outcome.exception if isinstance(outcome, Failed) else None
        signals.send(
            signals.job_failed, task, job=job, error=outcome.error, exception=exception or JobFailed(outcome.error.text)
        )
    elif isinstance(outcome, Retried):
        _retried(task, job, outcome)
    elif isinstance(outcome, Revoked):
        logger.warning("%s[%s] revoked: %s", job.task, job.id, outcome.error.text, extra=_fields(job))
        signals.send(signals.job_revoked, task, job=job, reason=outcome.error.text)
    elif isinstance(outcome, Undeliverable):
        logger.error("%s[%s] cannot run here: %s", job.task, job.id, outcome.error.text, extra=_fields(job))
    elif isinstance(outcome, Superseded):
        logger.warning("%s[%s] has ended elsewhere: what it did here was undone", job.task, job.id, extra=_fields(job))
    elif isinstance(outcome, Unsettled):
        logger.error("%s[%s] goes back to its queue: %s", job.task, job.id, outcome.error.text, extra=_fields(job))
    elif isinstance(outcome, Snoozed):
        logger.info("%s[%s] snoozed for %.1f s", job.task, job.id, outcome.delay, extra=_fields(job))
    elif isinstance(outcome, Replaced):
        logger.info("%s[%s] is replaced by %r", job.task, job.id, outcome.expression, extra=_fields(job))
    if not isinstance(outcome, Retried | Snoozed | Undeliverable | Superseded | Unsettled):
        signals.send(signals.job_finished, task, job=job, outcome=outcome)


def _failed(job: Job, error: Error, seconds: float) -> None:
    traceback = "" if error.expected or not error.traceback else f"\n{error.traceback.rstrip()}"
    logger.log(
        logging.INFO if error.expected else logging.ERROR,
        "%s[%s] failed after %.3f s: %s: %s%s",
        job.task, job.id, seconds, error.type, error.text, traceback, extra=_fields(job),
    )  # fmt: skip


def _retried(task: RegisteredTask | None, job: Job, outcome: Retried) -> None:
    error, exception, delay = outcome.error, outcome.exception, outcome.delay
    logger.warning(
        "%s[%s] failed and runs again in %.1f s: %s: %s",
        job.task, job.id, delay, error.type, error.text, extra=_fields(job),
    )  # fmt: skip
    signals.send(signals.job_retry_scheduled, task, job=job, error=error, exception=exception, delay=delay)


def _shown(outcome: Succeeded) -> str:
    if outcome.result is None:
        return "(ignored)"
    text = outcome.result[: _RESULT_SHOWN + 1].decode("ascii")
    return text if len(text) <= _RESULT_SHOWN else f"{text[:_RESULT_SHOWN]}..."


def _fields(job: Job) -> dict[str, object]:
    return {"job_id": job.id, "job_task": job.task, "job_queue": job.queue, "job_attempt": job.retries + 1}
