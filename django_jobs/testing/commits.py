"""
When a job is sent, in a test that never commits.

A TestCase runs each test inside transactions of its own and rolls them back, so what waits for the commit would wait
for ever. Here the test's own blocks count as if they were not there: what would be put off in them happens at once, and
what is put off in a block inside them happens when the outermost of those inner blocks has ended well. The list of what
is put off stays Django's, so a block that is rolled back takes out of it what was put off inside. Where no test has
opened a transaction (TransactionTestCase) the outermost block commits, and everything is as it always is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest import mock

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jobs import dispatch

Callback = Callable[[], None]


class Commits:
    """What waits for inner blocks to end."""

    def __init__(self) -> None:
        #: Blocks that were open already: whoever opens them around the kit expects to see inside what is sent inside.
        self._around = {
            block for connection in connections.all(initialized_only=True) for block in connection.atomic_blocks
        }
        self._waiting: dict[BaseDatabaseWrapper, list[Callback]] = {}

    def put_off(self, callback: Callback, *, using: str) -> None:
        """Call back at once in the test's own blocks, else when the inner ones have ended well."""
        connection = connections[using]
        if self._only_own(connection):
            callback()
            return
        transaction.on_commit(callback, using=using)
        self._waiting.setdefault(connection, []).append(callback)

    def block_ended(self, connection: BaseDatabaseWrapper) -> None:
        """Call back what waited for the block that has just ended, unless it was rolled back."""
        if not self._waiting.get(connection) or not self._only_own(connection):
            return
        rolled_back = connection.needs_rollback
        due = self._take(connection)
        # After a real commit or rollback Django has emptied its list: nothing is left to do.
        for callback in () if rolled_back else due:
            callback()

    def close(self) -> None:
        """Drop what still waits: its broker is gone."""
        for connection in list(self._waiting):
            self._take(connection)

    def _take(self, connection: BaseDatabaseWrapper) -> list[Callback]:
        """Take our callables out of Django's list. Return those that were still in it, in order."""
        ours = {id(callback) for callback in self._waiting.pop(connection)}
        due = [entry[1] for entry in connection.run_on_commit if id(entry[1]) in ours]
        connection.run_on_commit = [entry for entry in connection.run_on_commit if id(entry[1]) not in ours]
        return due

    def _only_own(self, connection: BaseDatabaseWrapper) -> bool:
        return all(is_of_test(block) or block in self._around for block in connection.atomic_blocks)


def is_of_test(block: transaction.Atomic) -> bool:
    """Say whether a TestCase has opened this block: Django marks those, so that durable blocks may stand inside."""
    return bool(getattr(block, "_from_testcase", False))


def block_of_test(using: str) -> transaction.Atomic:
    """Return a block, not entered yet, that counts as the test's own."""
    block: Any = transaction.atomic(using=using)
    block._from_testcase = True
    return cast("transaction.Atomic", block)


@contextmanager
def watched() -> Iterator[None]:
    """Let jobs be sent as if the test's own transactions were not there."""
    commits = Commits()
    leave = transaction.Atomic.__exit__

    # Django says nothing when a savepoint is released; the end of a block is the one moment to see it.
    def leave_and_tell(block: transaction.Atomic, *exc_info: Any) -> None:
        leave(block, *exc_info)
        commits.block_ended(transaction.get_connection(block.using))

    with mock.patch.object(transaction.Atomic, "__exit__", leave_and_tell), dispatch.use_on_commit(commits.put_off):
        try:
            yield
        finally:
            commits.close()
