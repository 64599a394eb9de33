"""What operators do to workflows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from django_jobs import operations
from django_jobs.admin.bulk import Operation
from django_jobs.admin.workflow_words import FAILED, REVOKED, RUNNING
from django_jobs.operations import Summary


def _each(ids: Sequence[str], act: Callable[[str], Summary]) -> tuple[int, int]:
    """Do it to one after the other. Return in how many something was done, and in how many nothing."""
    done = sum(act(one).done > 0 for one in ids)
    return done, len(ids) - done


def _revoke(ids: Sequence[str], by: str) -> tuple[int, int]:
    return _each(ids, operations.revoke_workflow)


def _retry(ids: Sequence[str], by: str) -> tuple[int, int]:
    return _each(ids, lambda one: operations.retry_workflow(one, by=by))


REVOKE = Operation(
    name="revoke",
    permission="revoke",
    states=frozenset({RUNNING}),
    sweeps=frozenset({RUNNING}),
    apply=_revoke,
    verb=_("Revoke"),
    done=ngettext_lazy("%d workflow was revoked.", "%d workflows were revoked."),
    meaning=_("None of their steps starts any more, and those that run are asked to stop. What has ended stays."),
    chunk=1,
)
RETRY = Operation(
    name="retry",
    permission="retry",
    states=frozenset({FAILED, REVOKED}),
    # Not what somebody revoked.
    sweeps=frozenset({FAILED}),
    apply=_retry,
    verb=_("Retry failed steps of"),
    done=ngettext_lazy("Failed steps of %d workflow were sent again.", "Failed steps of %d workflows were sent again."),
    meaning=_("What has failed or was revoked runs again, and what never ran because of it waits again."),
    chunk=1,
)
OPERATIONS = {operation.name: operation for operation in (REVOKE, RETRY)}
