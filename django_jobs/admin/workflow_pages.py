"""The page of one workflow, and what is done to it there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jobs import operations
from django_jobs.admin import bulk
from django_jobs.admin import workflow_operating as operating
from django_jobs.admin import workflow_words as words
from django_jobs.admin.record_page import RecordPage
from django_jobs.admin.workflow_folding import drawing_of
from django_jobs.admin.workflow_graph import Follows, Node
from django_jobs.admin.workflow_permissions import WorkflowPermissions
from django_jobs.admin.workflow_reading import Reading
from django_jobs.admin.workflow_steps import StepLine, lines_of
from django_jobs.admin.workflow_svg import Links, draw
from django_jobs.conf import settings
from django_jobs.exceptions import JobsError
from django_jobs.models import JobResult, Workflow

#: Rows of the table below the graph.
STEPS_PER_PAGE = 100
PAGE_VAR = "p"


class WorkflowPages(WorkflowPermissions, RecordPage):
    """The detail page of workflows."""

    record_template = "admin/django_jobs/workflow_detail.html"
    record_operations = operating.OPERATIONS

    def _do(self, request: HttpRequest, workflow: Workflow, operation: bulk.Operation) -> HttpResponse:
        try:
            text, done = _done(request, workflow, operation)
        except JobsError as error:
            self.message_user(
                request, _("Stopped: %(error)s Do it again when that is mended.") % {"error": error}, messages.ERROR
            )
        else:
            if done:
                self._log(request, operation, 1, job=workflow, what=text)
            self.message_user(request, text, messages.SUCCESS if done else messages.WARNING)
        return HttpResponseRedirect(self.url_of("change", workflow.pk))

    def _not_here(self, request: HttpRequest, record_id: str) -> HttpResponse:
        text = _("There is no workflow %(id)s; it may have been removed, because its time was over.")
        self.message_user(request, text % {"id": record_id}, messages.WARNING)
        return HttpResponseRedirect(self.url_of("changelist"))

    def _context(self, request: HttpRequest, workflow: Workflow) -> dict[str, Any]:
        reading, links = Reading(settings.database, str(workflow.pk)), self.links(request, str(workflow.pk))
        records = reading.records(workflow.size)
        drawing = drawing_of(records)
        return {
            "title": words.short_name(workflow.name),
            "workflow": workflow,
            "look": words.look_of_workflow(workflow),
            "took": words.took(workflow),
            "progress": words.progress_bar(workflow),
            "graph": None if drawing is None or not drawing[0] else draw(drawing, links),
            "roles": set() if drawing is None else _roles(drawing[0].values()),
            "left_out": records.left_out,
            "parent": self._job(workflow.parent_id, links.job),
            # Of one that no job has sent, the root is its own first step.
            "root": self._job(workflow.root_id, links.job)
            if workflow.parent_id not in (None, workflow.root_id)
            else None,
            "jobs_url": links.jobs("", ""),
            "failed_url": links.jobs("", "FAILURE") if workflow.failed else "",
            "can_revoke": self.has_revoke_permission(request) and workflow.finished_at is None,
            "can_retry": self.has_retry_permission(request) and workflow.failed > 0,
            **self._page(request, reading, links),
        }

    def _page(self, request: HttpRequest, reading: Reading, links: Links) -> dict[str, Any]:
        """Return a page of the table, and the addresses of its neighbours."""
        text = request.GET.get(PAGE_VAR, "")
        page = int(text) if text.isdecimal() and len(text) < 6 else 0
        rows = reading.page(page * STEPS_PER_PAGE, STEPS_PER_PAGE + 1)
        lines: list[StepLine] = lines_of(rows[:STEPS_PER_PAGE], reading, links)
        return {
            "lines": lines,
            "first": page * STEPS_PER_PAGE + 1,
            "last": page * STEPS_PER_PAGE + len(lines),
            "previous": f"?{PAGE_VAR}={page - 1}#dj-steps" if page else "",
            "next": f"?{PAGE_VAR}={page + 1}#dj-steps" if len(rows) > STEPS_PER_PAGE else "",
        }

    def _job(self, pk: UUID | None, url_of: Callable[[str], str]) -> dict[str, Any] | None:
        if pk is None:
            return None
        task = JobResult.objects.using(settings.database).filter(pk=pk).values_list("task", flat=True).first()
        return {"pk": pk, "task": task, "url": url_of(str(pk)) if task is not None else ""}


def _done(request: HttpRequest, workflow: Workflow, operation: bulk.Operation) -> tuple[str, int]:
    """Do it. Return what has come of it, and to how many steps."""
    key = str(workflow.pk)
    if operation is operating.RETRY:
        done = operations.retry_workflow(key, by=request.user.get_username()).done
        text = ngettext(
            "%(n)d step was sent again, or waits again.", "%(n)d steps were sent again, or wait again.", done
        )
    else:
        done = operations.revoke_workflow(key, terminate="terminate" in request.POST).done
        text = ngettext("%(n)d step was stopped, or asked to.", "%(n)d steps were stopped, or asked to.", done)
    return (text % {"n": done} if done else _("There was nothing to do. Nothing was changed.")), done


def _roles(nodes: Iterable[Node]) -> set[str]:
    """Return what is in a graph beside the work itself."""
    names = {Follows.ERROR: "error", Follows.CALLBACK: "callback"}
    return {names[node.role] for node in nodes if node.role is not None}
