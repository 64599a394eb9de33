"""The jobs that go through the faults. Each writes itself down before it does anything."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

from django.db import connection

from django_jobs import current_job, job
from django_jobs.options import OPTION_NAMES
from tests.chaos.ledger import RUNS, line_of
from tests.workflow import actors

#: Options that this version may not have yet.
ATOMIC: dict[str, Any] = {"atomic": True} if "atomic" in OPTION_NAMES else {}


#: Tasks of canvases.
ACTORS = actors


def write_down() -> str:
    """Append this execution to the ledger, in one write; return what tells it from all others."""
    line = line_of(current_job().id, os.getpid(), time.monotonic())
    descriptor = os.open(f"{os.environ['CHAOS_DIRECTORY']}/{RUNS}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, line)
    os.close(descriptor)
    return line.decode().strip()


@job
def work(milliseconds: float) -> str:
    execution = write_down()
    time.sleep(milliseconds / 1000)
    return execution


@job(**ATOMIC)
def count(milliseconds: float) -> str:
    """Have an effect in the database: one more in this job's row."""
    execution = write_down()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chaos_counter SET value = value + 1 WHERE id = %s", [current_job().id])
    time.sleep(milliseconds / 1000)
    return execution


if os.environ.get("CHAOS_RELEASE") != "old":

    @job
    def newcomer(milliseconds: float) -> str:
        """Be a task that the release before did not have."""
        return write_down()


@job
def die(how: str) -> None:
    """Take the process along: as the out-of-memory killer does, by a crash in C, or without a word."""
    write_down()
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segfault":
        ctypes.string_at(0)
    else:
        os._exit(3)


@job
def hold_the_interpreter(seconds: float) -> str:
    """Let no other thread of this process run, as a C extension may."""
    execution = write_down()
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    return execution
