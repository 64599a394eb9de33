"""Jobs that tests send to real workers: each does one thing that a job may do, good or bad."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone, translation

from django_jobs import (
    Ignore,
    Reject,
    Retry,
    Snooze,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    current_job,
    job,
)
from django_jobs.context import JobContext
from django_jobs.worker import slots
from django_jobs.worker.orm_thread import OrmThread


def note(path: str, *words: object) -> None:
    """Append a line to a ledger in one write: whoever dies after it has been seen."""
    line = " ".join(str(word) for word in words) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, line.encode())
    os.close(descriptor)


@job
def add(a: int, b: int) -> int:
    return a + b


@job(ignore_result=True)
def nothing(number: int = 0) -> None:
    return None


@job
def echo(value: Any) -> Any:
    return value


@job
def written(path: str, word: str) -> str:
    note(path, word, os.getpid())
    return word


@job
def slow(path: str, word: str, seconds: float) -> str:
    """Say that it runs, take its time, say that it is done."""
    note(path, "start", word, os.getpid())
    time.sleep(seconds)
    note(path, "end", word, os.getpid())
    return word


@job
def held(path: str, gate: str) -> str:
    """Run until a file appears."""
    note(path, "start", current_job().id, os.getpid())
    while not Path(gate).exists():
        time.sleep(0.01)
    note(path, "end", current_job().id, os.getpid())
    return "released"


@job
async def aslow(path: str, word: str, seconds: float) -> str:
    note(path, "start", word)
    await asyncio.sleep(seconds)
    note(path, "end", word)
    return word


@job
async def uses_orm() -> bool:
    """Ask the database, and say whether a connection was open already."""
    was_open = await sync_to_async(lambda: connection.connection is not None)()
    await User.objects.acount()
    return was_open


@job(sensitive=["password"])
def fails(text: str = "no luck", password: str = "") -> None:
    raise ValueError(text)


@job(bind=True, autoretry_for=(ConnectionError,), max_retries=5, retry_backoff=0.01, retry_jitter=False)
def flaky(self: JobContext, failures: int) -> int:
    """Fail this many times, then say in which attempt it worked."""
    if self.request.retries < failures:
        raise ConnectionError(f"attempt {self.request.retries + 1}")
    return int(self.request.retries)


@job(bind=True, max_retries=2)
def asks_again(self: JobContext, countdown: float) -> None:
    self.retry(exc=RuntimeError("still not"), countdown=countdown)


@job
def raises(kind: str) -> None:
    """Raise what a job should not."""
    if kind == "exit":
        raise SystemExit(3)
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "recursive":
        raises_forever()
    if kind == "unprintable":
        raise UnprintableError
    if kind == "ignore":
        raise Ignore
    if kind == "reject":
        raise Reject("not mine")
    if kind == "retry":
        raise Retry(0.01)


class UnprintableError(Exception):
    def __init__(self) -> None:
        self.lock = Path(os.devnull).open()  # noqa: SIM115 - cannot be pickled, which must not matter

    def __str__(self) -> str:
        raise RuntimeError("nothing to say")


def raises_forever() -> None:
    raises_forever()


@job
def snoozes(path: str) -> str:
    note(path, "run")
    if Path(path).read_text().count("run") < 3:
        raise Snooze(0.05)
    return "awake"


@job
def breaks_its_worker(path: str) -> None:
    """Make what the worker itself does after a job fail in this process."""
    note(path, "start", os.getpid())

    def broken() -> None:
        raise RuntimeError("broken on purpose")

    slots.end_request = broken  # type: ignore[attr-defined]


@job
async def breaks_its_loop(path: str) -> None:
    """The same on the event loop."""
    note(path, "start", os.getpid())

    def broken(self: OrmThread, *, alone: bool) -> None:
        raise RuntimeError("broken on purpose")

    OrmThread.job_ended = broken  # type: ignore[method-assign]


@job
def dies(path: str, how: str = "kill") -> None:
    """Take the process down."""
    note(path, "died", os.getpid())
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(9)


@job
def says(text: str) -> None:
    print(text)


@job(bind=True)
def counts(self: JobContext, gate: str) -> str:
    """Show progress, and wait to be let go."""
    self.progress(3, 10, "three of ten")
    while not Path(gate).exists():
        time.sleep(0.01)
    return "counted"


@job(track_started=True)
def tracked(gate: str) -> str:
    while not Path(gate).exists():
        time.sleep(0.01)
    return "tracked"


@job(ignore_result=True)
def stamp(path: str) -> None:
    """Write down the moment at which it runs."""
    note(path, time.monotonic())


# For what should not come out of a job


@job
def closes_its_streams(name: str) -> None:
    """Close what the worker logs to."""
    getattr(sys, name).close()


@job
def breaks_after_itself(path: str) -> str:
    """End well, and leave the process without the files that it needs."""
    note(path, "start", os.getpid())
    os.closerange(3, 200)
    return "well"


@job
async def exits_beside_itself(path: str) -> None:
    """Raise SystemExit in an asyncio task of its own."""
    note(path, "start", os.getpid())

    async def exits() -> None:
        sys.exit(1)

    await asyncio.gather(exits())


@job
async def stops_the_loop(path: str) -> None:
    note(path, "start", os.getpid())
    asyncio.get_running_loop().stop()
    await asyncio.sleep(60)


@job
def forks(path: str) -> int:
    """Come out of the job twice."""
    pid = os.fork()
    note(path, "parent" if pid else "child", os.getpid())
    return pid


@job
def activates() -> None:
    timezone.activate("Asia/Tokyo")
    translation.activate("ar")


@job
def tells_what_is_active() -> list[str | None]:
    return [timezone.get_current_timezone_name(), translation.get_language()]


# For time limits and revocation


@job
def loops(path: str, seconds: float) -> str:
    """Work in small steps; end in order when told to."""
    note(path, "start", os.getpid())
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            time.sleep(0.01)
    except SoftTimeLimitExceeded as error:
        return type(error).__name__
    finally:
        note(path, "cleaned", os.getpid())
    return "to the end"


@job
async def aloops(path: str, seconds: float) -> str:
    """The same on the event loop, in one long wait."""
    note(path, "start", os.getpid())
    try:
        await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded as error:
        return type(error).__name__
    finally:
        note(path, "cleaned", os.getpid())
    return "to the end"


@job
def stubborn(path: str, seconds: float) -> str:
    """Let nothing interrupt it."""
    note(path, "start", os.getpid())
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            time.sleep(0.01)
        except BaseException:
            continue
    return "to the end"


@job
def holds_the_interpreter(path: str) -> None:
    """Stay inside one C call that lets no other thread run, for minutes."""
    note(path, "start", os.getpid())
    sum(range(10**12))


@job(time_limit=1, autoretry_for=TimeLimitExceeded, max_retries=1, default_retry_delay=0)
def slow_at_first(path: str) -> str:
    """Take too long, but not the second time."""
    first = not Path(path).read_text()
    note(path, "start", os.getpid())
    if first:
        time.sleep(60)
    return "done"


@job(bind=True, autoretry_for=OSError, default_retry_delay=0)
def looks_up(self: JobContext, path: str, fails: bool = False) -> str:
    """Look from time to time whether somebody has revoked it."""
    note(path, "start", os.getpid())
    while not self.is_revoked:
        time.sleep(0.01)
    if fails:
        raise OSError("something else is wrong, too")
    return "stopped"


# For atomic=True


@job(atomic=True)
def adds_a_user(path: str, gate: str, name: str) -> str:
    """Change the database, and wait to be let go."""
    User.objects.create(username=f"{name}-{uuid4()}")
    note(path, "start", os.getpid())
    while not Path(gate).exists():
        time.sleep(0.01)
    return name


@job(atomic=True, autoretry_for=(ConnectionError,), max_retries=1, default_retry_delay=0.01)
def adds_a_user_and(what: str) -> str:
    """Change the database, send a job, and end like that."""
    User.objects.create(username=f"{what}-{uuid4()}")
    add.delay(1, 2)
    if what == "fails":
        raise ValueError("no luck")
    if what == "retries":
        raise ConnectionError("once more")
    if what == "snoozes":
        raise Snooze(600)
    if what == "returns much":
        return "x" * 2_000_000
    return what


from tests.workflow import actors as actors  # noqa: E402 - tasks of canvases, for workers in other processes
