"""What databases have to read for an answer, counted by themselves: the same on every machine, however busy it is."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, transaction

# Rows and blocks of the table and of its indexes, since this transaction began.
POSTGRESQL = """
    SELECT SUM(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)
        + pg_stat_get_xact_blocks_fetched(oid))
    FROM pg_class WHERE oid = %s::regclass
        OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %s::regclass)
"""
# Rows, and index entries that were looked at without their rows, in this session.
MARIADB = "SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%%' OR Variable_name = 'Handler_icp_attempts'"


def effort(alias: str, table: str, action: Callable[[], object]) -> int:
    """
    Return what an action makes the database read of a table, plus a constant.

    The unit is the database's: rows and blocks on PostgreSQL; rows, of all tables, on MariaDB; steps of its machine on
    SQLite. Each of them grows by at least one with every row that is looked at.
    """
    vendor = connections[alias].vendor
    if vendor == "postgresql":
        return _postgresql(alias, table, action)
    return _mariadb(alias, action) if vendor == "mysql" else _sqlite(alias, action)


def _postgresql(alias: str, table: str, action: Callable[[], object]) -> int:
    def count() -> int:
        with connections[alias].cursor() as cursor:
            cursor.execute(POSTGRESQL, [table, table])
            return int(cursor.fetchone()[0])

    with transaction.atomic(alias):  # at whose end the counters may be sent away and begin again at 0
        with connections[alias].cursor() as cursor:
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")  # others count for themselves
        before = count()
        action()
        return count() - before


def _mariadb(alias: str, action: Callable[[], object]) -> int:
    def count() -> int:
        with connections[alias].cursor() as cursor:
            cursor.execute(MARIADB, [])
            return sum(int(number) for _, number in cursor.fetchall())

    before = count()
    action()
    return count() - before


def _sqlite(alias: str, action: Callable[[], object]) -> int:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    connections[alias].ensure_connection()
    raw = connections[alias].connection
    raw.set_progress_handler(step, 1)
    try:
        action()
    finally:
        raw.set_progress_handler(None, 1)
    return steps
