"""import-celery-beat: what django-celery-beat has in its tables means the same here, or is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, models
from django.test import override_settings

from django_jobs.models import PeriodicTask
from django_jobs.registry import registry
from django_jobs.serializers import loads
from tests.beat_code.celery_tables import LATER, Clocked, Crontab, Interval, Solar, celery_tables, theirs
from tests.beat_code.celery_tables import PeriodicTask as Theirs
from tests.beat_code.conftest import ADD, ECHO, NOTHING, declaring, entry, row

Run = Callable[..., Any]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tables() -> Iterator[None]:
    with celery_tables():
        yield


def imported(jobs_command: Run, *flags: str) -> Any:
    return jobs_command("schedule", "import-celery-beat", "--json", *flags).document


@pytest.mark.parametrize(
    ("schedule", "stored", "zone"),
    [
        (Interval(every=15, period="minutes"), "every 15 minutes", ""),
        (Interval(every=7, period="days"), "every 1 week", ""),
        (Interval(every=500_000, period="microseconds"), "every 0.5 seconds", ""),
        (Crontab(minute="30", hour="2", timezone="Europe/Berlin"), "30 2 * * *", "Europe/Berlin"),
        (Crontab(minute="0", hour="*/2", day_of_week="mon, fri"), "0 */2 * * mon,fri", "UTC"),
        (Crontab(minute="0", hour="0", day_of_month="*/2", day_of_week="1"), "0 0 */2 * 1", "UTC"),
        (Solar(event="dusk_civil", latitude="52.520000", longitude="-13.4"), "dusk 52.52 -13.4", ""),
        (Solar(event="solar_noon", latitude="1", longitude="2"), "noon 1 2", ""),
        (Clocked(clocked_time=LATER), "at 2035-01-02 03:04:05+00:00", ""),
    ],
    ids=str,
)
@pytest.mark.usefixtures("tables")
def test_schedules(schedule: models.Model, stored: str, zone: str, jobs_command: Run):
    schedule.pk = None
    theirs("nightly", schedule)
    assert imported(jobs_command) == {"imported": {"nightly": []}, "present": [], "refused": {}}
    assert (row().schedule, row().timezone, row().origin) == (stored, zone, "admin")
    row().full_clean()


@pytest.mark.usefixtures("tables")
def test_columns(jobs_command: Run):
    theirs(
        "nightly",
        Interval(every=1, period="hours"),
        ECHO,
        args='[{"$": "set", "v": [1]}]',
        queue="mail",
        headers='{"tenant": "a", "retries": 3}',
        priority=6,
        expires=LATER,
        one_off=True,
        start_time=datetime(2034, 5, 6, tzinfo=UTC),
        enabled=False,
        description="Every hour.",
        exchange="tasks",
        routing_key="mail.fast",
    )
    theirs("expiring", Interval(every=1, period="hours"), ECHO, kwargs='{"value": 1}', expire_seconds=30)
    answer = jobs_command("schedule", "import-celery-beat")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "expiring: every 1 hour, tests.app.jobs.echo, expires after 30 s",
        (
            "nightly: every 1 hour, tests.app.jobs.echo, queue mail, starts 2034-05-06 00:00:00+00:00,"
            " ends 2035-01-02 03:04:05+00:00, one-off, disabled"
        ),
        "    exchange='tasks' is left out: there is none here, name a queue.",
        "    routing_key='mail.fast' is left out: there is none here, name a queue.",
        "    priority=6 of Celery on Redis, where 0 runs first, is -6 here.",
        "    The header 'retries' is the text '3' now.",
        "2 imported, 0 left alone, 0 cannot be mapped.",
    ]
    made = row()
    assert loads(made.args) == [{"$": "set", "v": [1]}], "what JSON says there is no wire type of ours"
    assert (made.queue, made.priority, json.loads(made.headers)) == ("mail", -6, {"tenant": "a", "retries": "3"})
    assert (made.ends, made.starts, made.one_off) == (LATER, datetime(2034, 5, 6, tzinfo=UTC), True)
    assert (made.enabled, made.description, made.expires) == (False, "Every hour.", None)
    assert (row("expiring").expires, loads(row("expiring").kwargs)) == (30, {"value": 1})


@pytest.mark.usefixtures("tables")
def test_priorities_of_rabbitmq_are_not_upside_down(jobs_command: Run):
    theirs("nightly", Interval(every=1, period="hours"), priority=6)
    with override_settings(CELERY_BROKER_URL="amqp://localhost"):
        assert imported(jobs_command)["imported"] == {"nightly": ["priority=6 of RabbitMQ is 6 here."]}
    assert row().priority == 6


@pytest.mark.parametrize(
    ("schedule", "columns", "why"),
    [
        (Interval(every=10, period="microseconds"), {}, "An interval is from 0.1 seconds to a century"),
        (Interval(every=1, period="fortnights"), {}, "'fortnights' is none of"),
        (Interval(every=10**9, period="days"), {}, ""),
        (Crontab(day_of_month="1", day_of_week="mon"), {}, "both '1' of the month and 'mon' of the week"),
        (Crontab(minute="61"), {}, "61"),
        (Crontab(timezone="Mars/Olympus"), {}, "timezone: 'Mars/Olympus' is no"),
        (Solar(event="dawn_nautical", latitude="1", longitude="2"), {}, "There is no 'dawn_nautical' here"),
        (Clocked(clocked_time=datetime(2020, 1, 1, tzinfo=UTC)), {}, "schedule: This moment has passed."),
        (Interval(every=1, period="days"), {"task": "shop.gone"}, "@job(aliases=['shop.gone'])"),
        (Interval(every=1, period="days"), {"task": ADD}, "args: These arguments do not fit"),
        (Interval(every=1, period="days"), {"args": "{}"}, "no JSON list"),
        (Interval(every=1, period="days"), {"args": "[1"}, ""),
        (Interval(every=1, period="days"), {"queue": "a b"}, "queue: The name of a queue is"),
        (Interval(every=1, period="days"), {"name": "n" * 192}, "longer than 191 characters"),
        (Interval(every=1, period="days"), {"expires": datetime(2020, 1, 1, tzinfo=UTC)}, "ends: It would end before"),
        (Interval(every=1, period="days"), {"interval_id": None}, "It has no schedule."),
    ],
    ids=str,
)
@pytest.mark.usefixtures("tables")
def test_what_cannot_be_mapped(schedule: models.Model, columns: dict[str, Any], why: str, jobs_command: Run):
    schedule.pk = None
    theirs(**{"name": "nightly", "schedule": schedule, **columns})
    theirs("other", Interval(every=1, period="days"))
    answer = jobs_command("schedule", "import-celery-beat", "--json")
    assert answer.code == 1
    (told,) = answer.document["refused"].values()
    assert why in told
    assert told
    assert list(PeriodicTask.objects.values_list("name", flat=True)) == ["other"], "one bad row stops no other"


@pytest.mark.usefixtures("tables")
def test_the_housekeeping_of_celery_is_left_out(jobs_command: Run):
    theirs("celery.backend_cleanup", Crontab(minute="0", hour="4"), "celery.backend_cleanup")
    answer = jobs_command("schedule", "import-celery-beat")
    assert (answer.code, answer.out) == (0, "0 imported, 0 left alone, 0 cannot be mapped.\n")
    assert not PeriodicTask.objects.exists()


@pytest.mark.usefixtures("tables")
def test_importing_twice_changes_nothing(jobs_command: Run):
    theirs("nightly", Interval(every=1, period="days"))
    imported(jobs_command)
    PeriodicTask.objects.update(schedule="@daily")
    answer = jobs_command("schedule", "import-celery-beat")
    assert (answer.code, answer.out) == (
        0,
        "nightly: there already, left alone\n0 imported, 1 left alone, 0 cannot be mapped.\n",
    )
    assert imported(jobs_command)["present"] == ["nightly"]
    assert row().schedule == "@daily"


@pytest.mark.usefixtures("tables")
def test_what_code_declares_is_left_to_the_code(jobs_command: Run):
    theirs("nightly", Interval(every=1, period="days"))
    with declaring(nightly=entry()):
        assert jobs_command("schedule", "import-celery-beat").out.startswith("nightly: declared in code, left alone\n")
    assert not PeriodicTask.objects.exists()


@pytest.mark.usefixtures("tables")
def test_a_dry_run_makes_nothing(jobs_command: Run):
    theirs("nightly", Interval(every=1, period="days"))
    assert "1 would be imported" in jobs_command("schedule", "import-celery-beat", "--dry-run").out
    assert not PeriodicTask.objects.exists()


@pytest.mark.usefixtures("tables")
def test_an_old_name_of_a_task_is_known_by_its_alias(jobs_command: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(registry._tasks, "shop.tasks.old", registry[NOTHING])
    theirs("nightly", Interval(every=1, period="days"), "shop.tasks.old")
    imported(jobs_command)
    assert row().task == NOTHING


@pytest.mark.usefixtures("tables")
def test_an_old_version_of_their_tables(jobs_command: Run):
    theirs("nightly", Interval(every=1, period="days"))
    fields: list[Any] = [Theirs._meta.get_field(name) for name in ("expire_seconds", "headers", "priority", "one_off")]
    with connection.schema_editor() as editor:
        for column in fields:
            editor.remove_field(Theirs, column)
    assert imported(jobs_command)["imported"] == {"nightly": []}


def test_there_are_no_tables(jobs_command: Run):
    answer = jobs_command("schedule", "import-celery-beat")
    assert answer.code == 2
    assert "has no table django_celery_beat_periodictask" in answer.err
    answer = jobs_command("schedule", "import-celery-beat", "--database", "defualt")
    assert (answer.code, "Did you mean 'default'?" in answer.err) == (2, True)
