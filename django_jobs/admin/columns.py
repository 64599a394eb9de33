"""The columns of the lists of jobs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_jobs.admin import detail
from django_jobs.admin.presentation import EMPTY, HIDDEN, WHY_HIDDEN, duration, first_line, moment, status


def _with_zone(title: str) -> str:
    return f"{gettext(title)} ({timezone.get_current_timezone_name()})"


class JobColumns:
    """Mixed into the admin of a list of jobs."""

    @admin.display(description=_("state"))
    def status(self, job: Any) -> SafeString:
        """Return icon and word."""
        return status(job.state)

    @admin.display(description=_("task"))
    def task_name(self, job: Any) -> SafeString:
        """Return the last part of the task's name; all of it is the title."""
        return format_html('<span class="dj-task" title="{}">{}</span>', job.task, job.task.rpartition(".")[2])

    @admin.display(description=_("queue"))
    def queue_name(self, job: Any) -> str:
        """Return the queue."""
        return str(job.queue)

    @admin.display(description=_("attempt"))
    def attempt(self, job: Any) -> str:
        """Return the number of the attempt."""
        return detail.attempt_text(job)

    @admin.display(description=lazy(_with_zone, str)("enqueued"))
    def enqueued(self, job: Any) -> SafeString | str:
        """Return when it was sent."""
        return moment(job.enqueued_at, short=True)

    @admin.display(description=_("wait"))
    def wait(self, job: Any) -> str:
        """Return how long it waited for a worker."""
        return duration(detail.waited(job))

    @admin.display(description=_("duration"))
    def run_time(self, job: Any) -> str:
        """Return how long it ran."""
        return duration(detail.ran(job))

    @admin.display(description=_("worker"))
    def worker_name(self, job: Any) -> SafeString | str:
        """Return which process ran it."""
        if not job.worker:
            return EMPTY
        return format_html('<span class="dj-worker" title="{}">{}</span>', job.worker, job.worker)

    @admin.display(description=_("error"))
    def error(self, job: Any) -> SafeString | str:
        """Return the first line of the error; the title has more, the job's page all of it."""
        return self._error(job, first_line(job.exception_start, 200), job.exception_start)

    @admin.display(description=_("error"))
    def error_type(self, job: Any) -> SafeString | str:
        """Return the error for somebody who may not read messages."""
        return self._error(job, str(HIDDEN), str(WHY_HIDDEN))

    def _error(self, job: Any, text: str, more: str) -> SafeString | str:
        if not job.exception_type:
            return EMPTY
        name = job.exception_type.rpartition(".")[2]
        title = f"{job.exception_type}: {more}"
        return format_html('<span class="dj-error" title="{}"><b>{}</b> {}</span>', title, name, text)
