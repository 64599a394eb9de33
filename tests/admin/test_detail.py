from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.test import Client

from django_jobs import clock
from django_jobs.admin import detail
from django_jobs.admin.presentation import WHY_HIDDEN
from django_jobs.identifiers import new_id
from django_jobs.models import JobResult
from django_jobs.states import State
from tests.admin import tasks
from tests.admin.results import EVIL, client_with, make_failure, make_history, make_result

JOBS = "/admin/django_jobs/jobresult/"
FAILED = "/admin/django_jobs/failedjob/"


def page_of(client: Client, job: JobResult, base: str = JOBS) -> str:
    response = client.get(f"{base}{job.pk}/change/")
    assert response.status_code == 200
    return str(response.content.decode())


def test_shows_what_happened(operator):
    parent = make_result()
    job = make_failure(
        retries=2,
        priority=7,
        deliveries=1,
        parent_id=parent.pk,
        root_id=parent.pk,
        kwargs='{"full": true, "token": "[hidden]"}',
        history=make_history("first try", "second try"),
    )
    page = page_of(operator, job)
    assert f"<code>{job.task}</code>" in page
    assert "after 3 attempts" in page
    assert "no such order &lt;script&gt;" in page
    assert EVIL not in page
    for text in ("first try", "second try", "Traceback of second try", "web-9:1", "2.5 s", "retried"):
        assert text in page
    assert (
        page.index("Traceback of attempt 3") < page.index("Traceback of attempt 2") < page.index("attempt 1</summary>")
    )
    assert f'href="{JOBS}{parent.pk}/change/"' in page
    assert "&#x27;token&#x27;: &#x27;[hidden]&#x27;" in page


@pytest.mark.parametrize(
    ("task", "state", "retries", "text"),
    [
        (tasks.export_csv, State.FAILURE, 0, "1"),  # does not retry by itself: no other follows
        (tasks.export_csv, State.FAILURE, 3, "4/4"),
        (tasks.export_csv, State.STARTED, 0, "1"),
        (tasks.export_csv, State.RETRY, 0, "1/4"),  # it has asked for a retry
        (tasks.send_receipt, State.FAILURE, 1, "2"),  # not for want of retries: none follows
        (tasks.send_receipt, State.FAILURE, 4, "5/5"),
        (tasks.send_receipt, State.FAILURE, 7, "8"),  # there were more when it ran
        (tasks.send_receipt, State.SUCCESS, 1, "2"),
        (tasks.send_receipt, State.REVOKED, 0, "1"),
        (tasks.send_receipt, State.STARTED, 1, "2/5"),
        (tasks.send_receipt, State.RETRY, 0, "1/5"),
        (tasks.send_receipt, State.STARTED, 7, "8/8"),
        (tasks.keep_on, State.FAILURE, 1, "2"),
        (tasks.keep_on, State.RETRY, 1, "2/∞"),
    ],
)
def test_attempts_promise_nothing(task, state, retries, text):
    assert detail.attempt_text(make_result(state, save=False, task=task.name, retries=retries)) == text


def test_a_job_that_is_not_over_says_which_attempt_it_is(operator):
    assert ">attempt 2/5</span>" in page_of(operator, make_result(State.STARTED, retries=1))
    assert ">attempt" not in page_of(operator, make_result(State.PENDING))
    assert ">after 1 attempt</span>" in page_of(operator, make_result())


def generation(number: int) -> int:
    return number << 16


@pytest.mark.parametrize(
    ("state", "values", "seconds"),
    [
        (State.SUCCESS, {}, 2),
        (State.SUCCESS, {"eta": -59}, 1),
        (State.SUCCESS, {"eta": -90}, 2),  # before it was sent
        (State.FAILURE, {"eta": -58.5, "retries": 1, "fence": generation(1)}, 0.5),
        (State.STARTED, {"eta": -58.5, "retries": 1, "fence": generation(1)}, 0.5),
        (State.FAILURE, {"retries": 1, "fence": generation(1)}, None),  # retried at once
        (State.SUCCESS, {"fence": generation(2)}, None),  # an operator has sent it again
        (State.RETRY, {"eta": 600}, None),  # of the next run
        (State.SCHEDULED, {"eta": 600, "started_at": -50}, None),
        (State.PENDING, {}, None),
    ],
)
def test_the_wait_counts_from_when_this_attempt_was_due(state, values, seconds):
    """The job was sent 60 seconds ago, and started 58 seconds ago."""
    now = clock.now()
    moments = {name: now + timedelta(seconds=values[name]) for name in ("eta", "started_at") if name in values}
    with clock.use(now.timestamp):
        job = make_result(state, save=False, **(values | moments))
    assert detail.waited(job) == (None if seconds is None else timedelta(seconds=seconds))


def test_never_shows_the_message(operator):
    job = make_failure(message='{"v":1,"task":"x","at":1,"args":["unredacted"]}')
    assert "unredacted" not in page_of(operator, job)


def test_parents_that_are_gone_are_named_but_not_linked(operator):
    gone = new_id()
    page = page_of(operator, make_result(parent_id=gone))
    assert f"<code>{gone}</code>" in page
    assert f"{JOBS}{gone}" not in page


def test_payload_needs_its_permission(db):
    secrets = {
        "args": '["secret 1"]',
        "kwargs": '{"a": "secret 2"}',
        "result": '"secret 3"',
        "meta": json.dumps({"done": 1, "total": 4, "message": "secret 4"}),
        "exception": "secret 5",
        "traceback": "secret 6",
        "history": make_history("secret 7"),
    }
    job = make_failure(**secrets)
    page = page_of(client_with("view_jobresult"), job)
    assert "secret" not in page
    assert "[hidden]" in page
    assert f"[hidden]</span>: {WHY_HIDDEN}</p>" in page
    assert f'<span class="dj-hidden" title="{WHY_HIDDEN}">' in page
    assert "25 %" in page
    assert "builtins.ValueError" in page
    page = page_of(client_with("view_jobresult", "view_job_payload"), job)
    assert all(f"secret {n}" in page for n in range(1, 8))


@pytest.mark.parametrize(
    ("values", "is_said"),
    [
        ({"args": '["[hidden]"]'}, True),
        ({"kwargs": '{"order": {"token": "[hidden]"}}'}, True),
        ({"args": '["what [hidden] means"]'}, False),
        ({"result": '"[hidden]"'}, False),  # nobody has redacted it
    ],
)
def test_arguments_that_were_left_out_say_why(operator, values, is_said):
    page = page_of(operator, make_result(**values))
    assert ("because the task names the argument in sensitive=, or because its name sounds like" in page) is is_said


def test_the_permission_is_called_by_its_name():
    assert str(dict(JobResult._meta.permissions)["view_job_payload"]) in str(WHY_HIDDEN)


def test_progress(operator):
    job = make_result(State.STARTED, meta='{"done": 4, "total": 10, "message": "page 4 of 10"}')
    page = page_of(operator, job)
    assert re.search(r'<progress id="dj-progress" max="100" value="40">', page)
    assert "page 4 of 10" in page


@pytest.mark.parametrize(
    "meta", ["null", "[]", "{}", '{"done": 1, "total": 0}', '{"done": "x", "total": 3}', "not json"]
)
def test_other_meta_is_shown_without_a_bar(operator, meta):
    page = page_of(operator, make_result(State.STARTED, meta=meta))
    assert "<progress" not in page


@pytest.mark.parametrize("history", ["nonsense\n", "[1]\n", "{}x\n", '{"started_ms": 1e300}\n'])
def test_a_line_of_history_that_cannot_be_read_is_left_out(operator, history):
    assert page_of(operator, make_failure(history=history)).count("<summary>Traceback") == 1


def test_values_look_like_python(operator):
    args = [{"$": "datetime", "v": ["2026-11-20T14:00:00+00:00", None, 0]}, {"$": "decimal", "v": "1.50"}]
    args += [{"$": "model", "c": "shop.order", "db": "default", "v": 7}, {"$": "set", "v": [1, 2]}]
    page = page_of(operator, make_result(args=json.dumps(args)))
    for text in ("datetime(2026-11-20T14:00:00+00:00)", "decimal(&#x27;1.50&#x27;)", "shop.order 7", "{1, 2}"):
        assert text in page


def test_a_cut_text_is_shown_as_it_is(operator):
    assert "[1, 2, 3…" in page_of(operator, make_result(args="[1, 2, 3…"))


class TestButtons:
    def test_are_forms_inside_the_content(self, operator):
        job = make_failure()
        page = page_of(operator, job, FAILED)
        form = re.search(rf'<form method="post" action="{FAILED}{job.pk}/do/retry/">.*?</form>', page, re.DOTALL)
        assert form is not None
        assert "csrfmiddlewaretoken" in form.group()
        assert "disabled" not in form.group()
        assert page.index('id="content-main"') < form.start()

    def test_follow_permissions(self, db):
        job = make_failure()
        assert "do/retry" not in page_of(client_with("view_jobresult"), job)
        page = page_of(client_with("view_jobresult", "retry_job"), job)
        assert "do/retry" in page
        assert "do/discard" not in page
        page = page_of(client_with("view_jobresult", "discard_job", "delete_jobresult"), job)
        assert "do/retry" not in page
        assert "do/discard" in page
        assert f"{JOBS}{job.pk}/delete/" in page

    @pytest.mark.parametrize(
        ("values", "reason"),
        [({"task": "old.jobs.gone"}, "“old.jobs.gone” is not registered"), ({"message": None}, "was not kept")],
    )
    def test_retry_says_why_it_is_disabled(self, operator, values, reason):
        page = page_of(operator, make_failure(**values))
        assert re.search(r"<button [^>]*disabled[^>]*>Retry", page)
        assert reason in page

    def test_a_running_job_has_none(self, operator):
        page = page_of(operator, make_result(State.STARTED))
        assert "/do/" not in page
        assert "/delete/" not in page


class TestAddresses:
    def test_a_job_that_is_not_there(self, operator):
        for address in (f"{JOBS}{new_id()}/change/", f"{JOBS}nonsense/change/"):
            response = operator.get(address, follow=True)
            assert response.redirect_chain[-1][0] == JOBS
            assert "There is no record of the job" in response.content.decode()

    def test_a_failure_that_was_dealt_with_leads_to_its_record(self, operator):
        job = make_result(State.PENDING)
        response = operator.get(f"{FAILED}{job.pk}/change/")
        assert response.url == f"{JOBS}{job.pk}/change/"

    def test_or_to_the_list_for_those_who_may_not_see_it(self, db):
        job = make_result(State.PENDING)
        response = client_with("view_failedjob").get(f"{FAILED}{job.pk}/change/", follow=True)
        assert response.redirect_chain[-1][0] == FAILED
        assert "not among the failed jobs any more" in response.content.decode()

    def test_nothing_is_posted_to_the_page(self, operator):
        job = make_result()
        assert operator.post(f"{JOBS}{job.pk}/change/", {"task": "x"}).status_code == 405
        assert operator.get(f"{JOBS}add/").status_code == 403


def test_what_operators_did_stands_between_the_runs(operator):
    history = make_history("first run")
    history += json.dumps({"event": "discarded", "by": "bob", "at_ms": clock.now_ms() - 5_000}) + "\n"
    lines = make_history("second run").replace('"RETRY"', '"FAILURE"').replace("}", ', "retried_by": "eve"}')
    page = page_of(operator, make_failure(history=history + lines, age=5))
    order = ["Traceback of attempt 3", "sent again by eve", "second run", "discarded by bob", "Traceback of first run"]
    found = [page.index(text) for text in order]
    assert found == sorted(found)


def test_a_discard_stands_after_the_last_run(operator):
    event = {"event": "discarded", "by": "bob", "at_ms": clock.now_ms()}
    page = page_of(operator, make_failure(history=json.dumps(event) + "\n"))
    assert page.index("discarded by bob") < page.index("Traceback of attempt 1")
