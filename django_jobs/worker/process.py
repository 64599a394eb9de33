"""What a process of the worker asks of its operating system."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from importlib import import_module
from importlib.util import find_spec
from typing import NoReturn

logger = logging.getLogger("django_jobs.worker")

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
#: What a new process may be told before it has handlers for it: it waits until it has.
_TOLD = frozenset(getattr(signal, name) for name in ("SIGTERM", "SIGTSTP", "SIGQUIT") if hasattr(signal, name))


class Exit(IntEnum):
    """How a process ends; the supervisor reads it."""

    DONE = 0
    #: Running jobs were given back.
    HANDED_BACK = 1
    #: An error in the worker's own code.
    BROKEN = 70
    #: Its lease is gone, or its time is over: another one is to take its place.
    REPLACE = 75


def end_process(code: int, error: BaseException | None = None) -> NoReturn:
    """
    End this process at once, saying which error of its own has ended it.

    Nothing may keep it from that: a job may have closed the streams that are flushed, or broken what logs.
    """
    try:
        if error is not None:
            _say(error)
        _flush()
    finally:
        os._exit(code)


def _flush() -> None:
    """Write out what was printed, as far as that can be done: a stream may be closed, full, or not there."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()


def _say(error: BaseException) -> None:
    try:
        logger.critical("The worker process %s has an error of its own, and ends", os.getpid(), exc_info=error)
    except BaseException:  # noqa: BLE001 - said without logging, then
        text = "".join(traceback.format_exception(error))
        with suppress(OSError):
            os.write(2, f"The worker process {os.getpid()} has an error of its own, and ends:\n{text}".encode())


@contextmanager
def own_errors_are_fatal() -> Iterator[None]:
    """
    Log an error of the worker's own code, and end the process at once.

    A thread that ended alone would leave its jobs in flight under a lease that is renewed: nobody would ever run them.
    A process that dies is noticed, its jobs are given back, and another one takes its place.
    """
    try:
        yield
    except GeneratorExit:  # a coroutine that is thrown away with its loop
        raise
    except BaseException as error:  # noqa: BLE001 - said by end_process
        end_process(Exit.BROKEN, error)


def share_before_fork() -> None:
    """
    Load what every child will need, and take what is there out of the garbage collector's sight.

    A full collection touches every object, and in a forked child each page that is touched is copied: 12 MiB a child
    (measured on CPython 3.11) that are shared like this.
    """
    import_module("django.db.models.sql.compiler")
    gc.collect()
    gc.freeze()


def fork(body: Callable[[], int]) -> int:
    """
    Start a process that does ``body`` and exits with what it returns, or as BROKEN. Return its id.

    TERM, TSTP and QUIT wait in it until ``admit_signals``. Raises OSError when the system has no room for it.
    """
    _flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TOLD)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if pid:
        return pid
    code: int = Exit.BROKEN
    try:
        code = body()
    except BaseException as error:  # noqa: BLE001 - it is said, and must not unwind into the parent's code
        end_process(code, error)
    finally:
        end_process(code)


def admit_signals() -> None:
    """Take the signals that have waited since the fork, and those to come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TOLD)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies (Linux), so that nothing goes on without its supervisor."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def dump_stacks(*_: object) -> None:
    """
    Write to stderr what every thread of this process is doing; also a signal handler.

    Python's own handler, run by the main thread between two instructions: faulthandler's, which needs none, has crashed
    on the stack of a thread that ran meanwhile.
    """
    faulthandler.dump_traceback(sys.stderr, all_threads=True)


def set_title(title: str) -> None:
    """Show what this process is in ps and top, when setproctitle is installed."""
    if find_spec("setproctitle") is not None:
        import_module("setproctitle").setproctitle(title)


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def describe_exit(status: int) -> str:
    """Say how a process ended, from what waitpid said."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
