"""schedule list, next, run, enable, disable, sync, import-celery-beat: what an operator does to periodic tasks."""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from django_jobs import clock
from django_jobs.beat import damage, due, sync
from django_jobs.beat.damage import Damaged
from django_jobs.beat.firing import fire_now
from django_jobs.beat.validation import named, over, problems
from django_jobs.conf import nearest, settings
from django_jobs.exceptions import InvalidSchedule, JobsConfigurationError
from django_jobs.inspection import span
from django_jobs.management.jobs.celery_beat import import_celery_beat
from django_jobs.management.jobs.choosing import PAGE
from django_jobs.management.jobs.screen import USAGE, Screen
from django_jobs.models import PeriodicTask
from django_jobs.models.periodic import Outcome
from django_jobs.models.validation import aware
from django_jobs.schedules import parse, zone_named
from django_jobs.schedules.preview import coming

HEADS = ("name", "task", "schedule", "next run", "last run", "runs", "")
MICROSECOND = timedelta(microseconds=1)
SYNC = "Start beat, or run manage.py jobs schedule sync."
NEXT_OF_ONE, NEXT_OF_ALL = 5, 10


def declare(parser: CommandParser) -> None:
    """Declare the actions of ``schedule`` and their flags."""
    subparsers = parser.add_subparsers(dest="schedule_action", required=True, metavar="ACTION")

    def action(name: str) -> CommandParser:
        text = (ACTIONS[name].__doc__ or "").strip().splitlines()[0]
        made: CommandParser = subparsers.add_parser(name, help=text, description=text)
        # Wherever the flag stands: its default is that of the parser above.
        made.add_argument("--json", action="store_true", dest="as_json", default=argparse.SUPPRESS,
                          help="Answer with one JSON document.")  # fmt: skip
        return made

    action("list")
    (following := action("next")).add_argument("name", nargs="?", metavar="NAME", help="Default: all that are enabled.")
    following.add_argument(
        "--count", type=_count, metavar="COUNT", help=f"So many; default {NEXT_OF_ONE}, of all {NEXT_OF_ALL}."
    )
    action("run").add_argument("name", metavar="NAME")
    for name in ("enable", "disable"):
        action(name).add_argument("names", nargs="+", metavar="NAME")
    action("sync").add_argument("--dry-run", action="store_true", help="Say what it would change, and change nothing.")
    importing = action("import-celery-beat")
    importing.add_argument("--dry-run", action="store_true", help="Say what it would make, and make nothing.")
    importing.add_argument("--database", metavar="ALIAS", help="Where its tables are; default: where ours are.")


def schedule(screen: Screen, options: dict[str, Any]) -> int:
    """Look at periodic tasks, and do something about them."""
    return ACTIONS[options["schedule_action"]](screen, options)


def _list(screen: Screen, options: dict[str, Any]) -> int:
    """List the periodic tasks: when each runs next, when it ran last, and what is wrong with it."""
    rows = [
        _described_as_damaged(row) if isinstance(row, Damaged) else _described(row)
        for row in damage.scan(_rows().order_by("name"))
    ]
    if screen.as_json:
        screen.document(rows)
        return 0
    unsynced = _unsynced()
    if rows:
        screen.table(HEADS, [_line(row) for row in rows])
    elif not unsynced:
        screen.say("There are no periodic tasks.")
    if unsynced:
        screen.say(f"Declared in code, and not synced yet: {', '.join(unsynced)}. {SYNC}")
    return 0


def _rows() -> Any:
    return PeriodicTask.objects.using(settings.database)


def _unsynced() -> list[str]:
    """Name what the code declares and no row has yet; nothing when what it declares is wrong, which others say."""
    try:
        return [change.name for change in sync.sync(dry_run=True) if change.kind is sync.Kind.CREATED]
    except JobsConfigurationError:
        return []


def _named(name: str, *columns: str) -> PeriodicTask:
    """Return a row by its name, or these columns of it. Raises CommandError with the nearest one."""
    asked = _rows().filter(name=name)
    found, damaged = (list(asked.only(*columns)), []) if columns else damage.read(asked)
    if damaged:
        raise CommandError(f"{name}: {_advice(damaged[0])}.", returncode=1)
    if not found:
        unsynced = _unsynced()
        if name in unsynced:
            raise CommandError(f"{name!r} is declared in code, and not synced yet. {SYNC}", returncode=USAGE)
        names = [*_rows().values_list("name", flat=True), *unsynced]
        raise CommandError(f"No periodic task is called {name!r}.{nearest(name, names)}", returncode=USAGE)
    return found[0]


def _advice(row: Damaged) -> str:
    return f"{row.why}, which cannot be read: correct the row with the key {row.pk} by SQL"


def _described(row: PeriodicTask) -> dict[str, Any]:
    wrong = problems(row) if row.enabled else {}
    return {
        "name": row.name,
        "task": row.task,
        "schedule": row.schedule,
        "timezone": row.timezone or timezone.get_default_timezone_name(),
        "enabled": row.enabled,
        "origin": row.origin,
        "retired": bool(row.retired),
        # Of what cannot be planned it is when beat looks at it again.
        "next_ms": None if wrong.keys() & {"schedule", "timezone"} else _ms(_next(row)),
        "last_ms": _ms(row.last_run),
        "last_job": None if row.last_job is None else str(row.last_job),
        "runs": row.total_runs,
        "problems": wrong,
        "over": over(row) if row.enabled and not wrong.keys() & {"schedule", "timezone", "starts", "ends"} else "",
        "differs_from_code": sorted(sync.drift(row)),
    }


def _described_as_damaged(row: Damaged) -> dict[str, Any]:
    """Return what can be said of a row that cannot be read."""
    known = row.values
    return {
        "name": row.name,
        **{name: known.get(name) or "" for name in ("task", "schedule")},
        "timezone": known.get("timezone") or timezone.get_default_timezone_name(),
        "enabled": known.get("enabled"),
        "origin": known.get("origin"),
        "retired": bool(known.get("retired")),
        "next_ms": None,
        "last_ms": _ms(known.get("last_run")),
        "last_job": None if known.get("last_job") is None else str(known["last_job"]),
        "runs": known.get("total_runs"),
        "problems": dict.fromkeys(row.broken, _advice(row)),
        "over": "",
        "differs_from_code": [],
    }


def _next(row: PeriodicTask) -> datetime | None:
    """Return what beat has planned; of a row that it has not seen yet, what it is going to plan."""
    if not row.enabled or due.is_planned(row):
        return row.next_run
    return next(_moments(row, clock.now()), None)


def _moments(row: PeriodicTask, after: datetime) -> Iterator[datetime]:
    try:
        zone = zone_named(row.timezone or timezone.get_default_timezone_name())
        yield from due.upcoming(row, parse(row.schedule), zone, after)
    except (InvalidSchedule, OverflowError):
        return  # the column of remarks says it


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else clock.to_ms(aware(moment))


def _line(row: Mapping[str, Any]) -> tuple[object, ...]:
    zone = "" if row["timezone"] == timezone.get_default_timezone_name() else f" ({row['timezone']})"
    times = (_shown(row["next_ms"]), _shown(row["last_ms"]))
    return (row["name"], row["task"], row["schedule"] + zone, *times, row["runs"], "; ".join(_remarks(row)))


def _remarks(row: Mapping[str, Any]) -> Iterator[str]:
    if row["retired"]:
        yield "retired: the code does not declare it any more" + (", but enabled" if row["enabled"] else "")
    elif not row["enabled"]:
        yield "disabled"
    if row["over"]:
        yield row["over"] if row["last_ms"] else f"never runs: {row['over']}"
    late_ms = clock.now_ms() - (row["next_ms"] or clock.now_ms())
    if row["enabled"] and late_ms > (settings.beat_ms("LATE") or 0):
        yield f"overdue for {span(late_ms)}"
    yield from dict.fromkeys(named(field, text) for field, text in row["problems"].items())
    if row["differs_from_code"]:
        yield f"differs from the code: {', '.join(row['differs_from_code'])}"


def _shown(moment_ms: int | None) -> str:
    """Write a moment in the project's time zone, with its offset: nobody has to know whose clock it is."""
    if moment_ms is None:
        return "-"
    moment = clock.from_ms(moment_ms).astimezone(timezone.get_default_timezone())
    return moment.isoformat(sep=" ", timespec="seconds")


def _coming(screen: Screen, options: dict[str, Any]) -> int:
    """Say when periodic tasks run next, and what a clock change does to that."""
    if options["name"] is None:
        return _coming_of_all(screen, options["count"] or NEXT_OF_ALL)
    row = _named(options["name"])
    try:
        planned, zone = parse(row.schedule), zone_named(row.timezone or timezone.get_default_timezone_name())
    except InvalidSchedule as error:
        raise CommandError(f"{row.name} cannot be planned. {error}", returncode=1) from error
    moments = list(islice(_moments(row, clock.now()), options["count"] or NEXT_OF_ONE))
    remarks: dict[datetime, str] = {}
    if moments:
        anchor = aware(row.starts or row.created)
        remarks = dict(coming(planned, zone, moments[0] - MICROSECOND, anchor, len(moments)))
    if screen.as_json:
        screen.document([{"name": row.name, "due_ms": _ms(at), "remark": remarks.get(at, "")} for at in moments])
        return 0
    if not moments:
        screen.say(f"{row.name} does not run any more.")
    for moment in moments:
        at = moment.astimezone(zone).isoformat(sep=" ", timespec="seconds")
        screen.say(f"{at}  {remarks.get(moment, '')}".rstrip())
    if not row.enabled:
        screen.say("It is disabled: this is when it would run.")
    return 0


def _coming_of_all(screen: Screen, number: int) -> int:
    now = clock.now()
    rows, damaged = damage.read(_rows().filter(enabled=True).order_by("name"))
    found = list(islice(heapq.merge(*(_of(row, now) for row in rows)), number))
    for broken in damaged:
        screen.say(f"{broken} cannot be read.")
    if screen.as_json:
        screen.document([{"name": name, "due_ms": _ms(moment)} for moment, name in found])
        return 0
    if not found:
        screen.say("Nothing is going to run.")
    for moment, name in found:
        screen.say(f"{_shown(_ms(moment))}  {name}")
    return 0


def _of(row: PeriodicTask, after: datetime) -> Iterator[tuple[datetime, str]]:
    return ((moment, row.name) for moment in _moments(row, after))


def _run(screen: Screen, options: dict[str, Any]) -> int:
    """Send the job of a periodic task now, with its own queue, priority and headers. 1: it was refused."""
    run = fire_now(_named(options["name"]), user="manage.py jobs")
    sent = run.outcome == Outcome.SENT
    if screen.as_json:
        job_id = None if run.job_id is None else str(run.job_id)
        screen.document({"name": options["name"], "outcome": run.outcome, "id": job_id, "detail": run.detail})
    elif sent:
        screen.say(str(run.job_id))
    else:
        raise CommandError(f"{options['name']} was {run.outcome}: {run.detail}", returncode=1)
    return int(not sent)


def _enable(screen: Screen, options: dict[str, Any]) -> int:
    """Enable periodic tasks. What was missed while they were off is not made up for. 1: some cannot run."""
    rows = [_named(name) for name in dict.fromkeys(options["names"])]
    refused: dict[str, dict[str, str]] = {}
    for row in rows:
        row.enabled = True
        wrong = problems(row)
        if wrong:
            refused[row.name] = wrong
        else:
            _rows().filter(pk=row.pk).update(enabled=True)
    enabled = [row for row in rows if row.name not in refused]
    done = [row.name for row in enabled]
    if screen.as_json:
        screen.document({"enabled": done, "refused": refused})
        return int(bool(refused))
    if done:
        screen.say(f"{', '.join(done)}: enabled.")
    for row in enabled:
        if row.retired:
            screen.say(f"{row.name}: it is retired: the code does not declare it any more, and it runs all the same.")
        if why := over(row):
            screen.say(f"{row.name}: it does not run any more: {why}.")
    for name, wrong in refused.items():
        for field, text in wrong.items():
            screen.say(f"{name}: left as it is, {field}: {text}")
    return int(bool(refused))


def _disable(screen: Screen, options: dict[str, Any]) -> int:
    """Disable periodic tasks. Jobs that were sent already run."""
    rows = [_named(name, "name") for name in dict.fromkeys(options["names"])]  # also one that cannot be read
    _rows().filter(pk__in=[row.pk for row in rows]).update(enabled=False)
    names = [row.name for row in rows]
    if screen.as_json:
        screen.document({"disabled": names})
    else:
        screen.say(f"{', '.join(names)}: disabled.")
    return 0


def _sync(screen: Screen, options: dict[str, Any]) -> int:
    """Make the periodic tasks follow what the code declares; edits stay. 1: a name is taken by one of the admin."""
    changes = sync.sync(dry_run=options["dry_run"])
    if screen.as_json:
        screen.document(changes)
    else:
        for change in changes:
            screen.say(str(change))
        if not any(change.writes for change in changes):
            screen.say("Nothing to change.")
        elif options["dry_run"]:
            screen.say("Nothing was changed: without --dry-run it is.")
    return int(any(change.kind in (sync.Kind.CONFLICT, sync.Kind.UNREADABLE) for change in changes))


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= PAGE:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {PAGE}")
    return int(text)


ACTIONS: Mapping[str, Callable[[Screen, dict[str, Any]], int]] = {
    "list": _list,
    "next": _coming,
    "run": _run,
    "enable": _enable,
    "disable": _disable,
    "sync": _sync,
    "import-celery-beat": import_celery_beat,
}
