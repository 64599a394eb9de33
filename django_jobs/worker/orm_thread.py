"""
The thread in which async tasks use the ORM, and the connections that they leave there.

asgiref runs every thread-sensitive call of an event loop (the async ORM, and ``sync_to_async`` as it is) in one thread
of the process, so all jobs on the loop share its connections. After a job they are closed or kept by Django's rules, as
at the end of a request, but never under another job that may be in the middle of a query's rows: while others run, only
what is broken is closed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.backends.signals import connection_created

logger = logging.getLogger("django_jobs.worker")


def end_request() -> None:
    """
    Do for this thread's connections what Django does at the end of a request: reset_queries() and
    close_old_connections().
    """
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        connection.close_if_unusable_or_obsolete()


def close_broken() -> None:
    """Close those of this thread's connections that an error has broken."""
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        if connection.errors_occurred and not connection.in_atomic_block and not connection.is_usable():
            connection.close()


class OrmThread:
    """
    Releases the connections of jobs on the loop. Its methods run on the loop.

    A job that finds no connection open there pays no thread switch; the others do not wait for theirs.
    """

    def __init__(self) -> None:
        self._ident: int | None = None
        #: Written by the thread itself.
        self._has_connections = False
        self._is_closing_broken = False
        self._releases: set[asyncio.Task[None]] = set()
        connection_created.connect(self._opened)

    async def find(self) -> None:
        """Learn which thread it is, before the first job can open a connection there."""
        if self._ident is None:
            self._ident = await sync_to_async(threading.get_ident)()

    def job_ended(self, *, alone: bool) -> None:
        """Release what the job left open; ``alone``: no other job is on the loop."""
        if not self._has_connections or (self._is_closing_broken and not alone):
            return
        self._is_closing_broken = not alone
        # In order: what a job starts to do there from now on is done after it.
        task = asyncio.get_running_loop().create_task(self._release(alone))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _release(self, alone: bool) -> None:
        try:
            await sync_to_async(self._release_there)(alone)
        except Exception:  # a database's driver may raise anything; the next job's end tries again
            logger.exception("Connections of async jobs could not be released")
        finally:
            self._is_closing_broken = False

    def _release_there(self, alone: bool) -> None:
        (end_request if alone else close_broken)()
        self._has_connections = any(
            connection.connection is not None for connection in connections.all(initialized_only=True)
        )

    def _opened(self, **kwargs: Any) -> None:
        if threading.get_ident() == self._ident:
            self._has_connections = True
