"""Rows as workers leave them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client

from django_jobs import clock
from django_jobs.envelope import Job
from django_jobs.identifiers import new_id
from django_jobs.models import JobResult
from django_jobs.states import State
from tests.admin import tasks

TASK = tasks.send_receipt.name
EVIL = "<script>alert(1)</script>"


def make_result(state: State | str = State.SUCCESS, *, age: float = 60, save: bool = True, **values: Any) -> JobResult:
    """Make the row of a job that was sent ``age`` seconds ago, waited two and ran three."""
    sent = clock.now() - timedelta(seconds=age)
    started = state in {State.SUCCESS, State.FAILURE, State.STARTED, State.RETRY}
    fields: dict[str, Any] = {
        "id": new_id(),
        "task": TASK,
        "queue": "mail",
        "state": str(state),
        "args": "[7]",
        "worker": "web-1:4121" if started else "",
        "fence": 1,
        "enqueued_at": sent,
        "started_at": sent + timedelta(seconds=2) if started else None,
        "finished_at": sent + timedelta(seconds=5) if state in {State.SUCCESS, State.FAILURE} else None,
    } | values
    result = JobResult(**fields)
    if save:
        result.save(force_insert=True)
    return result


def make_failure(**values: Any) -> JobResult:
    """Make the row of a job that failed and can be retried."""
    given: dict[str, Any] = {"id": new_id(), "task": TASK, "queue": "mail"} | values
    job = Job(id=given["id"], task=given["task"], queue=given["queue"], packed_args=[7], enqueued_ms=clock.now_ms())
    failure = {
        "exception_type": "builtins.ValueError",
        "exception": f"no such order {EVIL}\nsecond line",
        "traceback": f"Traceback (most recent call last):\n  {EVIL}\nValueError: no such order",
        "message": job.encode().decode(),
    }
    return make_result(State.FAILURE, **(failure | given))


def make_history(*texts: str) -> str:
    """Make the lines that earlier attempts leave."""
    now = clock.now_ms()
    return "".join(
        json.dumps(
            {
                "attempt": number,
                "state": "RETRY",
                "exception_type": "builtins.ConnectionError",
                "exception": text,
                "traceback": f"Traceback of {text}",
                "worker": "web-9:1",
                "started_ms": now - 10_000,
                "finished_ms": now - 7_500,
            }
        )
        + "\n"
        for number, text in enumerate(texts, 1)
    )


def client_with(*codenames: str) -> Client:
    """Log in somebody with these permissions and no others."""
    user = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
    permissions = Permission.objects.filter(content_type__app_label="django_jobs", codename__in=codenames)
    assert {permission.codename for permission in permissions} == set(codenames)
    user.user_permissions.set(permissions)
    client = Client()
    client.force_login(user)
    return client
