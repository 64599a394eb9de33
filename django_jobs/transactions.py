"""
Transactions of our own, apart from those of the project's code.

They write from their first statement, so that on SQLite none fails in its middle because another one writes, and they
leave no broken connection behind: the next query opens a new one. How long they may be silent is bounded (``bounds``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connections,
    transaction,
)

from django_jobs.bounds import Bounds

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

#: How often a locked database is asked again, in seconds. SQLite's own way to wait ends at ten times a second, and
#: starves a process among several busy ones.
RETRY_FIRST, RETRY_LAST = 0.001, 0.02
#: How long SQLite's write lock is left to others for each second that we have waited for it, and at most.
ROOM_PER_WAIT, ROOM_LAST = 4.0, 0.25

#: Serialization failure, deadlock, lock not available; lock wait timeout, deadlock, record changed since last read.
_TRANSIENT_CODES = frozenset({"40001", "40P01", "55P03", 1205, 1213, 1020})
#: Of these: a lock that others hold was waited for in vain.
_LOCKED_CODES = frozenset({"55P03", 1205})
#: Packet too large; incorrect string value. Of MySQL and MariaDB, where not every driver makes a DataError of them.
_DATA_CODES = frozenset({1153, 1366})
#: Undefined table, undefined column, in either numbering.
_MISSING_CODES = frozenset({"42P01", "42703", 1146, 1054})


_STRICTER = frozenset({"repeatable read", "serializable"})


@contextmanager
def own(alias: str, *, wait_ms: int, lock_ms: int | None = None, bounded: bool = True) -> Iterator[None]:
    """
    Open a transaction that is going to write, as ``writing`` does, and let it see what others commit meanwhile.

    Our statements are made for READ COMMITTED, whatever the project has chosen for its own: in the stricter levels
    MySQL and MariaDB lock the gaps between rows, so that claims wait for each other, and PostgreSQL refuses to change
    what somebody else has changed since.

    ``bounded``: the server may end it when it falls silent. ``lock_ms``: how long a statement may wait for the locks of
    others, on a server; then OperationalError.
    """
    connection = connections[alias]
    joined = connection.in_atomic_block
    with Bounds(connection, lock_ms=lock_ms) as bounds, writing(alias, wait_ms=wait_ms):
        if not joined and is_stricter(getattr(connection, "isolation_level", None)):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        if bounded and not joined and connection.vendor != "sqlite":
            transaction.on_commit(bounds.end, using=alias)
            bounds.begin()
        yield


@contextmanager
def writing(alias: str, *, wait_ms: int) -> Iterator[None]:
    """
    Open a transaction that is going to write; inside one that is open already become a part of it, without a savepoint.

    Waits up to ``wait_ms`` for SQLite's one write lock, then raises OperationalError ("database is locked").
    """
    connection = connections[alias]
    if connection.in_atomic_block:
        with transaction.atomic(alias, savepoint=False):
            yield
    elif connection.vendor == "sqlite" and connection.get_autocommit():
        atomic = _begin_immediate(connection, time.monotonic() + wait_ms / 1000)
        with atomic:
            yield
    else:
        with transaction.atomic(alias):
            yield


def run(alias: str, action: Callable[[], T], *, wait_ms: int) -> T:
    """
    Do ``action`` in a transaction; again when what stopped it passes by itself: a lock, a deadlock, a dead connection.

    Inside a transaction that is open already it is done once, and an error is Django's to deal with. ``action`` must
    bear being repeated. Raises what the last try raised.
    """
    connection = connections[alias]
    deadline = time.monotonic() + wait_ms / 1000
    delay = RETRY_FIRST
    # The server may have closed the connection in the meantime. Only a new one says how things stand.
    stale = connection.connection
    while True:
        try:
            with own(alias, wait_ms=wait_ms):
                return action()
        except (DatabaseError, InterfaceError) as error:
            if connection.in_atomic_block:
                raise
            drop_if_broken(alias)
            # A transaction that ends on a dead connection leaves a new one behind, opened by Django.
            if stale is not None and connection.connection is not stale:
                stale = None
                continue
            if not is_transient(error) or time.monotonic() > deadline:
                raise
        time.sleep(delay * random.uniform(0.5, 1.5))
        delay = min(delay * 1.5, RETRY_LAST)


def ask(alias: str, question: Callable[[], T]) -> T:
    """Do what only reads, without a transaction of its own; again when the connection had died meanwhile."""
    connection = connections[alias]
    may_be_stale = connection.connection is not None and not connection.in_atomic_block
    try:
        return question()
    except (OperationalError, InterfaceError):
        if may_be_stale and drop_if_broken(alias):
            return question()
        raise


def drop_if_broken(alias: str) -> bool:
    """Close this thread's connection if it is broken, outside of a transaction. Return whether it is closed now."""
    connection = connections[alias]
    if connection.in_atomic_block or connection.connection is None:
        return connection.connection is None
    try:
        usable = connection.is_usable()
    except InterfaceError:
        usable = False
    if not usable:
        connection.close()
    return not usable


def is_stricter(level: Any) -> bool:
    """Say whether this isolation level, as a connection of Django names it, is stricter than READ COMMITTED."""
    return bool(level) and getattr(level, "name", level).replace("_", " ").lower() in _STRICTER


def is_spoilt(alias: str) -> bool:
    """Say whether this thread is in a transaction in which nothing can be done any more: its connection is dead."""
    connection = connections[alias]
    if not connection.in_atomic_block:
        return False
    try:
        # Not is_usable(): a driver may open another connection there, which knows nothing of the transaction.
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError):
        return True
    return False


def is_transient(error: BaseException) -> bool:
    """Say whether the same transaction, tried again, may well succeed."""
    return code_of(error) in _TRANSIENT_CODES or (isinstance(error, OperationalError) and "locked" in str(error))


def is_locked_out(error: BaseException) -> bool:
    """Say whether a lock that others hold was waited for in vain."""
    return code_of(error) in _LOCKED_CODES


def is_about_data(error: BaseException) -> bool:
    """
    Say whether what is written is at fault, and not the database: tried again it would fail again.

    A driver may refuse it before it gets there, with any exception.
    """
    if isinstance(error, DatabaseError | InterfaceError):
        return isinstance(error, DataError | IntegrityError) or code_of(error) in _DATA_CODES
    return True


def is_missing_table(error: BaseException) -> bool:
    """Say whether a table, or a column of it, is not there."""
    return code_of(error) in _MISSING_CODES or (
        isinstance(error, OperationalError) and str(error).startswith(("no such table", "no such column"))
    )


def code_of(error: BaseException) -> Any:
    """Return the database's own code of an error: SQLSTATE on PostgreSQL, a number on MySQL and MariaDB, else None."""
    if error.args and isinstance(error.args[0], int):  # first: newer PyMySQL has a sqlstate too, a coarser one
        return error.args[0]
    return getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)


def how_to_migrate(alias: str) -> str:
    """Return the command that makes our tables."""
    return "manage.py migrate" + ("" if alias == "default" else f" --database {alias}")


def _begin_immediate(connection: Any, deadline: float) -> Any:
    """
    Begin a transaction that holds SQLite's write lock. Return it, entered in all but name: leaving it ends it.

    Waiting for the lock is ours, and fair enough; SQLite's own waiting is left for the commit, which waits for readers.
    """
    connection.ensure_connection()
    _leave_room(connection.alias)
    raw = connection.connection
    (before,) = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute("PRAGMA busy_timeout = 0")
    mode, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
    began = time.monotonic()
    try:
        atomic, had_to_wait = _enter(connection, deadline)
        return _Entered(atomic, connection.alias, time.monotonic() - began if had_to_wait else 0.0)
    finally:
        connection.transaction_mode = mode
        raw.execute(f"PRAGMA busy_timeout = {before}")


def _enter(connection: BaseDatabaseWrapper, deadline: float) -> tuple[transaction.Atomic, bool]:
    delay = RETRY_FIRST
    had_to_wait = False
    while True:
        atomic = transaction.atomic(connection.alias)
        try:
            atomic.__enter__()
        except OperationalError as error:
            if not is_transient(error) or time.monotonic() > deadline:
                raise
        else:
            return atomic, had_to_wait
        had_to_wait = True
        time.sleep(delay * random.uniform(0.5, 1.5))
        delay = min(delay * 1.5, RETRY_LAST)


class _Entered:
    """A transaction that has begun, as a context of its own."""

    __slots__ = ("_alias", "_atomic", "_waited")

    def __init__(self, atomic: transaction.Atomic, alias: str, waited: float) -> None:
        self._atomic = atomic
        self._alias = alias
        self._waited = waited

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc_info: Any) -> None:
        try:
            self._atomic.__exit__(*exc_info)
        finally:
            if self._waited:
                _not_before[self._alias] = time.monotonic() + min(self._waited * ROOM_PER_WAIT, ROOM_LAST)


def _leave_room(alias: str) -> None:
    """
    Let others write, after one of our transactions had to wait.

    Several busy processes of ours would hold SQLite's write lock nearly always, and a plain query of the project, which
    asks for it ten times a second and gives up after five seconds, might never find it free.
    """
    pause = _not_before.get(alias, 0.0) - time.monotonic()
    if pause > 0:
        time.sleep(pause)


#: By alias: the moment at which this process may write again.
_not_before: dict[str, float] = {}
