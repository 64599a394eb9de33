"""
How long a transaction of ours may say nothing to the server, and how long it may wait for the locks of others.

A process can stop in the middle of one without being dead: it is frozen, its machine is paused, a C call of a job holds
the interpreter. Its connection stays open, and the rows that it has locked stay locked, for as long as that lasts. So
the server is asked to end such a transaction. PostgreSQL and MariaDB can do that; MySQL cannot, and neither can SQLite.
Whoever goes on afterwards finds that nothing was done and that the connection is lost, as after any other loss.

It holds for our own transactions alone, and ends with them: the project's code uses the same connections, and may hold
a transaction open for as long as it likes. A connection may also go back to a pool, and to somebody else.

What is long because there is much of it, as a group of 200,000 has, goes through ``speaking``: nobody stands still.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.db.utils import Error, OperationalError

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")

#: A transaction of ours is ended after so much silence. Longer than most C calls and pauses of a machine that is merely
#: busy (what they hit is done again, which costs time and a warning); shorter than the 15 s after which a supervisor
#: takes its keeper for hung, and than a lease: when the jobs of a frozen worker are given away nothing locks them.
SILENCE_MS = 10_000
#: What is long says something so often while it is silence; several such may follow each other.
WORDS_PER_SILENCE = 10


class Bounds:
    """
    The bounds of one transaction that is about to begin on a connection; a context around it.

    Nothing happens inside a transaction that is open already: that one is somebody else's.
    """

    __slots__ = ("_changed", "_connection", "_has_begun", "_is_ours", "_lock_ms", "_raw")

    def __init__(self, connection: BaseDatabaseWrapper, *, lock_ms: int | None = None) -> None:
        self._connection = connection
        self._is_ours = not connection.in_atomic_block
        self._lock_ms = lock_ms
        #: What is to be set back, and on which connection.
        self._changed: dict[str, int] = {}
        self._raw: Any = None
        self._has_begun = False

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Bound the transaction, which is open by now, from here on."""
        # Where a project has switched off autocommit, no transaction ends with ours.
        if not self._is_ours or not self._connection.commit_on_exit:
            return
        self._has_begun = True
        self._set()
        _active().append(self)

    def end(self) -> None:
        """Set back what outlives the transaction. Also the first of its commit hooks: others may be the project's."""
        with suppress(ValueError):
            _active().remove(self)
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        if self._connection.connection is not self._raw or self._raw is None:
            return
        try:
            self._execute(_back(changed))
        except Error:
            self._connection.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, and say of a transaction that the server has ended what is always said when a connection is lost."""
        self.end()
        if error is not None and self._has_begun and _was_silent(error):
            raise OperationalError(*error.args) from error

    def lift(self) -> None:
        """Let the transaction be silent for a while, as the project has it."""
        if self._connection.vendor == "postgresql":
            self._execute("SET LOCAL idle_in_transaction_session_timeout TO DEFAULT")
        elif _IDLE in self._changed:
            self._execute(_back({_IDLE: 0}))

    def set_again(self) -> None:
        """Bound it again."""
        if self._connection.vendor == "postgresql":
            self._set()
        elif _IDLE in self._changed:
            self._execute(f"SET SESSION {_IDLE} = {self._changed[_IDLE]}")

    def speak(self) -> None:
        """Let the server hear something."""
        self._execute("SELECT 1")

    def _set(self) -> None:
        vendor = self._connection.vendor
        if vendor == "postgresql":
            self._execute(f"SET LOCAL idle_in_transaction_session_timeout = {SILENCE_MS}")
            if self._lock_ms is not None:
                self._execute(f"SET LOCAL lock_timeout = {self._lock_ms}")
        elif vendor == "mysql":
            self._raw = self._connection.connection
            self._changed = self._wanted()
            if self._changed:
                self._execute(_there(self._changed))

    def _wanted(self) -> dict[str, int]:
        wanted = {}
        if self._connection.mysql_is_mariadb:  # type: ignore[attr-defined]
            wanted[_IDLE] = _seconds(SILENCE_MS)
        if self._lock_ms is not None:
            wanted["innodb_lock_wait_timeout"] = _seconds(self._lock_ms)
        return wanted

    def _execute(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)


@contextmanager
def for_code_of_the_project() -> Iterator[None]:
    """Lift the silence bound of this thread's transactions: what is called inside may take its time."""
    lifted = list(_active())
    for bounds in lifted:
        bounds.lift()
    try:
        yield
    finally:
        for bounds in lifted:
            with suppress(Error):  # the transaction is broken, and about to be undone
                bounds.set_again()


def speaking(items: Iterable[T]) -> Iterable[T]:
    """
    Return items to go through while a transaction of ours may be open in this thread: however many there are, its
    server hears something every now and then.
    """
    return _speaking(items) if _active() else items


def _speaking(items: Iterable[T]) -> Iterator[T]:
    pause = SILENCE_MS / 1000 / WORDS_PER_SILENCE
    spoken = time.monotonic()
    for item in items:
        if time.monotonic() - spoken > pause:
            for bounds in _active():
                bounds.speak()
            spoken = time.monotonic()
        yield item


_IDLE = "idle_transaction_timeout"


def _there(values: dict[str, int]) -> str:
    """Return the statement that sets variables of a MySQL session, and keeps in it what they were."""
    kept = [f"@django_jobs_{name} = @@SESSION.{name}" for name in values]
    return "SET " + ", ".join(kept + [f"SESSION {name} = {value}" for name, value in values.items()])


def _back(values: dict[str, int]) -> str:
    return "SET " + ", ".join(f"SESSION {name} = @django_jobs_{name}" for name in values)


def _seconds(ms: int) -> int:
    return max(1, -(-ms // 1000))


def _was_silent(error: BaseException) -> bool:
    """Say whether PostgreSQL has ended a transaction for its silence, which its drivers take for an internal error."""
    cause = error.__cause__
    return "25P03" in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None))


_here = threading.local()


def _active() -> list[Bounds]:
    """Return the bounds of the transactions that are open in this thread."""
    try:
        found: list[Bounds] = _here.active
    except AttributeError:
        found = _here.active = []
    return found
