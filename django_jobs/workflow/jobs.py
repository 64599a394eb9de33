"""From a step of a workflow to its job, and to the record of its end if it has none."""

from __future__ import annotations

from functools import lru_cache

from django_jobs import clock
from django_jobs.calls import make_jobs
from django_jobs.canvas.records import Step
from django_jobs.conf import settings
from django_jobs.envelope import Job
from django_jobs.exceptions import JobRevoked, UpstreamFailed
from django_jobs.execution import error_of
from django_jobs.options import TaskOptions, resolve
from django_jobs.outcome import Error
from django_jobs.registry import registry
from django_jobs.results.base import Record
from django_jobs.results.redaction import shown_arguments
from django_jobs.results.workflows import Head, KeptStep
from django_jobs.states import State


def options_of(task: str) -> TaskOptions:
    """Return the options in force for a task, whether or not it is known here."""
    known = registry.get(task)
    return resolve(task, {}, settings.top["TASKS"]) if known is None else known.options


def job_of(step: KeptStep | Step, head: Head, *, source: str | None, parent_id: str | None) -> Job:
    """
    Return the job of a step that starts now. Raises what wrong options of the call raise, and DecodeError.

    ``source``: what it gets before its own arguments; see ``Job.source``.
    """
    signature = step.signature
    call = {**signature.options, "job_id": step.id}
    (job,) = make_jobs(
        signature.task, options_of(signature.task), [(signature.args, dict(signature.kwargs))], call
    )  # fmt: skip
    return job.evolve(
        headers={**head.headers, **job.headers} if head.headers else job.headers,
        workflow_id=step.workflow_id,
        source=source,
        root_id=head.root_id,
        parent_id=parent_id,
    )


def record_of_unsent(
    step: KeptStep | Step, head: Head, error: Error, *, state: State, job: Job | None = None
) -> Record:
    """Return the record of a step that ends without having run. ``job``: as far as one could be made of it."""
    now_ms = clock.now_ms()
    name = task_of(step)
    options = options_of(name)
    args, kwargs = ("[]", "{}") if job is None else shown_arguments(job, options.sensitive)
    kept_ms = settings.results_ms("EXPIRES" if state is State.REVOKED else "FAILURES_EXPIRE")
    return Record(
        id=step.id,
        task=name,
        queue=options.queue if job is None else job.queue,
        state=state.value,
        args=args,
        kwargs=kwargs,
        exception_type=error.type,
        exception=error.text,
        traceback=error.traceback,
        enqueued_ms=now_ms,
        finished_ms=now_ms,
        expires_ms=None if kept_ms is None else now_ms + kept_ms,
        root_id=head.root_id,
        parent_id=head.parent_id,
        workflow_id=step.workflow_id,
        message=None if job is None else job.encode().decode("ascii"),
    )


def task_of(step: KeptStep | Step) -> str:
    """Return the name of the task of a step."""
    return step.task if isinstance(step, KeptStep) else step.signature.task


@lru_cache(maxsize=64)
def never_ran(cause_task: str, cause_id: str) -> Error:
    """Return what is recorded of a step that follows one that failed."""
    return error_of(
        UpstreamFailed(f"It never ran: {cause_task}[{cause_id}], which comes before it, has not succeeded.")
    )


def was_revoked() -> Error:
    """Return what is recorded of a step that was revoked before it could start."""
    return error_of(JobRevoked("The step was revoked before it could start."))


def was_dropped() -> Error:
    """Return what is recorded of a step whose job no middleware let pass."""
    return error_of(JobRevoked("A middleware has not let the job of this step pass."))
