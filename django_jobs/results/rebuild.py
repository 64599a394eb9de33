"""The exception of a job, as far as it can be raised again in another process."""

from __future__ import annotations

import ast
import builtins
import sys
from typing import Any

from django_jobs.exceptions import JobFailed, JobRevoked, JobsError
from django_jobs.results.base import Record
from django_jobs.states import State


def exception_of(record: Record) -> Exception:
    """
    Return the exception that a job ended with.

    Of its own class when that is a builtin or loaded here, and made of one text; else JobFailed, with type and text.
    The traceback of the job is attached as a note. A job that was revoked gives JobRevoked, or what is said of its end.
    """
    error = _rebuilt(record.exception_type, record.exception)
    if record.state == State.REVOKED and not isinstance(error, JobsError):
        error = JobRevoked(f"The job was revoked. Before that, it had failed: {_in_words(record)}")
    if error is None:
        error = JobFailed(_in_words(record))
    if record.traceback:
        error.add_note(f"Traceback of the job {record.id} ({record.task}):\n{record.traceback.rstrip()}")
    return error


def _in_words(record: Record) -> str:
    return f"{record.exception_type}: {record.exception}" if record.exception else record.exception_type or "unknown"


def _rebuilt(path: str, text: str) -> Exception | None:
    """Make the exception anew, if what comes out says the same. A row never decides what code is imported."""
    cls = _loaded(path)
    if not (isinstance(cls, type) and issubclass(cls, Exception)):
        return None
    literal = _literal(text)
    for arguments in [(text,) if text else (), *([] if literal is None else [(literal,)])]:
        try:
            error = cls(*arguments)
            if str(error) == text:
                return error
        except Exception:  # noqa: BLE001, S112 - the constructor of a class of the user's; without it there is JobFailed
            continue
    return None


def _loaded(path: str) -> Any:
    if "." not in path:
        return getattr(builtins, path, None)
    module_name, names = path, []
    while module_name and module_name not in sys.modules:
        module_name, _, name = module_name.rpartition(".")
        names.append(name)
    found: Any = sys.modules.get(module_name)
    for name in reversed(names):
        found = getattr(found, name, None)
    return found


def _literal(text: str) -> Any:
    """KeyError shows its argument as Python writes it."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
