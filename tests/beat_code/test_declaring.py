"""``@job(schedule=...)`` and ``DJANGO_JOBS["SCHEDULE"]``: what is wrong is said where it is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_jobs import crontab, job
from django_jobs.beat.declared import declarations, mistakes
from django_jobs.conf import Section, nearest
from django_jobs.exceptions import JobsConfigurationError
from tests.app.jobs import nothing
from tests.beat_code.conftest import ADD, ECHO, NOTHING, declaring, entry


def tidy_up() -> None:
    """
    Tidy up.

    Every day.
    """


def of_a_day(day: Any) -> None: ...


def wrong(given: dict[str, Any], name: str = "nightly") -> str:
    with declaring(**{name: given}):
        (found,) = mistakes()
        with pytest.raises(JobsConfigurationError) as raised:
            declarations()
    assert str(raised.value) == found
    assert found.startswith(f"DJANGO_JOBS['SCHEDULE'][{name!r}]")
    return found


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (crontab(hour=3, minute=0), "0 3 * * *"),
        ("every 15 minutes", "every 15 minutes"),
        (timedelta(hours=2), "every 2 hours"),
        (30, "every 30 seconds"),
        ("at 2020-12-24 18:00", "at 2020-12-24 18:00"),
    ],
)
@pytest.mark.usefixtures("registered")
def test_a_task_declares_its_schedule(given: Any, stored: str):
    periodic = job(name="periodic", schedule=given)(tidy_up)
    assert str(periodic.schedule).startswith(stored)
    (declaration,) = declarations()
    assert declaration.name == "periodic"
    told = {name: declaration.values[name] for name in ("task", "schedule", "description", "args", "enabled")}
    assert told["schedule"].startswith(stored)
    assert (told["task"], told["description"], told["args"], told["enabled"]) == ("periodic", "Tidy up.", "[]", True)


@pytest.mark.usefixtures("registered")
def test_the_settings_have_the_last_word():
    job(name="periodic", schedule="@daily")(tidy_up)
    with declaring(periodic={"enabled": False}):
        (declaration,) = declarations()
    assert (declaration.values["schedule"], declaration.values["enabled"]) == ("@daily", False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("every now and then", "schedule= is wrong. "),
        ("30 25 * * *", "schedule= is wrong. "),
        (0, "schedule= is wrong. "),
        (True, "schedule= is wrong. A schedule is crontab(...)"),
    ],
)
def test_a_wrong_schedule_is_an_error_where_it_is_written(given: Any, expected: str):
    with pytest.raises(JobsConfigurationError, match="@job of periodic: ") as raised:
        job(name="periodic", schedule=given)(tidy_up)

    assert expected in str(raised.value)


def test_a_task_that_needs_arguments_cannot_declare_its_schedule():
    with pytest.raises(JobsConfigurationError, match=r"runs it without arguments.*missing a required argument: 'day'"):
        job(name="periodic", schedule="@daily")(of_a_day)


@pytest.mark.usefixtures("registered")
def test_a_bound_task_can():
    assert job(name="periodic", bind=True, schedule="@daily")(of_a_day).schedule is not None


def test_a_schedule_is_no_option_of_a_call():

    with pytest.raises(JobsConfigurationError, match="It stands in @job itself"):
        nothing.apply_async(schedule="@daily")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"schedule": "@daily"}, " has no 'task': the name of a task."),
        ({"task": NOTHING}, " has no 'schedule': crontab(...)"),
        (entry(task=None), "['task'] must be the name of a task, not None."),
        (entry(task="tests.app.jobs.nothin"), "['task']: No task is called 'tests.app.jobs.nothin'. Did you mean"),
        (entry(schedule="30 25 * * *"), "['schedule']: "),
        (entry(schedule="0 0 31 2 *"), "['schedule']: "),
        (entry(timezone="Europe/Berlim"), "['timezone']: 'Europe/Berlim' is no "),
        (entry(task=ADD, args=[1]), "['args']: These arguments do not fit tests.app.jobs.add("),
        (entry(task=ECHO, args=[object()]), "['args']: argument 1 is of type builtins.object, which a job cannot"),
        (entry(args="ab"), "['args'] must be a list, not 'ab'."),
        (entry(task=ECHO, kwargs={1: 2}), "['kwargs']: The name of an argument is a text, not 1."),
        (entry(queue="a b"), "['queue']: The name of a queue is 1 to 64"),
        (entry(priority=101), "['priority']: A priority is a whole number from -100 to 100"),
        (entry(headers={"a": 1}), "['headers']: Headers are texts; that of 'a' is not."),
        (
            entry(expires=0.5),
            "['expires'] must be a timedelta or a number of whole seconds, above 0, or None, not 0.5.",
        ),
        (entry(jitter=-1), "['jitter'] must be"),
        (entry(starts=datetime(2030, 1, 1)), "['starts']: starts= got the naive datetime"),  # noqa: DTZ001
        (entry(starts="2030-01-01"), "['starts'] must be a datetime, or None"),
        (entry(catch_up="always"), "['catch_up'] must be 'one', 'skip' or 'all', not 'always'."),
        (entry(overlap=True), "['overlap'] must be 'allow' or 'skip', not True."),
        (entry(quue="mail"), " has no key 'quue'. Did you mean 'queue'? Known: task, schedule, "),
        (entry(options={"queue": "mail"}), " has no key 'options'. Write its entries as keys of their own"),
        (entry(relative=True), " has no key 'relative'. Write the schedule as a crontab"),
        (entry(tz="UTC"), " has no key 'tz'. It is called timezone."),
        (entry(countdown=3), " has no key 'countdown'. The schedule says when"),
        (entry(max_retries=3), " has no key 'max_retries'. That is of the task"),
        (entry(task=ECHO, kwargs={"valu": 1}), "['kwargs']: These arguments do not fit"),
        (entry(expire_seconds=3), " has no key 'expire_seconds'. It is called expires."),
    ],
)
def test_a_wrong_entry_is_named(given: dict[str, Any], expected: str):
    assert expected in wrong(given)


def test_a_name_is_not_too_long():
    assert "a name has 1 to 191 characters" in wrong(entry(), name="n" * 192)


def test_ends_comes_after_starts():

    starts = datetime(2030, 1, 1, tzinfo=UTC)
    assert "['ends']: It would end before it starts." in wrong(entry(starts=starts, ends=starts))


@pytest.mark.usefixtures("registered")
def test_a_name_that_is_nearly_that_of_a_task():
    job(schedule="@daily", name="shop.jobs.report")(tidy_up)
    with declaring(**{"shop.jobs.reprot": {"enabled": False}}):
        assert "Did you mean 'shop.jobs.report'?" in " ".join(mistakes())


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("timezone", "DJANGO_JOBS['SCHEDULE'] = {NAME: {'task': ..., 'timezone': ...}}"),
        ("overlap", "DJANGO_JOBS['SCHEDULE']"),
        ("run_every", "It is called schedule"),
    ],
)
def test_what_goes_into_the_settings(option: str, hint: str):
    given: Any = {option: "x"}
    with pytest.raises(JobsConfigurationError) as raised:
        job(schedule="@daily", **given)(tidy_up)
    assert hint in str(raised.value)
    assert "Known options" not in str(raised.value)


def test_the_last_part_of_a_name_will_do():
    assert nearest("reprt", ["full report", "shop.jobs.report"]) == " Did you mean 'shop.jobs.report'?"


def test_the_time_zone_is_that_of_the_project():
    assert Section("DJANGO_JOBS", {}, {"TIMEZONE": "UTC"}).problems() == [
        "DJANGO_JOBS has no key 'TIMEZONE'. Instead: TIME_ZONE. Known: ."
    ]
