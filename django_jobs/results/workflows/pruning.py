"""Deleting workflows whose time is over, a bounded number of rows at a time: one may have a hundred thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django_jobs import clock
from django_jobs.models.result import JobResult
from django_jobs.models.workflow import Workflow, WorkflowBarrier, WorkflowMember, WorkflowScope, WorkflowStep
from django_jobs.results.sql import batches

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper


def prune(cursor: CursorWrapper, using: str, limit: int) -> int:
    """Delete about ``limit`` rows, those of what is over the longest first. Return how many."""
    over = Workflow.objects.using(using).filter(expires_at__lte=clock.stamp()).order_by("expires_at")
    done = 0
    for workflow_id in over.values_list("pk", flat=True)[:limit]:
        if _lock(cursor, using, workflow_id):
            done += _delete(using, workflow_id, limit - done)
        if done >= limit:
            break
    return done


def _lock(cursor: CursorWrapper, using: str, workflow_id: UUID) -> bool:
    """
    Lock a workflow that is still over. False: it was retried meanwhile, or somebody is about to; it keeps its rows.
    """
    can_skip = cursor.db.features.has_select_for_update_skip_locked
    over = Workflow.objects.using(using).filter(pk=workflow_id, expires_at__lte=clock.stamp())
    return bool(over.select_for_update(skip_locked=can_skip).values_list("pk", flat=True))


def _delete(using: str, workflow_id: UUID, limit: int) -> int:
    """Delete rows of a workflow, and the workflow itself when that was all."""
    done = _delete_results(using, workflow_id, limit)
    if done >= limit:
        return done
    done += _delete_barriers(using, workflow_id, limit - done)
    if done >= limit:
        return done
    steps = WorkflowStep.objects.using(using).filter(workflow_id=workflow_id)
    keys = list(steps.values_list("pk", flat=True)[: limit - done])
    for some in batches(keys):
        done += WorkflowStep.objects.using(using).filter(pk__in=some)._raw_delete(using)
    if done >= limit:
        return done
    done += WorkflowScope.objects.using(using).filter(workflow_id=workflow_id)._raw_delete(using)
    return done + Workflow.objects.using(using).filter(pk=workflow_id)._raw_delete(using)


def _delete_results(using: str, workflow_id: UUID, limit: int) -> int:
    """Delete the results of its steps, but those that are to be kept for longer by themselves."""
    results = JobResult.objects.using(using).filter(workflow_id=workflow_id, expires_at__lte=clock.stamp())
    # FAILURE and REVOKED before SUCCESS: when a part is gone, nothing is left that could be sent again.
    keys = list(results.order_by("state").values_list("pk", flat=True)[:limit])
    return sum(JobResult.objects.using(using).filter(pk__in=some)._raw_delete(using) for some in batches(keys))


def _delete_barriers(using: str, workflow_id: UUID, limit: int) -> int:
    """Delete its barriers, and what was reported to them."""
    barriers = list(
        WorkflowBarrier.objects.using(using).filter(workflow_id=workflow_id).values_list("pk", flat=True)[:limit]
    )
    done = 0
    for barrier in barriers:
        members = WorkflowMember.objects.using(using).filter(barrier=barrier)
        last = members.order_by("position").values_list("position", flat=True)[limit - done : limit - done + 1]
        bound = next(iter(last), None)
        done += (members if bound is None else members.filter(position__lt=bound))._raw_delete(using)
        if done >= limit:
            return done
        done += WorkflowBarrier.objects.using(using).filter(pk=barrier)._raw_delete(using)
    return done
