"""Our tables."""

from __future__ import annotations

from django_jobs.models.continuity import BrokerContinuity
from django_jobs.models.outbox import OutboxJob
from django_jobs.models.periodic import PeriodicRun, PeriodicTask
from django_jobs.models.queue import ConsumerLease, KnownQueue, QueuedJob
from django_jobs.models.result import FailedJob, JobResult
from django_jobs.models.worker import WorkerStanding
from django_jobs.models.workflow import (
    Workflow,
    WorkflowBarrier,
    WorkflowMember,
    WorkflowScope,
    WorkflowStep,
)

__all__ = [
    "BrokerContinuity",
    "ConsumerLease",
    "FailedJob",
    "JobResult",
    "KnownQueue",
    "OutboxJob",
    "PeriodicRun",
    "PeriodicTask",
    "QueuedJob",
    "WorkerStanding",
    "Workflow",
    "WorkflowBarrier",
    "WorkflowMember",
    "WorkflowScope",
    "WorkflowStep",
]
