"""The form of a periodic task: what it saves, what it refuses, and what it says before that."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from django_jobs import clock
from django_jobs.models import PeriodicTask
from django_jobs.models.periodic import Origin
from django_jobs.registry import registry
from django_jobs.schedules import parse
from tests.admin import tasks
from tests.admin.results import EVIL, client_with
from tests.admin.schedules import PERIODIC, declared, filled, make_periodic, make_run

PREVIEW = f"{PERIODIC}preview/"


def change(row: PeriodicTask) -> str:
    return f"{PERIODIC}{row.pk}/change/"


def page_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return str(response.content.decode())


def errors(client: Client, url: str, data: dict[str, Any]) -> dict[str, str]:
    """Post a form that is refused, and return what is said of each field."""
    response = client.post(url, data)
    assert response.status_code == 200, "it was saved"
    form = response.context["adminform"].form
    return {name: " ".join(texts) for name, texts in form.errors.items()}


class TestSaving:
    def test_weekdays_at_nine(self, operator):
        assert operator.post(f"{PERIODIC}add/", filled()).status_code == 302
        row = PeriodicTask.objects.get()
        assert (row.name, row.schedule, row.task) == ("nightly", "0 9 * * mon-fri", tasks.export_csv.name)
        assert (row.origin, row.enabled, row.next_run) == (Origin.ADMIN, True, None)
        assert LogEntry.objects.get().object_id == str(row.pk)

    def test_every_fifteen_minutes(self, operator):
        data = filled(schedule_kind="every", schedule_days=None)
        assert operator.post(f"{PERIODIC}add/", data).status_code == 302
        assert PeriodicTask.objects.get().schedule == "every 15 minutes"

    def test_only_what_was_edited_is_written(self, operator):
        row = make_periodic(schedule="0 9 * * 1-5")
        moved = clock.now() + timedelta(days=3)
        # As when beat has fired it between the page and the click.
        page_of(operator, change(row))
        PeriodicTask.objects.filter(pk=row.pk).update(next_run=moved, total_runs=7, queue="mail")
        before = PeriodicTask.objects.get()
        assert operator.post(change(row), filled(description="new", queue="mail")).status_code == 302
        after = PeriodicTask.objects.get()
        assert after.description == "new"
        assert (after.next_run, after.total_runs, after.schedule) == (moved, 7, "0 9 * * 1-5")
        assert before.wake == after.wake

    def test_what_beat_writes_meanwhile_is_not_overwritten(self, operator, monkeypatch):
        row = make_periodic(schedule="0 9 * * mon-fri")
        original = PeriodicTask.full_clean

        def beat_comes(self: PeriodicTask, *args: Any, **kwargs: Any) -> None:
            PeriodicTask.objects.filter(pk=row.pk).update(total_runs=9)
            original(self, *args, **kwargs)

        monkeypatch.setattr(PeriodicTask, "full_clean", beat_comes)
        assert operator.post(change(row), filled(description="new")).status_code == 302
        row.refresh_from_db()
        assert (row.description, row.total_runs) == ("new", 9)

    def test_an_imported_moment_is_shown_where_moments_are_and_stays_as_it_was(self, operator):
        text = "at 2099-11-24 17:16:52.640050+00:00"
        row = make_periodic(schedule=text, timezone="Europe/Vienna")
        page = page_of(operator, change(row))
        assert 'name="schedule_moment" value="2099-11-24T17:16:52"' in page
        assert 'name="schedule_offset" value="+00:00"' in page
        said = {"schedule_kind": "once", "schedule_moment": "2099-11-24T17:16:52", "schedule_offset": "+00:00"}
        assert operator.post(change(row), filled(description="new", **said)).status_code == 302
        assert PeriodicTask.objects.get().schedule == text
        said["schedule_moment"] = "2099-11-24T18:00"
        assert operator.post(change(row), filled(**said)).status_code == 302
        assert PeriodicTask.objects.get().schedule == "at 2099-11-24 18:00+00:00"

    def test_limits_say_whose_clock_they_mean(self, operator, settings):
        settings.TIME_ZONE = "Asia/Kolkata"
        page = page_of(operator, change(make_periodic(timezone="Europe/Vienna")))
        assert "No run before. In the time zone Asia/Kolkata." in page
        assert "No run after. In the time zone Asia/Kolkata." in page

    def test_a_name_is_taken_once(self, operator):
        make_periodic("nightly")
        assert "of this name" in errors(operator, f"{PERIODIC}add/", filled())["name"]
        row = make_periodic("other")
        assert "of this name" in errors(operator, change(row), filled())["name"]

    def test_the_name_of_a_row_of_the_code_stays(self, operator):
        row = declared(make_periodic(schedule="0 9 * * mon-fri"))
        assert operator.post(change(row), filled(name="renamed", queue="mail")).status_code == 302
        row.refresh_from_db()
        assert (row.name, row.queue) == ("nightly", "mail")


class TestRefusing:
    @pytest.mark.parametrize(
        ("values", "field", "says"),
        [
            ({"task": "old.jobs.gone"}, "task", "No task is called"),
            ({"kwargs": "nonsense"}, "kwargs", "no JSON"),
            ({"kwargs": "[1]"}, "kwargs", "object"),
            ({"args": "7"}, "args", "list"),
            ({"kwargs": '{"other": 1}'}, "kwargs", "do not fit"),
            ({"headers": '{"a": 1}'}, "headers", "texts"),
            ({"timezone": "Mars/Olympus"}, "timezone", "Mars/Olympus"),
            ({"queue": "no good"}, "queue", "queue"),
            ({"priority": "1000"}, "priority", "100"),
            ({"schedule_kind": "text", "schedule_text": "61 * * * *"}, "schedule", "61"),
            ({"schedule_kind": "text", "schedule_text": "0 0 30 2 *"}, "schedule", ""),
            ({"schedule_kind": "once", "schedule_moment": "2001-01-01T00:00"}, "schedule", "passed"),
            ({"starts_0": "2030-01-02", "starts_1": "00:00", "ends_0": "2030-01-01", "ends_1": "00:00"}, "ends", "end"),
        ],
    )
    def test_what_could_not_run_is_said_at_its_field(self, operator, values, field, says):
        found = errors(operator, f"{PERIODIC}add/", filled(**values))
        assert list(found) == [field]
        assert says in found[field]
        assert not PeriodicTask.objects.exists()

    def test_what_was_said_stays_in_the_fields(self, operator):
        response = operator.post(
            f"{PERIODIC}add/", filled(kwargs="nonsense", schedule_kind="every", schedule_count="7")
        )
        page = response.content.decode()
        assert re.search(r'value="every" checked', page)
        assert 'name="schedule_count" value="7"' in page
        assert "Every 7 minutes" in page

    def test_a_row_whose_task_is_gone_can_be_switched_off_and_not_on(self, operator):
        row = make_periodic(task="old.jobs.gone", schedule="0 9 * * mon-fri")
        page = page_of(operator, change(row))
        assert '<option value="old.jobs.gone" selected>old.jobs.gone (no such task)</option>' in page
        assert "No task is called" in page
        assert operator.post(change(row), filled(task="old.jobs.gone", enabled=None)).status_code == 302
        row.refresh_from_db()
        assert row.enabled is False
        assert "task" in errors(operator, change(row), filled(task="old.jobs.gone"))

    def test_a_broken_schedule_can_be_left_and_mended(self, operator):
        row = make_periodic(schedule="61 * * * *")
        data = filled(schedule_kind="text", schedule_text="61 * * * *", enabled=None)
        assert "61" in errors(operator, change(row), data)["schedule"]
        assert operator.post(change(row), filled()).status_code == 302

    def test_arguments_are_judged_again_when_the_task_changes(self, operator):
        row = make_periodic(schedule="0 9 * * mon-fri")
        assert "kwargs" in errors(operator, change(row), filled(task=tasks.send_receipt.name))

    def test_hostile_texts_are_texts(self, operator):
        values = dict.fromkeys(("name", "kwargs", "description", "queue", "timezone", "schedule_text"), EVIL)
        response = operator.post(f"{PERIODIC}add/", filled(schedule_kind="text", **values))
        assert response.status_code == 200
        assert EVIL not in response.content.decode()
        row = make_periodic(EVIL, description=EVIL, kwargs=json.dumps({"report": EVIL}), headers=EVIL)
        make_run(row, outcome="refused", detail=EVIL)
        assert EVIL not in page_of(operator, change(row))


class TestPreview:
    def ask(self, client: Client, **values: Any) -> dict[str, Any]:
        response = client.get(PREVIEW, filled(**values))
        assert response.status_code == 200
        assert response["Content-Type"] == "application/json"
        return dict(response.json())

    @pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
    @pytest.mark.parametrize("text", ["30 2 * * *", "*/20 1-3 * * sun", "0 9 1 * mon", "every 36 hours"])
    @pytest.mark.parametrize("day", ["2026-03-07", "2026-03-28", "2026-10-24", "2026-10-31"])
    def test_shows_what_fires(self, operator, monkeypatch, zone, text, day):
        now = datetime.fromisoformat(f"{day}T12:00:00+00:00")
        monkeypatch.setattr(clock, "now", lambda: now)
        row = make_periodic(schedule=text, timezone=zone, created=now)
        found = self.ask(operator, schedule=text, timezone=zone, id=row.pk)
        expected = list(islice(parse(text).moments(now, ZoneInfo(zone), now), 5))
        assert [datetime.fromisoformat(run["at"]).astimezone(UTC) for run in found["runs"]] == expected
        assert found["error"] == ""
        page = page_of(operator, change(row))
        assert re.findall(r'<time class="dj-time" datetime="([^"]+)"><b>', page) == [run["at"] for run in found["runs"]]
        assert found["description"] in unescape(page)

    def test_says_what_clock_changes_do(self, operator, monkeypatch):
        monkeypatch.setattr(clock, "now", lambda: datetime(2027, 3, 26, tzinfo=UTC))
        found = self.ask(operator, schedule="30 2 * * *", timezone="Europe/Paris")
        assert found["description"] == "At 02:30, every day (Europe/Paris)"
        assert any("28 Mar 2027" in text and "does not exist" in text for text in found["warnings"])
        assert [run["offset"] for run in found["runs"]][:3] == ["+01:00", "+01:00", "+02:00"]
        assert len(found["warnings"]) == len(set(found["warnings"]))

    def test_follows_the_fields(self, operator):
        found = self.ask(operator, schedule_kind="every", schedule_count="90", schedule_unit="seconds")
        assert len(found["runs"]) == 5
        first, second = (datetime.fromisoformat(run["at"]) for run in found["runs"][:2])
        assert second - first == timedelta(seconds=90)

    def test_starts_ends_and_one_off_count(self, operator):
        limits = {"starts_0": "2099-01-01", "starts_1": "10:00:00", "ends_0": "2099-01-01", "ends_1": "12:00:00"}
        values = {"schedule_kind": "every", "schedule_count": "1", "schedule_unit": "hours", **limits}
        found = self.ask(operator, **values)
        assert [run["time"] for run in found["runs"]] == ["10:00", "11:00", "12:00"]
        assert len(self.ask(operator, **values, one_off="on")["runs"]) == 1

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"schedule": "61 * * * *"}, "61"),
            ({"schedule": EVIL}, "script"),
            ({"schedule": ""}, "required"),
            ({"schedule_kind": ""}, "Choose when"),
            ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
            ({"timezone": "x" * 100}, "64"),
            ({"starts_0": "nonsense", "starts_1": ""}, "valid"),
        ],
    )
    def test_what_is_wrong_is_said_in_words(self, operator, values, says):
        found = self.ask(operator, **values)
        assert says in found["error"]
        assert found["runs"] == []

    def test_what_never_comes_again_is_said(self, operator):
        found = self.ask(operator, schedule="at 2001-01-01 00:00")
        assert found["runs"] == []
        assert found["warnings"] == ["It will not run again."]

    @pytest.mark.parametrize("pk", ["0", "x", "9" * 30, EVIL])
    def test_a_row_that_is_not_there_is_none(self, operator, pk):
        assert len(self.ask(operator, id=pk)["runs"]) == 5

    def test_changes_nothing_and_needs_a_permission(self, db):
        row = make_periodic()
        assert client_with("view_jobresult").get(PREVIEW, filled()).status_code == 403
        assert Client().get(PREVIEW, filled()).status_code == 302
        for codename in ("view_periodictask", "add_periodictask"):
            client = client_with(codename)
            assert client.get(PREVIEW, filled(id=row.pk, schedule="@daily")).status_code == 200
            assert client.post(PREVIEW, filled()).status_code == 405
        row.refresh_from_db()
        assert row.schedule == "30 2 * * *"


class TestTask:
    def test_the_tasks_are_offered_and_explained(self, operator):
        page = page_of(operator, change(make_periodic()))
        for name in (tasks.export_csv.name, tasks.send_receipt.name):
            assert f'<option value="{name}"' in page
        assert "export_csv(report:" in unescape(page)

    def test_what_is_written_about_a_task_is_text(self, operator, monkeypatch):
        monkeypatch.setattr(tasks.export_csv.function, "__doc__", EVIL)
        page = page_of(operator, change(make_periodic()))
        assert EVIL not in page
        assert "export_csv(report: str) – &lt;script&gt;" in page

    def test_an_old_name_says_what_it_is_called_now(self, operator, monkeypatch):
        monkeypatch.setitem(registry._tasks, "old.name", registry[tasks.export_csv.name])
        assert f"old.name (now {tasks.export_csv.name})" in page_of(operator, change(make_periodic(task="old.name")))


class TestLooking:
    def test_whoever_may_only_look_sees_no_arguments(self, db):
        row = make_periodic(kwargs='{"report": "sales"}', headers='{"x": "sales"}')
        page = page_of(client_with("view_periodictask"), change(row))
        assert "[hidden]" in page
        assert "sales" not in page
        assert "At 02:30, every day (UTC)" in page
        assert 'name="_save"' not in page

    def test_arguments_are_shown_with_their_permission_but_for_secrets(self, db):
        row = make_periodic(kwargs='{"report": "sales", "password": "hunter2"}')
        page = page_of(client_with("view_periodictask", "view_job_payload"), change(row))
        assert "sales" in page
        assert "hunter2" not in page

    def test_whoever_may_edit_sees_them(self, db):
        client = client_with("view_periodictask", "change_periodictask")
        assert "sales" in page_of(client, change(make_periodic()))

    def test_only_lookers_cannot_save(self, db):
        row = make_periodic()
        assert client_with("view_periodictask").post(change(row), filled(description="x")).status_code == 403
        assert client_with("view_periodictask").get(f"{PERIODIC}add/").status_code == 403
