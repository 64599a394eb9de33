"""What middleware says of the sender reaches every step of a workflow."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from django_jobs import chain, chord, current_job, job
from django_jobs.context import JobContext
from django_jobs.envelope import Job
from django_jobs.middleware import Middleware
from tests.workflow.conftest import Stage, sent

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Tenant(Middleware):
    """What the guide recommends."""

    def enqueue(self, job: Job, call_next: Callable[[Job], None]) -> None:
        call_next(job.evolve(headers={"tenant": tenant.get(), **job.headers}))


seen: list[dict[str, str]] = []


@job(name="tests.workflow.headers")
def headers(*args: object, **kwargs: object) -> dict[str, str]:
    seen.append(dict(current_job().request.headers))
    return seen[-1]


@job(bind=True, name="tests.workflow.makes_room_for_headers")
def makes_room(self: JobContext) -> None:
    self.replace(chain(headers.si(), chord([headers.si().stamp(mine="2")], headers.s())))


@job(bind=True, atomic=True, name="tests.workflow.makes_room_for_headers_atomically")
def atomically(self: JobContext) -> None:
    self.replace(chain(headers.si(), chord([headers.si().stamp(mine="2")], headers.s())))


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


@pytest.mark.parametrize("replaced", [makes_room, atomically], ids=["job", "atomic job"])
def test_what_takes_the_place_of_a_job_has_those_of_the_job(stage: Stage, replaced: Any):
    seen.clear()
    token = tenant.set("seven")
    try:
        handle = replaced.apply_async(headers={"mine": "1"})
    finally:
        tenant.reset(token)
    stage.work()
    assert handle.get(timeout=0) == {"tenant": "seven", "mine": "1"}
    assert [one["tenant"] for one in seen] == ["seven"] * 3
    assert [one["mine"] for one in seen] == ["1", "2", "1"]
