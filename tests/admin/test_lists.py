from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_jobs import clock
from django_jobs.admin import changelist, counting
from django_jobs.admin.counting import Accuracy, Count
from django_jobs.models import JobResult
from django_jobs.states import State
from tests.admin import tasks
from tests.admin.results import EVIL, TASK, client_with, make_failure, make_result

JOBS = "/admin/django_jobs/jobresult/"
FAILED = "/admin/django_jobs/failedjob/"


def get(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, (url, response.status_code, response.headers)
    return str(response.content.decode())


def ids(page: str) -> list[str]:
    return re.findall(r'name="_selected_action" value="([0-9a-f-]{36})"', page)


def link(page: str, rel: str) -> str | None:
    found = re.search(rf'href="([^"]*)" rel="{rel}"', page)
    return unescape(found.group(1)) if found else None


class TestColumns:
    def test_a_failure_says_what_an_operator_asks_first(self, operator):
        make_failure(retries=1)
        page = get(operator, FAILED)
        assert f'title="{TASK}">send_receipt</span>' in page
        assert '<td class="field-attempt">2</td>' in page
        assert '<td class="field-wait">2.0 s</td>' in page
        assert '<td class="field-run_time">3.0 s</td>' in page
        assert "<b>ValueError</b> no such order &lt;script&gt;" in page
        assert 'title="builtins.ValueError: no such order &lt;script&gt;alert(1)&lt;/script&gt;\nsecond line"' in page
        assert EVIL not in page

    @pytest.mark.parametrize("state", [state for state in State if state is not State.UNKNOWN])
    def test_a_state_is_a_word_and_an_icon(self, operator, state):
        make_result(state)
        page = get(operator, JOBS)
        assert re.search(r'class="dj-status dj-status-\w+"><svg [^>]*aria-hidden="true".*?</svg>[a-z ]+</span>', page)

    def test_a_state_of_the_tasks_own_counts_as_running(self, operator):
        make_result("resizing")
        assert re.search(r'dj-status-running"><svg .*</svg>resizing</span>', get(operator, JOBS))

    def test_moments_name_their_time_zone(self, operator, settings):
        settings.TIME_ZONE = "Europe/Paris"
        make_result()
        page = get(operator, JOBS)
        assert "Enqueued (Europe/Paris)" in page
        assert re.search(r'<time class="dj-time" datetime="[^"]+" title="[^"]+ CES?T">', page)

    def test_messages_of_exceptions_need_their_permission(self, db):
        make_failure()
        page = get(client_with("view_failedjob"), FAILED)
        assert "<b>ValueError</b> [hidden]" in page
        assert 'title="builtins.ValueError: Shown to users with the permission' in page
        assert "no such order" not in page
        assert "no such order" in get(client_with("view_failedjob", "view_job_payload"), FAILED)


class TestPages:
    def test_older_and_newer_meet_every_row_once(self, operator):
        made = [str(make_result().pk) for _ in range(120)]
        seen, url = [], JOBS
        while url:
            page = get(operator, url)
            seen.append(ids(page))
            older = link(page, "next")
            url = JOBS + older if older else ""
        assert [len(part) for part in seen] == [50, 50, 20]
        assert [pk for part in seen for pk in part] == made[::-1]
        back = get(operator, JOBS + (link(page, "prev") or ""))
        assert ids(back) == seen[1]
        assert ids(get(operator, JOBS + (link(back, "prev") or ""))) == seen[0]

    def test_the_first_page_has_no_newer_and_the_last_no_older(self, operator):
        make_result()
        page = get(operator, JOBS)
        assert link(page, "prev") is None
        assert link(page, "next") is None

    def test_filters_stay_on_the_next_page(self, operator):
        for _ in range(60):
            make_failure()
            make_result()
        page = get(operator, f"{JOBS}?state=FAILURE")
        older = link(page, "next") or ""
        assert "state=FAILURE" in older
        assert len(ids(get(operator, JOBS + older))) == 10

    def test_a_page_that_looks_through_rows_says_how_far_it_came(self, operator, monkeypatch):
        monkeypatch.setattr(changelist, "WINDOW", 10)
        wanted = make_result(queue="rare")
        for _ in range(25):
            make_result()
        page = get(operator, f"{JOBS}?queue=rare")
        assert ids(page) == []
        assert "Looked through 10 jobs" in page
        page = get(operator, JOBS + (link(page, "next") or ""))
        assert ids(page) == []
        page = get(operator, JOBS + (link(page, "next") or ""))
        assert ids(page) == [str(wanted.pk)]
        assert link(page, "next") is None

    def test_newer_looks_through_a_window_too(self, operator, monkeypatch):
        monkeypatch.setattr(changelist, "WINDOW", 10)
        first = make_result()
        for _ in range(12):
            make_result()
        wanted = make_result(queue="rare")
        page = get(operator, f"{JOBS}?queue=rare&after={first.pk}")
        assert ids(page) == []
        assert ids(get(operator, JOBS + (link(page, "prev") or ""))) == [str(wanted.pk)]

    @pytest.mark.parametrize("query", ["before=nonsense", "after=1", "unknown__lookup=1"])
    def test_a_broken_address_leads_to_the_list(self, operator, query):
        response = operator.get(f"{JOBS}?{query}")
        assert response.status_code == 302
        assert response.url == f"{JOBS}?e=1"

    def test_the_order_is_not_for_sale(self, operator):
        made = [str(make_result().pk) for _ in range(3)]
        page = get(operator, f"{JOBS}?o=3.-2")
        assert ids(page) == made[::-1]
        assert "?o=" not in page


class TestFilters:
    def test_choices_come_from_registry_and_settings(self, operator, settings):
        settings.DJANGO_JOBS = settings.DJANGO_JOBS | {"QUEUES": {"listed": {}}}
        page = get(operator, JOBS)
        for query in (f"task={TASK}", f"task={tasks.export_csv.name}", "queue=listed", "queue=mail", "queue=default"):
            assert f'href="?{query}"' in page

    def test_queues_that_only_a_call_has_named_are_offered(self, operator, monkeypatch):
        make_result(queue="old")
        make_result(queue="by-call")
        make_failure(queue="of-failures")
        assert 'href="?queue=by-call"' in get(operator, JOBS)
        page = get(operator, FAILED)
        assert 'href="?queue=of-failures"' in page
        assert 'href="?queue=by-call"' not in page
        monkeypatch.setattr(counting.newest_values, "__defaults__", (2,))
        page = get(operator, JOBS)
        assert 'href="?queue=by-call"' in page
        assert 'href="?queue=old"' not in page, "no more rows are read than those"
        assert len(ids(get(operator, f"{JOBS}?queue=old"))) == 1

    def test_a_choice_that_is_not_offered_is_seen(self, operator):
        make_result(task="old.jobs.gone")
        make_result()
        page = get(operator, f"{JOBS}?task=old.jobs.gone")
        assert len(ids(page)) == 1
        assert re.search(r'<li class="selected">\s*<a href="[^"]*">old.jobs.gone</a>', page)

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ("state=FAILURE", 2),
            ("queue=other", 1),
            ("state=FAILURE&queue=other", 1),
            ("task=x.y", 1),
        ],
    )
    def test_rows_that_match(self, operator, query, count):
        make_failure()
        make_failure(queue="other")
        make_result(task="x.y")
        assert len(ids(get(operator, f"{JOBS}?{query}"))) == count

    def test_time_is_by_the_moment_of_sending_whatever_the_id(self, operator):
        def sent(hours: float) -> JobResult:
            moment = clock.now() - timedelta(hours=hours)
            ms = clock.to_ms(moment)
            return make_result(
                age=hours * 3600, id=f"{ms:012x}"[:8] + "-" + f"{ms:012x}"[8:] + "-7000-8000-000000000001"
            )

        recent, older = sent(0.2), sent(3)
        # Not ordered by time. One that sorts below the ids of that time is not found.
        own_id = make_result(age=600, id=UUID("a3bb189e-8bf9-4888-9912-ace4e6543002"))
        own_old = make_result(age=7 * 3600, id=UUID("b1a0c7a2-0f4c-4b59-8a55-1f6f3d9c2e11"))
        assert set(ids(get(operator, f"{JOBS}?within=1h"))) == {str(recent.pk), str(own_id.pk)}
        assert set(ids(get(operator, f"{JOBS}?within=24h"))) == {
            str(row.pk) for row in (recent, older, own_id, own_old)
        }

    @pytest.mark.parametrize(
        ("query", "says"),
        [
            ("state=nonsense", "The filter “state” knows no “nonsense”: everything is shown."),
            ("state=UNKNOWN", "The filter “state” knows no “UNKNOWN”"),
            ("state=%00", "The filter “state” knows no “\\x00”"),
            ("task=x.y", "The filter “task” knows no “x.y”"),
            ("task=%3Cscript%3E", "The filter “task” knows no “&lt;script&gt;”"),
            ("queue=no good", "The filter “queue” knows no “no good”"),
            ("queue=%00", "The filter “queue” knows no “\\x00”"),
            ("within=bogus", "The filter “sent within” knows no “bogus”"),
            ("state=FAILURE&within=9d", "The filter “sent within” knows no “9d”"),
            ("exception__contains=secret", "There is no such filter"),
            ("state__in=FAILURE,x", "There is no such filter"),
            ("nonsense=1", "There is no such filter"),
            (f"q={'x' * 10_000}", "Nothing has a name that long: everything is shown."),
            (f"task={'x' * 10_000}", "Nothing has a name that long"),
        ],
    )
    @pytest.mark.parametrize("method", ["get", "post"])
    def test_nonsense_leads_to_the_whole_list_and_is_said(self, operator, query, says, method):
        made = make_failure()
        sent = {"action": "delete_selected", "select_across": "1", "confirmed": "1", "_selected_action": str(made.pk)}
        response = getattr(operator, method)(f"{JOBS}?{query}", sent if method == "post" else None, follow=True)
        assert response.redirect_chain == [(f"{JOBS}?e=1", 302)]
        page = response.content.decode()
        assert ids(page) == [str(made.pk)]
        assert says in page
        assert "x" * 1000 not in page

    def test_a_state_that_a_task_invented_can_be_chosen(self, operator):
        made = make_result("resizing")
        make_result()
        assert ids(get(operator, f"{JOBS}?state=resizing")) == [str(made.pk)]

    def test_a_queue_that_nothing_names_is_said_to_be_unknown(self, operator):
        make_result()
        page = get(operator, f"{JOBS}?queue=mial")
        assert ids(page) == []
        assert "No job matches." in page
        assert "“mial” is none of the choices for “queue”." in page
        assert "is none of" not in get(operator, f"{FAILED}?queue=mail")

    @pytest.mark.parametrize("column", ["args", "kwargs", "message", "result", "exception", "traceback", "history"])
    def test_what_may_not_be_seen_cannot_be_guessed(self, db, column):
        make_failure(**{column: "secret"})
        response = client_with("view_jobresult").get(f"{JOBS}?{column}__startswith=secret", follow=True)
        assert response.redirect_chain == [(f"{JOBS}?e=1", 302)]


class TestSearch:
    def test_by_id(self, operator):
        wanted = make_result()
        make_result()
        assert ids(get(operator, f"{JOBS}?q={wanted.pk}")) == [str(wanted.pk)]
        assert ids(get(operator, f"{JOBS}?q= {str(wanted.pk).replace('-', '')} ")) == [str(wanted.pk)]

    @pytest.mark.parametrize("text", [TASK, TASK[:-3], "send_rec", "SEND_receipt", "tests.admin"])
    def test_by_task_or_its_beginning(self, operator, text):
        wanted = make_result()
        make_result(task="x.y")
        assert ids(get(operator, f"{JOBS}?q={text}")) == [str(wanted.pk)]

    def test_a_task_that_is_gone_is_found_by_its_whole_name(self, operator):
        wanted = make_result(task="old.jobs.gone")
        assert ids(get(operator, f"{JOBS}?q=old.jobs.gone")) == [str(wanted.pk)]
        assert ids(get(operator, f"{JOBS}?q=old.jobs")) == []

    def test_never_reads_texts(self, operator):
        with CaptureQueriesContext(connection) as queries:
            get(operator, f"{JOBS}?q=order")
        assert not any(" LIKE " in query["sql"] for query in queries.captured_queries)


class TestCounting:
    def test_counts_stop_at_the_cap(self, operator, monkeypatch):
        monkeypatch.setattr(counting, "CAP", 3)
        for _ in range(5):
            make_result(state=State.REVOKED)
        assert counting.capped(JobResult.objects.all(), 3) == Count(3, Accuracy.AT_LEAST)
        assert counting.capped(JobResult.objects.all(), 5) == Count(5)

    def test_words(self):
        assert str(Count(12)) == "12"
        assert str(Count(10_000, Accuracy.AT_LEAST)) == "10,000+"
        assert str(Count(1_234_567, Accuracy.ESTIMATE)) == "about 1,234,567"

    def test_a_list_counts_with_a_limit_and_reads_no_large_column(self, operator):
        make_failure()
        with CaptureQueriesContext(connection) as queries:
            get(operator, FAILED)
        table = JobResult._meta.db_table
        asked = [query["sql"] for query in queries.captured_queries if table in query["sql"]]
        assert len(asked) == 3  # the rows, their number, their queues
        for sql in asked:
            assert "LIMIT" in sql
            for column in ("traceback", "message", "history", "kwargs"):
                assert f'{table}"."{column}' not in sql.replace("`", '"')


class TestStates:
    def test_nothing_yet(self, operator):
        assert "python manage.py runworker" in get(operator, JOBS)
        assert "No job has failed." in get(operator, FAILED)

    def test_nothing_matches(self, operator):
        assert "Clear all filters" in get(operator, f"{JOBS}?state=FAILURE")

    def test_works_without_debug(self, operator, settings):
        settings.DEBUG = False
        make_failure()
        assert len(ids(get(operator, JOBS))) == 1

    def test_needs_the_permission_to_view(self, db):
        assert client_with("view_failedjob").get(JOBS).status_code == 403
        client = Client()
        client.force_login(User.objects.create_user("bob"))
        assert client.get(JOBS).status_code == 302

    def test_viewers_get_no_actions(self, db):
        make_failure()
        page = get(client_with("view_failedjob"), FAILED)
        assert 'name="action"' not in page
        page = get(client_with("view_failedjob", "retry_job"), FAILED)
        assert 'value="retry_selected"' in page
        assert 'value="discard_selected"' not in page
        assert 'value="delete_selected"' not in page
