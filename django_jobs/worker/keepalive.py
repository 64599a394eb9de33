"""
Connections whose server notices that a machine is gone.

A worker's machine that vanishes (power, network) says goodbye to nobody: its transaction stays open in PostgreSQL, with
the rows that it has locked, until the server's own TCP finds out, which by default takes two hours. Asked for sooner,
whoever gets that worker's jobs waits for seconds. (Transactions of our own end sooner, see ``bounds``; those of jobs do
not.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.backends.signals import connection_created

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

#: Seconds of silence before the server asks, between two questions, and how many go unanswered: gone after 25 s.
IDLE, INTERVAL, COUNT = 10, 5, 3

# A server that looks sooner already is left alone; 0 stands for what the system does.
_ASK = f"""
    SELECT set_config(name, value, false)
    FROM (VALUES ('tcp_keepalives_idle', '{IDLE}'), ('tcp_keepalives_interval', '{INTERVAL}'),
        ('tcp_keepalives_count', '{COUNT}')) AS wanted (name, value)
    WHERE current_setting(name)::int NOT BETWEEN 1 AND value::int
"""  # noqa: S608 - numbers of ours


def install() -> None:
    """Ask for it on every connection that this process opens from now on."""
    connection_created.connect(_ask, dispatch_uid="django_jobs.worker.keepalive")


def _ask(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_ASK)
