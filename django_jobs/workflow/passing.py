"""Steps that start, on their way through the project's middleware."""

from __future__ import annotations

from collections.abc import Sequence

from django_jobs import dispatch, middleware, transactions
from django_jobs.envelope import Job
from django_jobs.exceptions import BrokerUnavailable, StoreUnavailable
from django_jobs.execution import error_of
from django_jobs.outcome import Error
from django_jobs.results.base import BaseStore


def is_away(store: BaseStore, error: Exception) -> bool:
    """
    Say whether code of the project may well succeed, called again in another transaction: something is locked or away,
    or the connection is dead that the transaction of the store has. Any other error, of a database too, is its own.
    """
    if isinstance(error, StoreUnavailable | BrokerUnavailable):
        return True
    return transactions.is_transient(error) or transactions.is_spoilt(store.using)


def through_middleware(
    store: BaseStore, jobs: Sequence[Job], *, raises: bool
) -> tuple[Sequence[Job], dict[str, Error]]:
    """
    Return the jobs that middleware lets pass, and errors of those for which it has raised one.

    ``raises``: somebody sends these, and is told. Else an error is that of its step, and the steps beside it must not
    suffer for it.
    """
    if not jobs or not middleware.loaded():
        return jobs, {}
    if raises:
        return dispatch.through_middleware(jobs), {}
    try:
        with store.savepoint():
            return dispatch.through_middleware(jobs), {}
    except Exception as error:
        if is_away(store, error):
            raise
        if len(jobs) == 1:
            return [], {jobs[0].id: error_of(error)}
    passed: list[Job] = []
    errors: dict[str, Error] = {}
    for job in jobs:
        some, told = through_middleware(store, [job], raises=False)
        passed += some
        errors |= told
    return passed, errors
