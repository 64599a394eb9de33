"""The list of periodic tasks: what an operator sees of each, and how many queries that takes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_jobs import clock
from django_jobs.admin.periodic_preview import away
from django_jobs.identifiers import new_id
from django_jobs.models import PeriodicRun, PeriodicTask
from django_jobs.models.periodic import Origin, Outcome
from django_jobs.states import State
from tests.admin import tasks
from tests.admin.results import EVIL, client_with
from tests.admin.schedules import PERIODIC, declared, make_periodic, make_run


def get(client: Client, url: str = PERIODIC) -> str:
    response = client.get(url)
    assert response.status_code == 200, (url, response.status_code, response.headers)
    return str(response.content.decode())


def names(page: str) -> list[str]:
    return [unescape(name.replace("<wbr>", "")) for name in re.findall(r'<span class="dj-name">(.*?)</span>', page)]


def cell(page: str, column: str) -> str:
    found = re.search(rf'<t[dh] class="field-{column}">(.*?)</t[dh]>', page, re.DOTALL)
    assert found is not None, column
    return unescape(re.sub(r"<[^>]+>", "", found.group(1))).strip()


class TestColumns:
    def test_a_row_says_what_an_operator_asks_first(self, operator):
        row = make_periodic(timezone="Europe/Paris", next_run=clock.now() + timedelta(hours=8, minutes=10))
        make_run(row, state=State.FAILURE)
        page = get(operator)
        assert names(page) == ["nightly"]
        assert cell(page, "task_name") == "export_csv"
        assert cell(page, "schedule_words") == "At 02:30, every day (Europe/Paris)"
        assert cell(page, "next_moment").endswith("in 8 h")
        assert cell(page, "last_moment").endswith("failed")
        assert 'aria-label="Last run: 1 failed"' in page

    def test_a_name_breaks_where_its_words_end(self, operator):
        make_periodic("shop.jobs.refresh_all")
        assert '<span class="dj-name">shop.<wbr>jobs.<wbr>refresh_<wbr>all</span>' in get(operator)

    def test_the_last_run_leads_to_its_job_for_those_who_may_see_it(self, operator):
        run = make_run(make_periodic(), state=State.SUCCESS)
        link = f'href="/admin/django_jobs/jobresult/{run.job_id}/change/"'
        assert link in get(operator)
        assert link in get(client_with("view_periodictask", "view_jobresult"))
        assert link not in get(client_with("view_periodictask"))

    def test_a_job_that_has_left_no_row_is_sent_and_leads_nowhere(self, operator):
        make_run(make_periodic())
        page = get(operator)
        assert cell(page, "last_moment").endswith("sent")
        assert "/jobresult/0" not in page

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"outcome": Outcome.SKIPPED}, "skipped"),
            ({"outcome": Outcome.MISSED}, "missed"),
            ({"outcome": Outcome.REFUSED, "detail": EVIL}, "refused"),
            ({"outcome": "other"}, "other"),
            ({"by_hand": True, "state": State.SUCCESS}, "succeeded by hand"),
            ({"lateness": timedelta(seconds=90), "state": State.SUCCESS}, "succeeded 1 m 30 s late"),
        ],
    )
    def test_what_came_of_the_last_moment(self, operator, values, says):
        make_run(make_periodic(), **values)
        page = get(operator)
        assert cell(page, "last_moment").endswith(says)
        assert EVIL not in page

    def test_the_strip_has_the_last_twenty_the_newest_at_the_end(self, operator):
        row = make_periodic()
        make_run(row, age=10, outcome=Outcome.MISSED)
        for age in range(20, 44):
            make_run(row, age=age, state=State.SUCCESS)
        marks = re.findall(r'dj-mark dj-mark-(\w+)" title="([^"]*)"', get(operator))
        assert [mark for mark, _title in marks] == ["success"] * 19 + ["missed"]
        assert [title for _mark, title in marks] == sorted(title for _mark, title in marks)

    def test_marks_differ_in_shape_for_every_outcome(self, operator):
        row = make_periodic()
        for age, outcome in enumerate((Outcome.SKIPPED, Outcome.MISSED, Outcome.REFUSED), 10):
            make_run(row, age=age, outcome=outcome)
        for age, state in enumerate((State.SUCCESS, State.FAILURE, State.STARTED, State.RETRY, State.REVOKED), 20):
            make_run(row, age=age, state=state)
        shapes = set(re.findall(r"dj-mark dj-mark-(\w+)", get(operator)))
        assert shapes == {"skipped", "missed", "refused", "success", "failure", "running", "retry", "revoked"}

    def test_a_disabled_row_has_no_next_run(self, operator):
        make_periodic(enabled=False)
        assert cell(get(operator), "next_moment") == "–"

    def test_a_row_that_beat_has_not_planned_yet_shows_what_it_will_plan(self, operator):
        make_periodic(planned=False, schedule="every 3 hours")
        assert cell(get(operator), "next_moment").endswith("in 3 h")

    def test_an_edited_schedule_counts_at_once(self, operator):
        row = make_periodic()
        PeriodicTask.objects.filter(pk=row.pk).update(schedule="every 3 hours")
        assert cell(get(operator), "next_moment").endswith("in 3 h")

    def test_a_moment_that_nobody_came_to_is_late(self, operator, settings):
        settings.DJANGO_JOBS = settings.DJANGO_JOBS | {"BEAT": {"LATE": 30}}
        row = make_periodic(next_run=clock.now() - timedelta(seconds=20))
        assert "late" not in cell(get(operator), "next_moment")
        PeriodicTask.objects.filter(pk=row.pk).update(next_run=clock.now() - timedelta(seconds=40))
        assert cell(get(operator), "next_moment").endswith("ago late")

    def test_the_next_run_says_whose_clock_shows_it(self, operator, settings):
        settings.TIME_ZONE = "Asia/Kolkata"
        make_periodic(timezone="America/New_York")
        assert " IST in 60 min" in cell(get(operator), "next_moment")

    @pytest.mark.parametrize("values", [{"schedule": "61 * * * *"}, {"timezone": "Mars/Olympus"}])
    def test_what_cannot_be_read_has_no_next_run(self, operator, values):
        make_periodic(**values)  # beat has noted when it looks at it again
        assert cell(get(operator), "next_moment") == "not known"

    def test_a_moment_with_an_offset_is_said_by_the_clock_of_the_row(self, operator):
        make_periodic(schedule="at 2099-11-24 17:16:52.640050+00:00", timezone="Europe/Vienna")
        assert cell(get(operator), "schedule_words") == "Once, at 18:16:52 on Tue 24 Nov 2099 (Europe/Vienna)"

    def test_what_will_not_run_again_says_so(self, operator):
        make_periodic(schedule="at 2020-01-01 00:00", next_run=None)
        assert cell(get(operator), "next_moment") == "never again"

    @pytest.mark.parametrize(
        ("seconds", "says"),
        [(5, "in 5 s"), (61, "in 1 min"), (119, "in 2 min"), (7200, "in 2 h"), (200_000, "in 2 d"), (-5, "5 s ago")],
    )
    def test_how_far_away_a_moment_is(self, monkeypatch, seconds, says):
        now = datetime(2026, 1, 1, tzinfo=UTC)
        monkeypatch.setattr(clock, "now", lambda: now)
        assert away(now + timedelta(seconds=seconds)) == says


class TestMarks:
    def test_a_task_that_is_gone(self, operator):
        make_periodic(task=f"old.jobs.{EVIL}")
        page = get(operator)
        assert "no such task" in cell(page, "name_and_marks")
        assert EVIL not in page

    @pytest.mark.parametrize(
        "values",
        [
            {"kwargs": "{'report': 'sales'}"}, {"kwargs": '{"secret": 1}'}, {"kwargs": "[]"}, {"args": "7"},
            {"headers": "7"}, {"queue": "no good"},
        ],
    )  # fmt: skip
    def test_a_row_that_beat_refuses(self, operator, values):
        make_periodic(**values)
        page = get(operator)
        assert "is refused" in cell(page, "name_and_marks")
        assert "secret" not in page

    @pytest.mark.parametrize(
        ("values", "says"),
        [({}, "from code"), ({"queue": "other"}, "differs from code"), ({"declared": ""}, "no longer in code")],
    )
    def test_where_a_row_comes_from(self, operator, values, says):
        row = declared(make_periodic())
        PeriodicTask.objects.filter(pk=row.pk).update(**values)
        assert says in cell(get(operator), "name_and_marks")

    def test_a_row_of_the_admin_has_no_mark(self, operator):
        make_periodic()
        assert cell(get(operator), "name_and_marks") == "nightly"

    @pytest.mark.parametrize("memory", ["nonsense", "[]", "{}", '{"values": 1, "edited": 2}'])
    def test_a_memory_that_nobody_can_read_breaks_nothing(self, operator, memory):
        row = declared(make_periodic())
        PeriodicTask.objects.filter(pk=row.pk).update(declared=memory)
        assert "from code" in cell(get(operator), "name_and_marks")
        assert operator.get(f"{PERIODIC}{row.pk}/change/").status_code == 200


class TestBroken:
    """Whatever somebody has written into a row by SQL is shown, and the page lives."""

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("schedule", "61 * * * *"),
            ("schedule", ""),
            ("schedule", EVIL),
            ("schedule", "every 99999999999999999999 weeks"),
            ("timezone", "Mars/Olympus"),
            ("timezone", "../../etc/passwd"),
            ("args", "nonsense"),
            ("args", '{"$": "nonsense"}'),
            ("args", '[{"$": "datetime", "v": "x"}]'),
            ("args", '[{"$": "model", "c": "nope.Nope", "v": 1}]'),
            ("args", '[{"$": "model"}]'),
            ("args", '[{"$": "enum", "c": "os:system", "v": 1}]'),
            ("args", '[{"$": 7, "v": []}]'),
            ("kwargs", '{"report": {"$": "decimal", "v": "x"}}'),
            ("kwargs", '{"report": NaN}'),
            ("kwargs", '{"report": "\\ud800"}'),
            ("kwargs", "[" * 5000),
            ("headers", "7"),
            ("task", ""),
            ("queue", "no good"),
            ("catch_up", "never"),
            ("overlap", EVIL[:8]),
            ("origin", "moon"),
            ("starts", "9999-12-31 23:59:59"),
            ("schedule", "at 9999-12-31 23:59"),
            ("schedule", "every 1 week\n"),
            ("schedule", "sunset 999 999"),
            ("priority", 9999),
        ],
    )
    def test_both_pages_live(self, operator, column, value):
        row = make_periodic()
        table = PeriodicTask._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id = %s", [value, row.pk])
        for url in (PERIODIC, f"{PERIODIC}{row.pk}/change/"):
            page = get(operator, url)
            assert "nightly" in page
            assert EVIL not in page
        assert get(client_with("view_periodictask", "view_job_payload"), f"{PERIODIC}{row.pk}/change/")

    def test_a_schedule_that_is_none_says_what_is_wrong(self, operator):
        make_periodic(schedule="61 * * * *")
        page = get(operator)
        assert "61 * * * * cannot be read" in cell(page, "schedule_words")
        assert re.search(r'title="[^"]*61[^"]*">cannot be read', page)


class TestNarrowing:
    @pytest.fixture
    def rows(self, db):
        make_periodic("a", queue="mail")
        make_periodic("b", enabled=False, task=tasks.keep_on.name, kwargs="{}")
        declared(make_periodic("c"))

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("enabled=1", ["a", "c"]),
            ("enabled=0", ["b"]),
            ("queue=mail", ["a"]),
            (f"task={tasks.keep_on.name}", ["b"]),
            ("origin=code", ["c"]),
            ("origin=admin", ["a", "b"]),
            ("q=KEEP_on", ["b"]),
            ("q=c&origin=code", ["c"]),
        ],
    )
    def test_by_column(self, operator, rows, query, found):
        assert names(get(operator, f"{PERIODIC}?{query}")) == found

    def test_by_what_the_last_run_came_to(self, operator, rows):
        a, b, c = PeriodicTask.objects.order_by("name")
        make_run(a, age=90, outcome=Outcome.MISSED)
        make_run(a, age=60, state=State.FAILURE)
        make_run(b, age=90, state=State.FAILURE)
        make_run(b, age=60, outcome=Outcome.MISSED)
        chosen = {value: names(get(operator, f"{PERIODIC}?last={value}")) for value in ("failure", "missed", "never")}
        assert chosen == {"failure": ["a"], "missed": ["b"], "never": ["c"]}
        make_run(c, state=State.SUCCESS)
        assert names(get(operator, f"{PERIODIC}?last=success")) == ["c"]

    @pytest.mark.parametrize(
        "query", ["enabled=2", "last=x", "queue=x", "task=%00", "kwargs__contains=s", "nonsense=1"]
    )
    def test_nonsense_leads_to_the_whole_list_and_is_said(self, operator, rows, query):
        response = operator.get(f"{PERIODIC}?{query}", follow=True)
        assert response.redirect_chain == [(f"{PERIODIC}?e=1", 302)]
        page = response.content.decode()
        assert names(page) == ["a", "b", "c"]
        assert "everything is shown" in page

    def test_what_may_not_be_seen_cannot_be_guessed(self, rows):
        response = client_with("view_periodictask").get(f"{PERIODIC}?kwargs__startswith=%7B", follow=True)
        assert response.redirect_chain == [(f"{PERIODIC}?e=1", 302)]

    def test_nothing_there(self, operator):
        assert "@job(schedule=" in get(operator)
        assert "Clear all filters" in get(operator, f"{PERIODIC}?enabled=1")


def test_a_thousand_rows_take_no_more_queries_than_one(operator):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            get(operator)
        return len(captured)

    make_run(make_periodic(), state=State.SUCCESS)
    get(operator)  # content types and the like are remembered
    few = queries()
    rows = PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"row {n}", task=tasks.export_csv.name, schedule="* * * * *") for n in range(1000)
    )
    now = clock.now()
    PeriodicRun.objects.bulk_create(
        PeriodicRun(
            periodic_task=row, due=now - timedelta(minutes=n), fired=now, lateness=timedelta(0),
            outcome=Outcome.SENT, job_id=new_id(),
        )
        for row in rows[:60]
        for n in range(25)
    )  # fmt: skip
    for row in rows[:5]:
        row.origin, row.declared = Origin.CODE, "{}"
        row.save()
    assert queries() == few
    assert few < 20
