"""What middleware says of the sender reaches every step of a workflow."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

import pytest
from django.conf import settings
from django.test import override_settings

from django_jobs import chain, chord, current_job, job
from django_jobs.envelope import Job
from django_jobs.middleware import Middleware
from tests.workflow.conftest import Stage, sent

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Tenant(Middleware):
    """What the guide recommends."""

    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        call_next(job.evolve(headers={"tenant": tenant.get(), **job.headers}))


@job(name="tests.workflow.headers")
def headers(*args: object, **kwargs: object) -> dict[str, str]:
    return dict(current_job().request.headers)


@pytest.fixture(autouse=True)
def _tenants(stage: Stage) -> object:
    given = {**getattr(settings, "DJANGO_JOBS", {}), "MIDDLEWARE": [f"{__name__}.Tenant"]}
    with override_settings(DJANGO_JOBS=given):
        yield


def test_every_step_has_them(stage: Stage):
    token = tenant.set("seven")
    try:
        body = headers.si().set(headers={"mine": "1"})
        last = sent(chain(chord([headers.si(), headers.si()], body), headers.si()))
    finally:
        tenant.reset(token)
    stage.work()
    assert last.parent.parent.get(timeout=0) == [{"tenant": "seven"}] * 2
    assert last.parent.get(timeout=0) == {"tenant": "seven", "mine": "1"}
    assert last.get(timeout=0) == {"tenant": "seven"}


def test_what_a_step_says_itself_wins(stage: Stage):
    token = tenant.set("seven")
    try:
        last = sent(chain(headers.si().stamp(tenant="eight"), headers.si().stamp(tenant="nine")))
    finally:
        tenant.reset(token)
    stage.work()
    assert last.parent.get(timeout=0) == {"tenant": "eight"}
    assert last.get(timeout=0) == {"tenant": "nine"}
