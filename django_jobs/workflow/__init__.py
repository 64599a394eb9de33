"""Workflows that are under way: what follows an end, and everything that is done to a canvas once it was sent."""

from __future__ import annotations

from django_jobs.workflow.recording import concerns, record
from django_jobs.workflow.reopening import reopen
from django_jobs.workflow.revoking import close, revoke_waiting
from django_jobs.workflow.starting import start, workflows_of

__all__ = ["close", "concerns", "record", "reopen", "revoke_waiting", "start", "workflows_of"]
