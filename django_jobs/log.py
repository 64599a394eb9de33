"""Log records that know their job: ``job_id``, ``job_task``, ``job_queue`` and ``job_attempt`` (1 for the first)."""

from __future__ import annotations

import logging

from django_jobs.context import current

FIELDS = ("job_id", "job_task", "job_queue", "job_attempt")


class JobContextFilter(logging.Filter):
    """
    Adds the running job to every record that passes; "" and 0 outside of one.

    Put it on a handler (a filter on a logger does not see the records of loggers below it). Workers put it on the
    handlers of the root logger, and of those named in LOGGING, by themselves.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the fields, and let the record pass."""
        if not hasattr(record, "job_id"):
            context = current.get()
            if context is None:
                record.job_id = record.job_task = record.job_queue = ""
                record.job_attempt = 0
            else:
                job = context.job
                record.job_id, record.job_task, record.job_queue = job.id, job.task, job.queue
                record.job_attempt = job.retries + 1
        return True


class _JobPrefix(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: object, kwargs: object) -> tuple[object, object]:  # type: ignore[override]
        context = current.get()
        if context is None:
            return msg, kwargs
        return f"{context.job.task}[{context.job.id}] {msg}", kwargs


def get_job_logger(name: str) -> logging.LoggerAdapter[logging.Logger]:
    """Return a logger whose lines begin with task and id of the running job."""
    return _JobPrefix(logging.getLogger(name), {})
