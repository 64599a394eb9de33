"""What is done to periodic tasks: to a selection in the list, and to one on its page; and who may."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.test import Client
from django.urls import resolve

from django_jobs.admin import bulk
from django_jobs.beat.declared import declarations, of_row
from django_jobs.brokers import get_broker
from django_jobs.envelope import decode
from django_jobs.models import OutboxJob, PeriodicRun, PeriodicTask
from django_jobs.models.periodic import Origin, Outcome
from tests.admin import tasks
from tests.admin.results import EVIL, client_with
from tests.admin.schedules import PERIODIC, declared, make_periodic, make_run

UNREACHABLE = "redis://127.0.0.1:1/0"
#: Each action of the list, and the permission that it needs besides that to look.
NEEDED = {
    "enable_selected": "change_periodictask",
    "disable_selected": "change_periodictask",
    "run_selected": "run_periodictask",
    "duplicate_selected": "add_periodictask",
    "export_selected": "view_job_payload",
    "delete_selected": "delete_periodictask",
}
OPERATIONS = {"run": "run_periodictask", "duplicate": "add_periodictask", "as-in-code": "change_periodictask"}
ALL = {*NEEDED.values(), *OPERATIONS.values()}


def select(action: str, *rows: PeriodicTask, across: bool = False, **more: str) -> dict[str, Any]:
    ticked = [str(row.pk) for row in rows]
    return {"action": action, "select_across": int(across), "_selected_action": ticked, **more}


def said(client: Client, url: str, data: dict[str, Any]) -> str:
    response = client.post(url, data, follow=True)
    assert response.status_code == 200
    return " ".join(str(message) for message in response.context["messages"])


def state_of_all() -> list[tuple[Any, ...]]:
    return list(PeriodicTask.objects.order_by("pk").values_list("pk", "name", "enabled", "queue"))


class TestSwitching:
    def test_enable_and_disable(self, operator):
        rows = [make_periodic(name) for name in "abc"]
        assert said(operator, PERIODIC, select("disable_selected", *rows[:2])) == "2 periodic tasks were disabled."
        assert [row[2] for row in state_of_all()] == [False, False, True]
        assert said(operator, PERIODIC, select("enable_selected", *rows)) == "2 periodic tasks were enabled."
        assert [row[2] for row in state_of_all()] == [True] * 3
        texts = LogEntry.objects.order_by("pk").values_list("object_repr", "change_message", "action_flag")
        assert sorted(texts) == sorted((name, text, CHANGE) for name in "ab" for text in ("Disabled.", "Enabled."))

    def test_all_that_match_are_those_of_the_filter(self, operator):
        a, b = make_periodic("a", queue="mail"), make_periodic("b")
        text = said(operator, f"{PERIODIC}?queue=mail", select("disable_selected", a, across=True))
        assert text == "1 periodic task was disabled."
        b.refresh_from_db()
        assert b.enabled


class TestRunNow:
    def test_sends_a_job_with_what_the_row_says(self, operator):
        row = make_periodic(queue="reports", priority=7, headers='{"tenant": "a"}', enabled=False)
        assert said(operator, f"{PERIODIC}{row.pk}/run/", {}) == "1 job was sent."
        run = PeriodicRun.objects.get()
        assert (run.outcome, run.by_hand, run.detail) == (Outcome.SENT, True, "Sent by ana.")
        found = get_broker().find(str(run.job_id), "reports")
        assert found is not None
        job = decode(found.body, job_id=found.id, queue=found.queue)
        assert (job.priority, job.headers["tenant"], job.packed_kwargs) == (7, "a", {"report": "sales"})
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.user.username, entry.change_message) == (str(row.pk), "ana", "Run now.")
        row.refresh_from_db()
        assert row.enabled is False

    def test_a_selection_sends_one_each_and_says_how_many(self, operator):
        rows = [make_periodic(name) for name in "abc"]
        assert said(operator, PERIODIC, select("run_selected", *rows[:2])) == "2 jobs were sent."
        assert set(PeriodicRun.objects.values_list("periodic_task__name", flat=True)) == {"a", "b"}

    def test_what_cannot_run_is_named_and_the_others_run(self, operator):
        rows = [make_periodic("good"), make_periodic("gone", task="old.jobs.gone"), make_periodic("odd", args="x")]
        text = said(operator, PERIODIC, select("run_selected", *rows))
        assert text.startswith("1 job was sent. Not sent: gone: No task is called 'old.jobs.gone'")
        assert "odd: " in text
        assert dict(PeriodicRun.objects.values_list("periodic_task__name", "outcome")) == {
            "good": "sent",
            "gone": "refused",
            "odd": "refused",
        }
        assert LogEntry.objects.get().object_repr == "good"

    def test_all_that_match_are_asked_for_once_more(self, operator):
        rows = [make_periodic(f"row {n}", queue="mail" if n else "") for n in range(6)]
        url = f"{PERIODIC}?queue=mail"
        page = operator.post(url, select("run_selected", rows[1], across=True)).content.decode()
        assert "Run 5 periodic tasks now, all that match." in page
        assert not PeriodicRun.objects.exists()
        assert said(operator, url, select("run_selected", rows[1], across=True, confirmed="1")) == "5 jobs were sent."
        assert PeriodicRun.objects.filter(periodic_task__queue="mail").count() == 5

    def test_stops_when_the_time_of_a_request_is_over(self, operator, monkeypatch):
        monkeypatch.setattr(bulk, "TIME_LIMIT", -1.0)
        rows = [make_periodic(name) for name in "abc"]
        assert "Not reached, because the time of one request was over: 3." in said(
            operator, PERIODIC, select("run_selected", *rows)
        )

    def test_a_row_that_is_gone_is_said_to_be(self, operator):
        assert "no such periodic task" in said(operator, f"{PERIODIC}4711/run/", {})

    def test_is_not_inside_the_transaction_of_the_request(self):
        for path in (PERIODIC, f"{PERIODIC}7/run/"):
            assert "default" in getattr(resolve(path).func, "_non_atomic_requests", ()), path


@pytest.mark.django_db(transaction=True)
def test_run_now_with_a_broker_that_is_away_waits_in_the_outbox(operator, settings):
    settings.DJANGO_JOBS = settings.DJANGO_JOBS | {"BROKER": UNREACHABLE, "ENQUEUE_TIMEOUT": 0.5}
    row = make_periodic()
    assert said(operator, f"{PERIODIC}{row.pk}/run/", {}) == "1 job was sent."
    assert str(OutboxJob.objects.get().pk) == str(PeriodicRun.objects.get().job_id)
    assert operator.get(PERIODIC).status_code == 200


class TestDuplicate:
    def test_a_copy_is_off_and_the_admins_own(self, operator):
        row = declared(make_periodic(queue="mail", total_runs=9))
        response = operator.post(f"{PERIODIC}{row.pk}/duplicate/")
        copy = PeriodicTask.objects.get(name="nightly (copy)")
        assert response.url == f"{PERIODIC}{copy.pk}/change/"
        assert (copy.queue, copy.schedule, copy.kwargs) == (row.queue, row.schedule, row.kwargs)
        assert (copy.enabled, copy.origin, copy.declared, copy.total_runs) == (False, Origin.ADMIN, "", 0)
        assert (copy.next_run, copy.planned_enabled) == (None, None)
        assert LogEntry.objects.get().action_flag == ADDITION

    def test_every_copy_has_a_name_of_its_own(self, operator):
        long = make_periodic("x" * 191)
        for _ in range(3):
            operator.post(f"{PERIODIC}{long.pk}/duplicate/")
        names = set(PeriodicTask.objects.values_list("name", flat=True))
        assert len(names) == 4
        assert max(map(len, names)) == 191
        assert {name.strip("x").strip() for name in names} == {"", "(copy)", "(copy 2)", "(copy 3)"}

    def test_says_that_what_the_code_declares_comes_back(self, operator):
        row = declared(make_periodic(EVIL))
        pages = [
            operator.get(f"{PERIODIC}{row.pk}/delete/").content.decode(),
            operator.post(PERIODIC, select("delete_selected", row)).content.decode(),
        ]
        for page in pages:
            assert "disable it instead" in page
            assert EVIL not in page
        PeriodicTask.objects.update(declared="")
        assert "disable it instead" not in operator.get(f"{PERIODIC}{row.pk}/delete/").content.decode()

    def test_a_selection(self, operator):
        rows = [make_periodic(name) for name in "ab"]
        assert "a (copy), b (copy): made, and disabled." in said(
            operator, PERIODIC, select("duplicate_selected", *rows)
        )


class TestExport:
    def test_is_what_settings_take(self, operator, settings):
        settings.DJANGO_JOBS = settings.DJANGO_JOBS | {"SCHEDULE": {}}
        rows = [
            make_periodic("a", schedule="every  15 minutes", priority=3, headers='{"x": "y"}', timezone="Asia/Kolkata"),
            make_periodic("b", task=tasks.send_receipt.name, args="[7]", kwargs="", overlap="skip", description=EVIL),
        ]
        response = operator.post(PERIODIC, select("export_selected", *rows))
        assert response["Content-Type"] == "application/json"
        assert response["Content-Disposition"] == 'attachment; filename="periodic-tasks.json"'
        entries = json.loads(response.content)
        assert entries["a"] == {
            "task": tasks.export_csv.name,
            "schedule": "every 15 minutes",
            "kwargs": {"report": "sales"},
            "priority": 3,
            "headers": {"x": "y"},
            "timezone": "Asia/Kolkata",
        }
        assert entries["b"]["args"] == [7]
        settings.DJANGO_JOBS = settings.DJANGO_JOBS | {"SCHEDULE": entries}
        again = {declaration.name: declaration.values for declaration in declarations()}
        assert again == {row.name: of_row(row) for row in rows}

    def test_nonsense_is_exported_as_it_is(self, operator):
        row = make_periodic(args="nonsense", schedule="61 * * * *")
        entry = json.loads(operator.post(PERIODIC, select("export_selected", row)).content)["nightly"]
        assert (entry["args"], entry["schedule"]) == ("nonsense", "61 * * * *")


class TestDelete:
    def test_takes_the_runs_along_without_listing_them(self, operator):
        row = make_periodic()
        for age in range(10, 60):
            make_run(row, age=age)
        page = operator.get(f"{PERIODIC}{row.pk}/delete/").content.decode()
        assert "Periodic runs: 50" in page
        assert "periodicrun/" not in page.replace('href="/admin/django_jobs/periodicrun/"', "")
        assert operator.post(f"{PERIODIC}{row.pk}/delete/", {"post": "yes"}).status_code == 302
        assert not PeriodicTask.objects.exists()
        assert not PeriodicRun.objects.exists()

    def test_says_that_what_the_code_declares_comes_back(self, operator):
        row = declared(make_periodic(EVIL))
        pages = [
            operator.get(f"{PERIODIC}{row.pk}/delete/").content.decode(),
            operator.post(PERIODIC, select("delete_selected", row)).content.decode(),
        ]
        for page in pages:
            assert "disable it instead" in page
            assert EVIL not in page
        PeriodicTask.objects.update(declared="")
        assert "disable it instead" not in operator.get(f"{PERIODIC}{row.pk}/delete/").content.decode()

    def test_a_selection(self, operator):
        rows = [make_periodic(name) for name in "abc"]
        make_run(rows[0])
        said(operator, PERIODIC, select("delete_selected", *rows[:2], post="yes"))
        assert [row.name for row in PeriodicTask.objects.all()] == ["c"]


class TestAsInCode:
    @pytest.fixture
    def row(self, operator):
        row = declared(make_periodic())
        PeriodicTask.objects.filter(pk=row.pk).update(queue="mail", schedule="0 4 * * *", ends="2030-01-01T00:00Z")
        row.refresh_from_db()
        return row

    def test_each_field_that_differs_is_shown(self, operator, row):
        page = operator.get(f"{PERIODIC}{row.pk}/change/").content.decode()
        assert page.count('name="field"') == 3
        assert "<code>0 4 * * *</code>" in page
        assert "<code>30 2 * * *</code>" in page

    def test_one_field(self, operator, row):
        text = said(operator, f"{PERIODIC}{row.pk}/as-in-code/", {"field": "schedule"})
        assert text == "As in the code again: schedule."
        row.refresh_from_db()
        assert (row.schedule, row.queue) == ("30 2 * * *", "mail")

    def test_all_of_them(self, operator, row):
        assert "As in the code again: schedule, queue, ends." in said(operator, f"{PERIODIC}{row.pk}/as-in-code/", {})
        row.refresh_from_db()
        assert (row.schedule, row.queue, row.ends) == ("30 2 * * *", "", None)
        assert "already" in said(operator, f"{PERIODIC}{row.pk}/as-in-code/", {})

    def test_what_does_not_differ_is_left_alone(self, operator, row):
        assert "already" in said(operator, f"{PERIODIC}{row.pk}/as-in-code/", {"field": "total_runs"})
        assert not LogEntry.objects.exists()

    def test_arguments_are_hidden_from_those_who_may_not_see_them(self, row):
        PeriodicTask.objects.filter(pk=row.pk).update(kwargs='{"report": "costs"}')
        page = client_with("view_periodictask").get(f"{PERIODIC}{row.pk}/change/").content.decode()
        assert "<code>0 4 * * *</code>" in page
        assert "costs" not in page
        assert "sales" not in page
        assert 'name="field"' not in page


class TestPermissions:
    @pytest.mark.parametrize(("action", "codename"), NEEDED.items())
    def test_each_action_needs_its_own(self, db, action, codename):
        row = declared(make_periodic(enabled=action != "enable_selected"))
        before = state_of_all()
        others = ALL - {codename}
        if action == "export_selected":
            others -= {"change_periodictask"}  # whoever edits arguments sees them
        client = client_with("view_periodictask", *others)
        sent = select(action, row, post="yes")
        assert client.post(PERIODIC, sent).status_code == 403
        assert f'value="{action}"' not in client.get(PERIODIC).content.decode()
        assert state_of_all() == before
        assert not PeriodicRun.objects.exists()
        client = client_with("view_periodictask", codename)
        assert f'value="{action}"' in client.get(PERIODIC).content.decode()
        assert client.post(PERIODIC, sent).status_code in (200, 302)
        changed = state_of_all() != before or PeriodicRun.objects.exists()
        assert changed is (action != "export_selected")

    @pytest.mark.parametrize(("operation", "codename"), OPERATIONS.items())
    def test_each_operation_on_one_row_needs_its_own(self, db, operation, codename):
        row = declared(make_periodic())
        PeriodicTask.objects.update(queue="mail")
        before = state_of_all()
        url = f"{PERIODIC}{row.pk}/{operation}/"
        client = client_with("view_periodictask", *(ALL - {codename}))
        assert f'action="{url}"' not in client.get(f"{PERIODIC}{row.pk}/change/").content.decode()
        assert client.post(url).status_code == 403
        if codename != "change_periodictask":  # who may change may look
            assert client_with(codename).post(url).status_code == 403
        assert state_of_all() == before
        client = client_with("view_periodictask", codename)
        assert f'action="{url}"' in client.get(f"{PERIODIC}{row.pk}/change/").content.decode()
        assert client.get(url).status_code == 405
        assert client.post(url).status_code == 302
        assert state_of_all() != before or PeriodicRun.objects.exists()

    def test_everything_needs_a_token(self, operator):
        row = declared(make_periodic())
        PeriodicTask.objects.update(queue="mail")
        before = state_of_all()
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = operator.cookies
        for action in NEEDED:
            assert strict.post(PERIODIC, select(action, row, post="yes", confirmed="1")).status_code == 403, action
        for path in (*OPERATIONS, "change", "delete"):
            assert strict.post(f"{PERIODIC}{row.pk}/{path}/", {"post": "yes"}).status_code == 403, path
        assert strict.post(f"{PERIODIC}add/").status_code == 403
        assert state_of_all() == before
        assert not PeriodicRun.objects.exists()

    def test_strangers_are_sent_to_the_login(self, db):
        row = make_periodic()
        for path in ("", "preview/", "add/", *(f"{row.pk}/{name}/" for name in ("change", "run", "duplicate"))):
            assert Client().post(f"{PERIODIC}{path}").status_code == 302, path
        assert not PeriodicRun.objects.exists()
