"""Jobs that the tests of the testing kit send."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction

from django_jobs import Ignore, Reject, Retry, Snooze, job
from django_jobs.context import JobContext

#: What the jobs have done, in order; a fixture empties it.
done: list[Any] = []


@job
def note(word: Any) -> Any:
    done.append(word)
    return word


@job(queue="mail", priority=5)
def mail(to: str, *, subject: str = "hello", **more: Any) -> str:
    done.append(to)
    return f"{to}: {subject}"


@job(aliases=["tests.old_name"])
def renamed() -> None: ...


@job
async def anote(word: str) -> str:
    done.append(word)
    return word.upper()


@job
async def asends(word: str) -> str:
    await note.adelay(word)
    return word


@job
def chained(left: int) -> None:
    """Send itself, until nothing is left."""
    done.append(left)
    if left:
        chained.delay(left - 1)


@job
def forever() -> None:
    forever.apply_async(countdown=60)


@job
def fails(text: str = "no luck") -> None:
    raise ValueError(text)


@job(throws=(LookupError,))
def fails_as_planned() -> None:
    raise LookupError("nothing there")


@job
def exits() -> None:
    raise SystemExit(3)


@job(bind=True, autoretry_for=(ConnectionError,), max_retries=3, retry_backoff=10, retry_jitter=False)
def flaky(self: JobContext, failures: int) -> int:
    done.append(self.request.retries)
    if self.request.retries < failures:
        raise ConnectionError(f"attempt {self.request.retries + 1}")
    return int(self.request.retries)


@job(bind=True, max_retries=None)
def never_gives_up(self: JobContext) -> None:
    raise Retry(1)


@job
def snoozes() -> str:
    done.append("asked")
    if len(done) < 3:
        raise Snooze(60)
    return "awake"


@job
def ends(how: str) -> None:
    if how == "ignore":
        raise Ignore
    raise Reject("not mine")


@job(bind=True)
def reports(self: JobContext) -> list[Any]:
    self.progress(1, 2, "half")
    (handle,) = done
    return [handle.state, handle.info]


@job
def makes_group(name: str, *, then: str = "") -> int:
    """Write a row, and then fail in one way or another."""
    group = Group.objects.create(name=name)
    if then == "duplicate":
        Group.objects.create(name=name)
    if then == "raw":
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")
    if then == "error":
        raise ValueError(name)
    if then == "durable":
        with transaction.atomic(durable=True):
            Group.objects.create(name=f"{name} 2")
    return int(group.pk)


@job
def takes_group(group: Group, at: datetime) -> str:
    return f"{group.name} {at:%H}"


def order(name: str, *, fail: bool = False) -> None:
    """What a view does: write, and send a job, in a transaction."""
    with transaction.atomic():
        Group.objects.create(name=name)
        note.delay(name)
        if fail:
            raise ValueError(name)
