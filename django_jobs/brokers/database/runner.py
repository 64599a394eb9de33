"""
One verb, one transaction: the caller's when one is open on the alias, else our own.

In the caller's transaction errors are Django's, as for any other query. In our own, what passes by itself (a locked
SQLite file, a deadlock) is tried again for a while, and everything that keeps a database from working becomes
``BrokerUnavailable``.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import DataError, IntegrityError, connections, transaction
from django.db.utils import Error
from django.utils.connection import ConnectionDoesNotExist

from django_jobs import transactions
from django_jobs.brokers.database.dialects import VENDORS, Dialect, Sql
from django_jobs.exceptions import BrokerUnavailable, JobsConfigurationError

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")


class LockedOut(BrokerUnavailable):
    """Somebody else holds a lock that was not waited for any longer."""


class Database:
    """The database alias of a broker."""

    def __init__(self, alias: str, *, timeout_ms: int, patience_ms: int) -> None:
        try:
            vendor = connections[alias].vendor
        except ConnectionDoesNotExist:
            known = ", ".join(connections.settings)
            raise JobsConfigurationError(
                f"The broker is database://{alias}, but DATABASES has no {alias!r}; it has: {known}."
            ) from None
        if vendor not in VENDORS:
            raise JobsConfigurationError(
                f"The database broker runs on PostgreSQL, MySQL, MariaDB and SQLite, and {alias!r} is {vendor}."
                " Name another alias in DJANGO_JOBS['BROKER'], or Redis."
            )
        self.alias = alias
        self.vendor = vendor
        self.timeout_ms = timeout_ms
        self.patience_ms = patience_ms
        self._dialect: Dialect | None = None

    def run(
        self,
        verb: Callable[[Sql], T],
        *,
        alone: bool = False,
        patient: bool = False,
        repeatable: bool = True,
        bounded: bool = True,
        lock_ms: int | None = None,
    ) -> T:
        """
        Run a verb in a transaction.

        ``alone``: it is a single statement, or needs no transaction around its statements. ``patient``: what is at
        stake is work that has been done, or a lease, so that waiting long is better than failing. ``repeatable``: it
        may be tried again on a new connection when the old one turns out to be dead. ``bounded``: others may wait for
        what it locks, so that it must not be silent for long. ``lock_ms``: for so long a statement waits for the locks
        of others, on a server; then LockedOut is raised.
        """
        connection = self._connection()
        if connection.in_atomic_block:
            return self._run_joined(connection, verb, alone=alone)
        deadline = time.monotonic() + (self.patience_ms if patient else self.timeout_ms) / 1000
        stale = connection.connection if repeatable else None
        delay = transactions.RETRY_FIRST
        while True:
            try:
                if alone:
                    return self._run_alone(connection, verb)
                wait_ms = max(int((deadline - time.monotonic()) * 1000), 1)
                with transactions.own(self.alias, wait_ms=wait_ms, lock_ms=lock_ms, bounded=bounded):
                    return self._run_alone(connection, verb)
            except Error as error:
                transactions.drop_if_broken(self.alias)
                # A transaction that ends on a dead connection leaves a new one behind, opened by Django.
                if stale is not None and connection.connection is not stale:
                    stale = None
                    continue
                if isinstance(error, DataError | IntegrityError):
                    raise
                if lock_ms is not None and transactions.is_locked_out(error):
                    raise LockedOut(f"In {self.alias!r}, which holds the queue, others hold a lock: {error}") from error
                if not transactions.is_transient(error) or time.monotonic() > deadline:
                    raise self._explained(error) from error
            time.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(delay * 1.5, transactions.RETRY_LAST)

    def read(self, verb: Callable[[Sql], T]) -> T:
        """Run a verb that only looks, without a transaction of its own."""
        connection = self._connection()
        if connection.in_atomic_block:
            with connection.cursor() as cursor:
                return verb(Sql(cursor, self.dialect))
        return self.run(verb, alone=True)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Do something once what has been written can be seen by others."""
        connection = connections[self.alias]
        if connection.in_atomic_block:
            transaction.on_commit(action, using=self.alias, robust=True)
        else:
            action()

    def close(self) -> None:
        """Close this thread's connection, unless a transaction is open on it."""
        connection = connections[self.alias]
        if not connection.in_atomic_block:
            connection.close()

    @property
    def dialect(self) -> Dialect:
        """How to speak to this database. Asks MySQL and MariaDB for their version, once."""
        if self._dialect is None:
            self._dialect = VENDORS[self.vendor](connections[self.alias])
        return self._dialect

    def _connection(self) -> BaseDatabaseWrapper:
        connection = connections[self.alias]
        if _inherited and _is_inherited(connection.connection):
            connection.connection = None
            connection.in_atomic_block = False
        return connection

    def _run_joined(self, connection: BaseDatabaseWrapper, verb: Callable[[Sql], T], *, alone: bool) -> T:
        # Without a savepoint: an error spoils the caller's transaction, and Django is told so.
        with transaction.atomic(self.alias, savepoint=False), connection.cursor() as cursor:
            sql = Sql(cursor, self.dialect)
            if self.vendor == "sqlite" and not alone:
                # In a transaction that began as a reader, SQLite waits for the lock only if writing comes first.
                sql.change("UPDATE {queue} SET paused = paused WHERE 0 = 1")
            return verb(sql)

    def _run_alone(self, connection: BaseDatabaseWrapper, verb: Callable[[Sql], T]) -> T:
        connection.ensure_connection()
        dialect = self.dialect
        with connection.cursor() as cursor:
            return verb(Sql(cursor, dialect))

    def _explained(self, error: Error) -> BrokerUnavailable:
        if transactions.is_missing_table(error):
            command = transactions.how_to_migrate(self.alias)
            return BrokerUnavailable(f"The tables of the queue are missing in {self.alias!r}: run {command}. ({error})")
        return BrokerUnavailable(
            f"The database {self.alias!r}, which holds the queue, cannot be used: {error}".rstrip()
        )


# Connections that were open in this thread when the process was forked. Kept, so that nothing ever closes them: closing
# would say goodbye to the server over a socket that the parent goes on using.
_inherited: list[Any] = []


def _is_inherited(raw: Any) -> bool:
    return any(raw is inherited for inherited in _inherited)


def _remember_inherited() -> None:
    for connection in connections.all(initialized_only=True):
        in_memory = connection.vendor == "sqlite" and connection.is_in_memory_db()  # type: ignore[attr-defined]
        if connection.connection is not None and connection.vendor in VENDORS and not in_memory:
            _inherited.append(connection.connection)


os.register_at_fork(after_in_child=_remember_inherited)
