"""What the pages do when an operator asks for something: do it, write down who did, say what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobs.admin import bulk
from django_jobs.admin.permissions import JobPermissions


class JobOperations(JobPermissions):
    """Mixed into the pages of jobs."""

    def _operate(
        self,
        request: HttpRequest,
        operation: bulk.Operation,
        rows: QuerySet[Any],
        *,
        job: Model | None = None,
        what: str = "",
    ) -> bulk.Tally:
        """Do it, write down who did, and say what came of it."""
        tally = bulk.run(operation, rows, by=request.user.get_username())
        if tally.done:
            self._log(request, operation, tally.done, job=job, what=what)
        for text, level in _report(operation, tally):
            self.message_user(request, text, level)
        return tally

    def _log(self, request: HttpRequest, operation: bulk.Operation, done: int, *, job: Model | None, what: str) -> None:
        assert request.user.pk is not None  # the admin lets nobody else in
        text = operation.done % done
        name = self.opts.verbose_name if done == 1 else self.opts.verbose_name_plural
        LogEntry.objects.create(
            user_id=request.user.pk,
            content_type_id=get_content_type_for_model(self.model).pk,
            object_id=None if job is None else str(job.pk),
            object_repr=(str(job) if job is not None else f"{done} {name}")[:200],
            action_flag=operation.log_flag,
            change_message=f"{text} ({what})" if what else text,
        )


def _report(operation: bulk.Operation, tally: bulk.Tally) -> Iterator[tuple[str, int]]:
    """Say what came of it, in one sentence for each thing that is worth one."""
    if tally.done:
        yield operation.done % tally.done, messages.SUCCESS
    if tally.skipped:
        text = ngettext(
            "%(n)d skipped: it was not in a state for it any more, or cannot be sent again.",
            "%(n)d skipped: they were not in a state for it any more, or cannot be sent again.",
            tally.skipped,
        )
        yield text % {"n": tally.skipped}, messages.WARNING
    if tally.error is not None:
        text = _("Stopped: %(error)s Not done, and as they were: %(left)s. Do it again when that is mended.")
        yield text % {"error": tally.error, "left": tally.left}, messages.ERROR
    elif tally.left.number:
        text = _("Not reached, because the time of one request was over: %(left)s. Do it again to go on.")
        yield text % {"left": tally.left}, messages.WARNING
    elif not tally.done and not tally.skipped:
        yield _("None of these is in a state for it. Nothing was changed."), messages.WARNING
