"""Which jobs are meant: ids, or all that match a task's name, states, a queue and an age; by pages, with a bound."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from django_jobs import clock, inspection
from django_jobs.brokers import get_broker
from django_jobs.brokers.known import known_queues
from django_jobs.conf import settings
from django_jobs.identifiers import parse_id
from django_jobs.management.jobs.screen import USAGE
from django_jobs.models import JobResult
from django_jobs.states import Place, State

PAGE = 1000
#: Jobs that one command works on, unless --limit says otherwise.
LIMIT = 10_000

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
#: Where a broker has the jobs that are in these states.
PLACES = {
    State.PENDING.value: Place.READY,
    State.SCHEDULED.value: Place.SCHEDULED,
    State.RETRY.value: Place.SCHEDULED,
    State.STARTED.value: Place.IN_FLIGHT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which jobs are meant."""

    task: str | None
    states: tuple[str, ...]
    queue: str | None
    #: Not older than this; when it ended, or was sent.
    since_ms: int | None
    limit: int

    def matches(self, *, task: str, queue: str, moment_ms: int | None) -> bool:
        """Say whether a job of one of the states is meant."""
        return (
            (self.task is None or fnmatchcase(task, self.task))
            and (self.queue is None or queue == self.queue)
            and (self.since_ms is None or (moment_ms is not None and moment_ms >= self.since_ms))
        )


def filter_of(options: dict[str, Any], *, allowed: tuple[str, ...], default: tuple[str, ...]) -> Filter | None:
    """Read the flags; None: there are ids instead. Raises CommandError when there is neither, or both."""
    given = [name for name in ("task", "state", "queue", "since") if options[name]]
    if bool(given) == bool(options["ids"]):
        raise CommandError("Name jobs by their ids, or by --task, --state, --queue or --since.", returncode=USAGE)
    if options["ids"]:
        return None
    return Filter(
        task=options["task"],
        states=states_of(options, allowed) or default,
        queue=options["queue"],
        since_ms=since_of(options),
        limit=options["limit"],
    )


def states_of(options: dict[str, Any], allowed: Sequence[str]) -> tuple[str, ...]:
    """Return the states that were named. Raises CommandError."""
    states = tuple(state.upper() for state in options["state"])
    for state in states:
        if state not in allowed:
            raise CommandError(
                f"--state {state} is not possible here. Expected: {', '.join(allowed)}.", returncode=USAGE
            )
    return states


def since_of(options: dict[str, Any]) -> int | None:
    """Return the moment of ``--since``. Raises CommandError."""
    return clock.now_ms() - duration_ms(options["since"]) if options["since"] else None


def ids_of(options: dict[str, Any]) -> list[str]:
    """Return the ids that were given. Raises CommandError."""
    try:
        return list(dict.fromkeys(parse_id(job_id) for job_id in options["ids"]))
    except ValueError as error:
        raise CommandError(str(error), returncode=USAGE) from error


def duration_ms(text: str) -> int:
    """Read "90s", "30m", "1h", "2d" or "1w". Raises CommandError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if found is None:
        raise CommandError(f"{text!r} is no age. Expected a number and s, m, h, d or w: 90s, 1h, 2d.", returncode=USAGE)
    return round(float(found[1]) * _SECONDS[found[2]] * 1000)


def recorded(wanted: Filter) -> list[str]:
    """Return the ids of jobs whose rows match, newest first; at most ``limit``."""
    found: list[str] = []
    for state in wanted.states:
        for job_id in _rows(wanted, state):
            if len(found) == wanted.limit:
                return found
            found.append(job_id)
    return found


def _rows(wanted: Filter, state: str) -> Iterator[str]:
    """Go through the rows of a state by its index, so that no query reads more than a page."""
    last: UUID | None = None
    while True:
        rows = JobResult.objects.using(settings.database).filter(state=state).order_by("-pk")
        page = list((rows if last is None else rows.filter(pk__lt=last)).values_list(
            "pk", "task", "queue", "finished_at", "enqueued_at"
        )[:PAGE])  # fmt: skip
        for pk, task, queue, finished_at, enqueued_at in page:
            if wanted.matches(task=task, queue=queue, moment_ms=clock.stamp_ms(finished_at or enqueued_at)):
                yield str(pk)
        if len(page) < PAGE:
            return
        last = page[-1][0]


def waiting(wanted: Filter) -> list[tuple[str, str]]:
    """Return (id, queue) of jobs that the broker has and that match; at most ``limit``."""
    broker = get_broker()
    queues = [wanted.queue] if wanted.queue else known_queues(broker)
    places = dict.fromkeys(PLACES[state] for state in wanted.states)
    found: list[tuple[str, str]] = []
    for queue in queues:
        for place in places:
            for job_id in _held(wanted, queue, place):
                if len(found) == wanted.limit:
                    return found
                found.append((job_id, queue))
    return found


def _held(wanted: Filter, queue: str, place: Place) -> Iterator[str]:
    broker, offset = get_broker(), 0
    while page := broker.peek(queue, place, limit=PAGE, offset=offset):
        for found in page:
            job = inspection.job_of(found)
            task, sent_ms = ("", None) if job is None else (job.task, job.enqueued_ms)
            if wanted.matches(task=task, queue=queue, moment_ms=sent_ms):
                yield found.id
        offset += len(page)
