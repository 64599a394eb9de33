"""A table with very many rows, made by the database itself."""

from __future__ import annotations

import time

from django.db import connections

from django_jobs.models import JobResult

#: SQL for a row number, and what makes an id of a number of milliseconds and the row number.
_SOURCES = {
    "postgresql": (
        "SELECT i FROM generate_series(1, {rows}) AS series(i)",
        (
            "(lpad(to_hex({ms}), 12, '0') || lpad(to_hex(28672 + i % 4096), 4, '0') || '8'"
            " || lpad(to_hex(i), 15, '0'))::uuid"
        ),
        "to_timestamp(({ms}) / 1000.0)",
        "repeat('  File \"/srv/app/jobs.py\", line 41, in run' || chr(10), 30)",
    ),
    "sqlite": (
        (
            "WITH RECURSIVE series(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < {rows})"
            " SELECT i FROM series"
        ),
        "printf('%012x%04x8%015x', {ms}, 28672 + i % 4096, i)",
        "strftime('%Y-%m-%d %H:%M:%S', ({ms}) / 1000, 'unixepoch')",
        "replace(printf('%.30c', 'x'), 'x', '  File \"/srv/app/jobs.py\", line 41, in run' || char(10))",
    ),
}


#: The workflow that two in a thousand of them are steps of; half of these have failed.
WORKFLOW = "01a1fbfb-2282-7708-96ac-5a8ec53087c1"


def insert_results(using: str, rows: int, *, days: float = 10) -> None:
    """Insert results up to now: one in ten failed, eight tasks, three queues of which one is rare."""
    connection = connections[using]
    source, make_id, make_moment, traceback = _SOURCES[connection.vendor]
    now = int(time.time() * 1000)
    ms = f"{now} - ({rows} - i) * {max(1, int(days * 86_400_000 / rows))}"
    failed = "i % 10 = 0"
    workflow = f"'{WORKFLOW}'::uuid" if connection.vendor == "postgresql" else f"'{WORKFLOW.replace('-', '')}'"
    values = {
        "id": make_id.format(ms=ms),
        "task": "'shop.jobs.task_' || ((i / 3) % 8)",
        "queue": "CASE WHEN i % 100000 = 5 THEN 'rare' WHEN i % 3 = 0 THEN 'mail' ELSE 'default' END",
        "state": f"CASE WHEN {failed} THEN 'FAILURE' ELSE 'SUCCESS' END",
        "args": "'[' || i || ']'",
        "kwargs": "'{}'",
        "priority": "0",
        "exception_type": f"CASE WHEN {failed} THEN 'builtins.ConnectionError' ELSE '' END",
        "exception": f"CASE WHEN {failed} THEN 'crm.example did not answer' ELSE '' END",
        "traceback": f"CASE WHEN {failed} THEN {traceback} ELSE '' END",
        "worker": "'web-1:4121'",
        "retries": "0",
        "deliveries": "1",
        "fence": "1",
        "enqueued_at": make_moment.format(ms=ms),
        "started_at": make_moment.format(ms=ms),
        "finished_at": make_moment.format(ms=ms),
        "message": f'CASE WHEN {failed} THEN \'{{"v":1,"task":"shop.jobs.task_1","at":1}}\' END',
        "history": "''",
        "workflow_id": f"CASE WHEN i % 1000 IN (7, 10) THEN {workflow} END",
    }
    table = connection.ops.quote_name(JobResult._meta.db_table)
    columns = ", ".join(connection.ops.quote_name(name) for name in values)
    with connection.cursor() as cursor:
        numbers = source.format(rows=rows)
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {', '.join(values.values())} FROM ({numbers}) AS numbers"
        )
        # As the database does by itself after a while, at which a test cannot be kept waiting.
        cursor.execute(f"{'VACUUM ANALYZE' if connection.vendor == 'postgresql' else 'ANALYZE'} {table}")
