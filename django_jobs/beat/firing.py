"""
How a moment becomes one job, whoever comes first.

One transaction locks the rows that are due, makes their jobs, puts those into the outbox (or into the queue, where that
is in the same database), notes what became of each moment, and moves the rows on. It happens as a whole or not at all,
so any number of beats may do it, and each may be killed at any instant.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, transaction
from django.utils import timezone

from django_jobs import dispatch, transactions
from django_jobs.beat import damage, rows
from django_jobs.beat.announcing import announce
from django_jobs.beat.due import Planned, is_planned, plan, upcoming
from django_jobs.beat.making import job_of
from django_jobs.beat.overlap import unfinished
from django_jobs.conf import settings
from django_jobs.envelope import Job
from django_jobs.models.periodic import Outcome, Overlap, PeriodicRun, PeriodicTask
from django_jobs.schedules import parse, zone_named

logger = logging.getLogger("django_jobs.beat")

#: A row that cannot be understood is looked at again then: what is missing may have been installed.
AGAIN = timedelta(hours=1)
#: Characters of an error that are kept.
MOST_WORDS = 2000


class _Moment(NamedTuple):
    """A moment that has come."""

    run: PeriodicRun
    #: What is to be sent, if anything is.
    job: Job | None
    #: What is noted about it when that is sent.
    detail: str = ""


class Fired(NamedTuple):
    """What one transaction has done."""

    #: How many rows it has found due.
    rows: int
    runs: Sequence[PeriodicRun]


def fire_due(alias: str, until: datetime, *, late: timedelta) -> Fired:
    """
    Fire what was due at ``until``, up to ``rows.BATCH`` rows, those first that are due the longest.

    Raises OperationalError and InterfaceError; nothing has happened then, unless the answer to a commit was lost.
    """
    try:
        return _fire_rows(alias, until, late)
    except Exception as error:
        if not _is_about_a_row(error):
            raise
        return _fire_one_by_one(alias, until, late)


def _is_about_a_row(error: Exception) -> bool:
    """Say whether an error has to do with what a row says, and not with the database."""
    return damage.is_unreadable(error) or not isinstance(error, OperationalError | InterfaceError)


def _fire_one_by_one(alias: str, until: datetime, late: timedelta) -> Fired:
    """Fire the rows of a batch each for itself, and go on without those that cannot be read or written."""
    runs: list[PeriodicRun] = []
    keys = rows.due_keys(alias, until)
    for pk in keys:
        try:
            runs += _fire_rows(alias, until, late, only=pk).runs
        except Exception as error:
            if not _is_about_a_row(error):
                raise
            _do_without(alias, pk, until, late, error)
    return Fired(len(keys), runs)


def _do_without(alias: str, pk: int, now: datetime, late: timedelta, error: Exception) -> None:
    """Deal with a row that could not be fired. Whatever goes wrong with that as well: the other rows go on."""
    try:
        _plan_anew(alias, pk, now, late, error)
    except Exception as again:
        if not _is_about_a_row(again):
            raise
        logger.exception("The periodic task with the key %s cannot be used, nor be set aside", pk)


def _plan_anew(alias: str, pk: int, now: datetime, late: timedelta, error: Exception) -> None:
    """Plan a row anew, for the damage may be in what beat has noted there; set aside what cannot be planned."""
    damaged = damage.find(alias, pk)
    broken = frozenset() if damaged is None else damaged.broken.keys()

    def forget() -> bool:
        return rows.forget_plan(alias, pk, now, broken)

    try:
        if not transactions.run(alias, forget, wait_ms=rows.PATIENCE_MS):
            return
        _fire_rows(alias, now, late, only=pk)
    except Exception as again:
        if not _is_about_a_row(again):
            raise
        why, note = _words(again), _set_aside
    else:
        if damaged is not None and (broken <= rows.PLANNED or not damaged.values.get("enabled")):
            return  # somebody has corrected the row itself, or switched it off: no moment of it is refused
        why, note = _words(error), _note_refused
    why = why if damaged is None else damaged.advice
    transactions.run(alias, partial(note, alias, pk, now, why), wait_ms=rows.PATIENCE_MS)


def _set_aside(alias: str, pk: int, now: datetime, why: str) -> None:
    if rows.set_aside(alias, pk, now, now + AGAIN):
        _note_refused(alias, pk, now, why)
        logger.error("It is looked at again in an hour, or when it is changed")


def _note_refused(alias: str, pk: int, now: datetime, why: str) -> None:
    logger.error("The periodic task with the key %s cannot be used as it is: %s", pk, why)
    run = PeriodicRun(periodic_task_id=pk, due=now, fired=now, lateness=timedelta(0))
    rows.insert_runs(alias, [_refused(run, why)])


def _fire_rows(alias: str, until: datetime, late: timedelta, *, only: int | None = None) -> Fired:
    def within() -> Fired:
        now, locked = rows.lock_due(alias, until, only=only)
        if not locked:
            return Fired(0, ())
        busy = _busy(alias, locked)
        moments = [
            _prepare(row, planned, now)
            for row in locked
            for planned in _planned(row, now, unfinished=row.pk in busy, late=late)
        ]
        moments.sort(key=lambda moment: moment.run.due)
        runs = _fire(alias, moments)
        for run in runs:
            _note(run)
        rows.update(alias, locked)
        transaction.on_commit(partial(announce, runs, late), using=alias, robust=True)
        return Fired(len(locked), runs)

    return transactions.run(alias, within, wait_ms=rows.PATIENCE_MS)


def fire_now(row: PeriodicTask, user: object = None) -> PeriodicRun:
    """
    Send the job of a periodic task now, whatever its schedule says and whether or not it is enabled.

    With the row's own queue, priority, headers and expiry. Return what became of it; ``user``: who has asked for it.
    Raises PeriodicTask.DoesNotExist when the row is gone.
    """
    alias = settings.database

    def within() -> PeriodicRun:
        now, locked = rows.lock(alias, row.pk)
        detail = "" if user is None else f"Sent by {user}."
        (run,) = _fire(alias, [_prepare(locked, Planned(now, Outcome.SENT), now, by_hand=True)._replace(detail=detail)])
        _note(run)
        rows.update_last(alias, locked)
        transaction.on_commit(partial(announce, [run], timedelta.max), using=alias, robust=True)
        return run

    return transactions.run(alias, within, wait_ms=rows.PATIENCE_MS)


def _busy(alias: str, locked: Iterable[PeriodicTask]) -> set[int]:
    """Return the rows whose last job has not ended, of those to which it matters."""
    last = {str(row.last_job): row.pk for row in locked if row.overlap == Overlap.SKIP and row.last_job is not None}
    return {last[job_id] for job_id in unfinished(alias, list(last))}


def _planned(row: PeriodicTask, now: datetime, *, unfinished: bool, late: timedelta) -> Sequence[Planned]:
    """Plan a row, and return what is to become of its moments."""
    try:
        zone = zone_named(row.timezone or timezone.get_default_timezone_name())
        if row.enabled and row.next_run is None and is_planned(row):
            # It is due by what the database has there. Nobody can say when: its next moment is another one.
            row.next_run = next(upcoming(row, parse(row.schedule), zone, now), None)
            return [Planned(now, Outcome.REFUSED, detail="Its next run was no moment. It is planned anew.")]
        made = plan(row, parse(row.schedule), zone, now, unfinished=unfinished, late=late)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other rows go on
        row.next_run = now + AGAIN
        return [Planned(now, Outcome.REFUSED, detail=_words(error))]
    row.next_run = made.next_run
    return made.runs


def _prepare(row: PeriodicTask, planned: Planned, now: datetime, *, by_hand: bool = False) -> _Moment:
    run = PeriodicRun(
        periodic_task=row,
        due=planned.due,
        outcome=planned.outcome,
        fired=now,
        lateness=max(now - planned.due, timedelta(0)),
        missed=planned.missed,
        by_hand=by_hand,
        detail=planned.detail,
    )
    if planned.outcome is not Outcome.SENT:
        return _Moment(run, None)
    try:
        return _Moment(run, job_of(row, planned.due, by_hand=by_hand))
    except Exception as error:  # noqa: BLE001 - no such task, arguments that do not fit: the other rows go on
        return _Moment(_refused(run, _words(error)), None)


def _fire(alias: str, moments: Sequence[_Moment]) -> list[PeriodicRun]:
    """Send jobs and write down what became of each moment: all at once; if that is refused, one after the other."""
    try:
        return _fire_together(alias, moments)
    except (Exception, SystemExit) as error:
        if _is_over(alias, error):
            raise
        return [run for moment in moments for run in _fire_alone(alias, moment)]


def _fire_together(alias: str, moments: Sequence[_Moment]) -> list[PeriodicRun]:
    jobs = [moment.job for moment in moments if moment.job is not None]
    with transaction.atomic(alias):
        passed = {job.id for job in dispatch.send(jobs, using=alias, outbox=True)} if jobs else set()
        for run, job, detail in moments:
            run.pk = None
            if job is not None and job.id in passed:
                run.outcome, run.job_id, run.detail = Outcome.SENT, UUID(job.id), detail
            elif job is not None:
                _refused(run, "A middleware has not let it pass.")
        runs = [moment.run for moment in moments]
        rows.insert_runs(alias, runs)
    return runs


def _fire_alone(alias: str, moment: _Moment) -> list[PeriodicRun]:
    try:
        return _fire_together(alias, [moment])
    except (Exception, SystemExit) as error:  # a middleware that ends the process would end beat, again and again
        if _is_over(alias, error):
            raise
        if isinstance(error, IntegrityError) and rows.is_known(alias, moment.run):
            return []  # the clock of the database was set back, and what comes again has been before
        return _refuse(alias, moment.run, _words(error))


def _refuse(alias: str, run: PeriodicRun, why: str) -> list[PeriodicRun]:
    try:
        return _fire_together(alias, [_Moment(_refused(run, why), None)])
    except DatabaseError as error:
        if _is_over(alias, error) or why.isascii():
            raise
    # A database whose character set has no word for it.
    return _fire_together(alias, [_Moment(_refused(run, why.encode("ascii", "backslashreplace").decode()), None)])


def _is_over(alias: str, error: BaseException) -> bool:
    """Say whether an error is about the transaction and not about a row: it is to be repeated, or cannot go on."""
    return transactions.is_transient(error) or transaction.get_rollback(alias)


def _refused(run: PeriodicRun, why: str) -> PeriodicRun:
    run.outcome, run.job_id, run.detail = Outcome.REFUSED, None, why
    return run


def _words(error: BaseException) -> str:
    """Say an error in words that every database can store, and that are not too many."""
    try:
        text = repr(error) if isinstance(error, SystemExit) else str(error) or repr(error)
    except Exception:  # noqa: BLE001 - the error of somebody's own class
        text = type(error).__qualname__
    return text[:MOST_WORDS].encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _note(run: PeriodicRun) -> None:
    """Note in its row what a run that was sent means for it."""
    row = run.periodic_task
    if run.outcome != Outcome.SENT:
        return
    row.last_run, row.last_job = run.due, run.job_id
    row.total_runs += 1
    if row.one_off and not run.by_hand:
        row.enabled, row.next_run = False, None
