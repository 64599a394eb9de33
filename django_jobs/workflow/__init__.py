"""Workflows that are under way: what follows an end, and everything that is done to a canvas once it was sent."""

from __future__ import annotations

from django_jobs.workflow.recording import NotReplaceable, concerns, in_transaction, record, record_replaced
from django_jobs.workflow.reopening import reopen
from django_jobs.workflow.revoking import close, revoke_waiting
from django_jobs.workflow.starting import start, workflows_of

__all__ = [
    "NotReplaceable", "close", "concerns", "in_transaction", "record", "record_replaced", "reopen", "revoke_waiting",
    "start", "workflows_of",
]  # fmt: skip
