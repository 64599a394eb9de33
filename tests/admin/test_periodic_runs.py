"""What became of each moment: on the page of its task, in the list of runs, and on the page of its job."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_jobs import clock
from django_jobs.admin import PeriodicRunAdmin, PeriodicTaskAdmin, periodic_filters, periodic_runs
from django_jobs.beat.due import UNFINISHED
from django_jobs.models import JobResult, PeriodicRun, PeriodicTask
from django_jobs.models.periodic import Outcome
from django_jobs.states import State
from tests.admin.results import EVIL, client_with, make_result
from tests.admin.schedules import PERIODIC, RUNS, declared, make_periodic, make_run

own = AdminSite(name="own")
own.register(PeriodicTask, PeriodicTaskAdmin)
own.register(PeriodicRun, PeriodicRunAdmin)
own.register(JobResult, type(admin.site._registry[JobResult]))
urlpatterns = [path("admin/", admin.site.urls), path("own/", own.urls)]


def get(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return str(response.content.decode())


class TestOnThePageOfTheTask:
    def test_the_last_twenty_with_their_jobs(self, operator):
        row = make_periodic(total_runs=1234)
        for age in range(100, 122):
            make_run(row, age=age, state=State.SUCCESS)
        refused = make_run(row, age=10, outcome=Outcome.REFUSED, detail="no such task", missed=17)
        page = get(operator, f"{PERIODIC}{row.pk}/change/")
        section = page[page.index('id="dj-runs-title"') :]
        assert section.count("<tr>") == 21
        assert "1,234 jobs sent in all" in section
        assert "no such task" in section
        assert "<td>17</td>" in section
        assert len(re.findall(r'href="/admin/django_jobs/jobresult/[0-9a-f-]{36}/change/"', section)) == 19
        assert f'href="{RUNS}?periodic_task={row.pk}"' in section
        assert refused.job_id is None

    def test_what_was_skipped_says_why(self, operator):
        row = make_periodic(overlap="skip")
        run = make_run(row, outcome=Outcome.SKIPPED, detail=UNFINISHED)
        for url in (PERIODIC, f"{PERIODIC}{row.pk}/change/", RUNS, f"{RUNS}{run.pk}/change/"):
            assert UNFINISHED in get(operator, url), url

    def test_links_are_for_those_who_may_follow_them(self, db):
        row = make_periodic()
        run = make_run(row, state=State.SUCCESS)
        page = get(client_with("view_periodictask"), f"{PERIODIC}{row.pk}/change/")
        assert str(run.job_id) in page
        assert "/jobresult/" not in page
        assert "/periodicrun/" not in page

    def test_queries_do_not_grow_with_the_runs(self, operator):
        row = make_periodic()
        make_run(row, age=5, state=State.SUCCESS)

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                get(operator, f"{PERIODIC}{row.pk}/change/")
            return len(captured)

        queries()
        few = queries()
        for age in range(10, 60):
            make_run(row, age=age, state=State.SUCCESS)
        assert queries() == few

    def test_a_row_that_is_late_says_what_to_do(self, operator):
        row = make_periodic(next_run=clock.now() - timedelta(hours=1))
        assert "python manage.py runbeat" in get(operator, f"{PERIODIC}{row.pk}/change/")


class TestList:
    def test_says_of_each_what_became_of_it(self, operator):
        row = make_periodic()
        run = make_run(row, state=State.FAILURE)
        make_run(row, age=90, outcome=Outcome.REFUSED, detail=f"{EVIL}\nsecond line")
        page = get(operator, RUNS)
        assert f'<a href="/admin/django_jobs/jobresult/{run.job_id}/change/"><span class="dj-status' in page
        assert "refused" in page
        assert EVIL not in page
        assert "&lt;script&gt;" in page
        assert "/jobresult/" not in get(client_with("view_periodicrun"), RUNS)

    def test_of_one_task(self, operator):
        a, b = make_periodic("a"), make_periodic("b")
        make_run(a), make_run(b), make_run(b, age=90, outcome=Outcome.MISSED)
        names = r'<td class="field-name"><a href="[^"]*">(\w)</a></td>'
        assert re.findall(names, get(operator, f"{RUNS}?periodic_task={b.pk}")) == ["b", "b"]
        assert re.findall(names, get(operator, f"{RUNS}?periodic_task={b.pk}&outcome=missed")) == ["b"]
        assert (
            re.findall(names, get(operator, RUNS)) == ["a", "b", "b"]
            or len(re.findall(names, get(operator, RUNS))) == 3
        )

    def test_an_outcome_is_looked_for_among_the_newest(self, operator, monkeypatch):
        monkeypatch.setattr(periodic_runs, "WINDOW", 3)
        row = make_periodic()
        for age in (50, 10):
            make_run(row, age=age, outcome=Outcome.MISSED)
        assert "Looked through" not in get(operator, f"{RUNS}?outcome=missed")
        for age in (20, 30, 40):
            make_run(row, age=age)
        page = get(operator, f"{RUNS}?outcome=missed")
        assert "Looked through the newest 3 runs." in page
        assert page.count('class="field-status"') == 1
        assert get(operator, f"{RUNS}?outcome=missed&periodic_task={row.pk}").count('class="field-status"') == 2

    def test_what_jobs_came_to_is_looked_for_among_the_newest_of_a_task_too(self, operator, monkeypatch):
        monkeypatch.setattr(periodic_runs, "WINDOW", 2)
        row = make_periodic()
        for age in (50, 40, 10):
            make_run(row, age=age, state=State.FAILURE)
        page = get(operator, f"{RUNS}?outcome=failure&periodic_task={row.pk}")
        assert page.count('class="field-status"') == 2
        assert "Looked through the newest 2 runs.</p>" in page

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("outcome=success", ["a1"]),
            ("outcome=failure", ["b1", "a4"]),
            ("outcome=sent", ["a1", "b1", "b2", "a4"]),
            ("outcome=refused", ["a3"]),
            ("within=1h", ["a1", "b1", "b2"]),
            ("within=24h", ["a1", "b1", "b2", "a3"]),
            ("within=1h&outcome=failure", ["b1"]),
            ("q=ALPH", ["a1", "a3", "a4"]),
            ("q=nobody", []),
            ("periodic_task={b}", ["b1", "b2"]),
            ("periodic_task={a}&within=24h", ["a1", "a3"]),
            ("periodic_task={a}&q=bet", []),
        ],
    )
    def test_narrowing(self, operator, query, found):
        a, b = make_periodic("alpha"), make_periodic("beta")
        hour = 3600
        make_run(a, age=10, state=State.SUCCESS, detail="run a1")
        make_run(b, age=20, state=State.FAILURE, detail="run b1")
        make_run(b, age=30, detail="run b2")
        make_run(a, age=2 * hour, outcome=Outcome.REFUSED, detail="run a3")
        make_run(a, age=50 * hour, state=State.FAILURE, detail="run a4")
        page = get(operator, f"{RUNS}?{query.format(a=a.pk, b=b.pk)}")
        assert re.findall(r">run (\w\w)<", page) == found

    def test_offers_some_tasks_and_the_chosen_one(self, operator, monkeypatch):
        monkeypatch.setattr(periodic_filters, "OFFERED", 2)
        rows = [make_periodic(name) for name in ("one", "two", "three", "four")]
        make_run(rows[1])
        offered = re.compile(r'<a href="\?periodic_task=(\d+)')
        assert len(offered.findall(get(operator, RUNS))) == 2
        assert str(rows[1].pk) in offered.findall(get(operator, f"{RUNS}?periodic_task={rows[1].pk}"))

    @pytest.mark.parametrize(
        "query", ["periodic_task=0", "periodic_task=x", "outcome=x", "within=2h", "detail__contains=x"]
    )
    def test_nonsense_leads_to_the_whole_list(self, operator, query):
        make_run(make_periodic())
        response = operator.get(f"{RUNS}?{query}", follow=True)
        assert response.redirect_chain == [(f"{RUNS}?e=1", 302)]

    def test_is_read_only_for_everybody(self, operator):
        run = make_run(make_periodic())
        assert operator.get(f"{RUNS}add/").status_code == 403
        assert operator.get(f"{RUNS}{run.pk}/delete/").status_code == 403
        assert operator.post(f"{RUNS}{run.pk}/change/", {"outcome": "missed"}).status_code == 403
        assert 'name="_save"' not in get(operator, f"{RUNS}{run.pk}/change/")
        assert client_with("view_periodictask").get(RUNS).status_code == 403

    def test_a_full_list_takes_as_many_queries_as_one_row(self, operator):
        row = make_periodic()
        make_run(row, age=5, state=State.SUCCESS)

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                get(operator, RUNS)
            return len(captured)

        queries()
        few = queries()
        for age in range(10, 110):
            make_run(row, age=age, state=State.SUCCESS)
        assert queries() == few

    def test_nothing_yet(self, operator):
        assert "python manage.py runbeat" in get(operator, RUNS)


class TestPage:
    def test_says_what_became_of_it_and_leads_to_the_job(self, operator):
        row = make_periodic(EVIL)
        run = make_run(row, state=State.FAILURE, missed=1234, lateness=timedelta(microseconds=2342))
        page = get(operator, f"{RUNS}{run.pk}/change/")
        assert "<h1>Run of &lt;script&gt;" in page
        assert "failed</span>" in page
        assert f'href="/admin/django_jobs/jobresult/{run.job_id}/change/"' in page
        assert f'href="{PERIODIC}{row.pk}/change/"' in page
        assert f"{clock.now():%Y-%m-%d} " in page
        assert " UTC</time>" in page
        assert "<dd>2 ms</dd>" in page
        assert "<dd>1,234</dd>" in page
        assert "by hand" not in page

    def test_without_a_job_or_the_permission_there_is_no_link(self, operator):
        row = make_periodic()
        refused = make_run(row, age=90, outcome=Outcome.REFUSED, detail=EVIL)
        page = get(operator, f"{RUNS}{refused.pk}/change/")
        assert "None was sent." in page
        assert "&lt;script&gt;" in page
        assert EVIL not in page
        assert "It has left no result" in get(operator, f"{RUNS}{make_run(row, by_hand=True).pk}/change/")
        run = make_run(row, age=5, state=State.SUCCESS)
        page = get(client_with("view_periodicrun"), f"{RUNS}{run.pk}/change/")
        assert str(run.job_id) in page
        assert "/change/" not in page
        assert client_with("view_periodictask").get(f"{RUNS}{run.pk}/change/").status_code == 403

    @pytest.mark.parametrize("pk", ["0", "x", "9" * 30])
    def test_one_that_is_gone_leads_away(self, operator, pk):
        assert operator.get(f"{RUNS}{pk}/change/").status_code == 302


class TestOnThePageOfTheJob:
    def test_leads_to_the_schedule_that_has_sent_it(self, operator):
        row = make_periodic(EVIL)
        run = make_run(row, state=State.SUCCESS)
        url = f"/admin/django_jobs/jobresult/{run.job_id}/change/"
        page = get(operator, url)
        assert f'Periodic task</dt><dd><a href="{PERIODIC}{row.pk}/change/">&lt;script&gt;' in page
        assert "Periodic task</dt>" not in get(client_with("view_jobresult"), url)

    def test_other_jobs_have_none(self, operator):
        make_run(make_periodic(), state=State.SUCCESS)
        assert "Periodic task</dt>" not in get(operator, f"/admin/django_jobs/jobresult/{make_result().pk}/change/")

    def test_takes_one_query_and_none_without_the_permission(self, db):
        run = make_run(make_periodic(), state=State.SUCCESS)
        url = f"/admin/django_jobs/jobresult/{run.job_id}/change/"
        for client, count in (
            (client_with("view_jobresult", "view_periodictask"), 1),
            (client_with("view_jobresult"), 0),
        ):
            with CaptureQueriesContext(connection) as captured:
                get(client, url)
            table = PeriodicRun._meta.db_table
            assert len([query for query in captured.captured_queries if table in query["sql"]]) == count


@pytest.mark.urls("tests.admin.test_periodic_runs")
def test_links_stay_in_their_site(operator):
    row = declared(make_periodic())
    PeriodicTask.objects.update(queue="mail")
    run = make_run(row, state=State.SUCCESS)
    pages = [
        "periodictask/", f"periodictask/{row.pk}/change/", f"periodictask/{row.pk}/delete/", "periodicrun/",
        f"periodicrun/{run.pk}/change/", f"jobresult/{run.job_id}/change/", "periodictask/add/",
    ]  # fmt: skip
    for name in pages:
        page = get(operator, f"/own/django_jobs/{name}")
        assert re.findall(r'(?:href|action|data-url)="/admin/[^"]*"', page) == [], name
    for operation in ("run", "duplicate", "as-in-code"):
        response = operator.post(f"/own/django_jobs/periodictask/{row.pk}/{operation}/")
        assert response.url.startswith("/own/django_jobs/periodictask/")


@pytest.mark.parametrize("url", [PERIODIC, f"{PERIODIC}add/", f"{PERIODIC}1/change/", f"{PERIODIC}1/delete/", RUNS])
def test_a_missing_table_is_a_page_that_says_what_to_do(operator, monkeypatch, url):
    def away(*args: object, **kwargs: object) -> None:
        raise DatabaseError("gone")

    for page in (PeriodicTaskAdmin, PeriodicRunAdmin):
        for method in ("get_queryset", "get_form", "get_object"):
            monkeypatch.setattr(page, method, away)
    response = operator.get(url)
    assert response.status_code == 200
    assert "did not answer: gone" in response.content.decode()


def test_broken_runs_are_shown(operator):
    row = make_periodic()
    run = make_run(row, state=State.SUCCESS)
    PeriodicRun.objects.filter(pk=run.pk).update(outcome="nonsens", lateness=timedelta(days=-4000), missed=2**31 - 1)
    for url in (PERIODIC, f"{PERIODIC}{row.pk}/change/", RUNS, f"{RUNS}{run.pk}/change/"):
        get(operator, url)
