from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.test import Client

from django_jobs.admin import bulk
from django_jobs.admin.operating import _report
from django_jobs.brokers import get_broker
from django_jobs.models import JobResult, OutboxJob
from django_jobs.results import get_store
from django_jobs.states import State
from tests.admin.results import client_with, make_failure, make_result

JOBS = "/admin/django_jobs/jobresult/"
FAILED = "/admin/django_jobs/failedjob/"
UNREACHABLE = "redis://127.0.0.1:1/0"


def state_of(job: JobResult) -> str:
    return JobResult.objects.get(pk=job.pk).state


def select(action: str, *jobs: JobResult, across: bool = False, confirmed: bool = False) -> dict[str, object]:
    data: dict[str, object] = {
        "action": f"{action}_selected",
        "select_across": int(across),
        "index": 0,
        "_selected_action": [str(job.pk) for job in jobs],
    }
    if confirmed:
        del data["index"]
        data["confirmed"] = "1"
    return data


def said(client: Client, url: str, data: dict[str, object]) -> str:
    response = client.post(url, data, follow=True)
    assert response.status_code == 200
    return " ".join(str(message) for message in response.context["messages"])


class TestOne:
    def test_retry_sends_it_again_and_says_who_did(self, operator):
        job = make_failure()
        assert said(operator, f"{FAILED}{job.pk}/do/retry/", {}) == "1 job was sent again."
        assert state_of(job) == State.PENDING
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.action_flag, entry.user.username) == (str(job.pk), CHANGE, "ana")
        assert get_broker().find(str(job.pk), "mail") is not None
        assert "sent again by ana" in operator.get(f"{JOBS}{job.pk}/change/").content.decode()

    def test_discard_marks_it(self, operator):
        job = make_failure()
        assert said(operator, f"{JOBS}{job.pk}/do/discard/", {}) == "1 job was discarded."
        assert state_of(job) == State.REVOKED
        assert "discarded by ana" in operator.get(f"{JOBS}{job.pk}/change/").content.decode()

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ({"task": "old.jobs.gone"}, "not registered"),
            ({"message": None}, "not kept"),
            ({"state": "STARTED"}, "Only"),
        ],
    )
    def test_what_cannot_be_retried_is_refused_with_the_reason(self, operator, values, reason):
        job = make_failure()
        JobResult.objects.filter(pk=job.pk).update(**values)
        assert reason in said(operator, f"{JOBS}{job.pk}/do/retry/", {})
        assert not LogEntry.objects.exists()

    def test_only_by_post_with_a_token(self, operator):
        job = make_failure()
        assert operator.get(f"{JOBS}{job.pk}/do/retry/").status_code == 405
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = operator.cookies
        assert strict.post(f"{JOBS}{job.pk}/do/retry/").status_code == 403
        assert state_of(job) == State.FAILURE

    @pytest.mark.parametrize("action", ["retry", "discard"])
    def test_each_needs_its_own_permission(self, db, action):
        job = make_failure()
        others = {"retry": "discard_job", "discard": "retry_job"}[action]
        for client in (client_with("view_jobresult", others, "delete_jobresult"), client_with(f"{action}_job")):
            assert client.post(f"{JOBS}{job.pk}/do/{action}/").status_code == 403
        assert state_of(job) == State.FAILURE
        assert client_with("view_jobresult", f"{action}_job").post(f"{JOBS}{job.pk}/do/{action}/").status_code == 302
        assert state_of(job) != State.FAILURE

    def test_other_operations_do_not_exist(self, operator):
        job = make_failure()
        assert operator.post(f"{JOBS}{job.pk}/do/explode/").status_code == 404
        assert operator.post(f"{JOBS}{job.pk}/do/delete/").status_code == 404

    def test_delete_asks_and_deletes(self, operator):
        job = make_failure()
        assert operator.get(f"{JOBS}{job.pk}/delete/").status_code == 200
        assert operator.post(f"{JOBS}{job.pk}/delete/", {"post": "yes"}).status_code == 302
        assert not JobResult.objects.exists()

    def test_a_running_job_is_not_deleted(self, operator):
        job = make_result(State.STARTED)
        assert operator.post(f"{JOBS}{job.pk}/delete/", {"post": "yes"}).status_code == 403


class TestSelection:
    def test_retry_takes_the_ticked_ones(self, operator):
        jobs = [make_failure() for _ in range(3)]
        assert said(operator, FAILED, select("retry", *jobs[:2])) == "2 jobs were sent again."
        assert [state_of(job) for job in jobs] == [State.PENDING, State.PENDING, State.FAILURE]
        entry = LogEntry.objects.get()
        assert entry.object_repr == "2 failed jobs"
        assert entry.change_message == "2 jobs were sent again."

    def test_one_is_one(self, operator):
        job = make_failure()
        assert "Discard 1 selected failed job." in operator.post(FAILED, select("discard", job)).content.decode()
        assert said(operator, FAILED, select("retry", job)) == "1 job was sent again."
        assert LogEntry.objects.get().object_repr == "1 failed job"
        tally = bulk.Tally(skipped=1)
        assert "1 skipped: it was not in a state for it" in next(iter(_report(bulk.RETRY, tally)))[0]

    def test_those_in_another_state_are_left_alone(self, operator):
        done = make_result(State.SUCCESS)
        assert "Nothing was changed" in said(operator, JOBS, select("retry", done))
        assert state_of(done) == State.SUCCESS
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize(("action", "state"), [("discard", State.REVOKED), ("delete", None)])
    def test_what_takes_something_away_asks_first(self, operator, action, state):
        jobs = [make_failure() for _ in range(3)]
        page = operator.post(FAILED, select(action, *jobs[:2])).content.decode()
        assert f"{action.title()} 2 selected failed jobs." in page
        assert [state_of(job) for job in jobs] == [State.FAILURE] * 3
        assert "2 jobs were " in said(operator, FAILED, select(action, *jobs[:2], confirmed=True))
        assert JobResult.objects.filter(state=State.FAILURE).count() == 1
        assert JobResult.objects.filter(state=state).count() == (2 if state else 0)
        assert LogEntry.objects.get().action_flag == (DELETION if action == "delete" else CHANGE)

    def test_delete_leaves_what_is_not_over(self, operator):
        running, done = make_result(State.STARTED), make_result()
        said(operator, JOBS, select("delete", running, done, confirmed=True))
        assert JobResult.objects.get().state == State.STARTED

    @pytest.mark.parametrize("action", ["retry", "discard", "delete"])
    def test_each_needs_its_own_permission(self, db, action):
        job = make_failure()
        allowed = {"retry": "retry_job", "discard": "discard_job", "delete": "delete_failedjob"}
        others = [name for key, name in allowed.items() if key != action]
        client = client_with("view_failedjob", *others)
        assert client.post(FAILED, select(action, job, confirmed=True)).status_code == 403
        assert state_of(job) == State.FAILURE


class TestAllThatMatch:
    @pytest.fixture(autouse=True)
    def _small_chunks(self, monkeypatch):
        monkeypatch.setattr(bulk, "CHUNK", 5)

    def test_asks_with_count_filter_and_sample(self, operator):
        jobs = [make_failure(queue="mail" if n % 2 else "other") for n in range(12)]
        page = operator.post(f"{FAILED}?queue=other", select("retry", jobs[0], across=True)).content.decode()
        assert "Retry all 6 failed jobs that match." in page
        assert "<dt>queue</dt><dd>other</dd>" in page
        assert page.count("<tr><td>") == 5
        assert JobResult.objects.filter(state=State.FAILURE).count() == 12

    def test_takes_all_of_the_filter_and_nothing_else(self, operator):
        jobs = [make_failure(queue="mail" if n % 2 else "other") for n in range(24)]
        data = select("retry", jobs[0], across=True, confirmed=True)
        assert said(operator, f"{FAILED}?queue=other", data) == "12 jobs were sent again."
        assert {job.queue for job in JobResult.objects.filter(state=State.PENDING)} == {"other"}
        assert "queue=other" in LogEntry.objects.get().change_message

    def test_does_not_start_where_the_page_does(self, operator):
        jobs = [make_failure() for _ in range(6)]
        data = select("retry", jobs[0], across=True, confirmed=True)
        here = f"{FAILED}?before={jobs[3].pk}&queue=mail&e=1"
        page = operator.post(here, select("retry", jobs[0], across=True)).content.decode()
        assert re.findall("<dt>(.*?)</dt>", page) == ["queue"]
        assert said(operator, here, data) == "6 jobs were sent again."
        assert LogEntry.objects.get().change_message == "6 jobs were sent again. (all that match queue=mail)"

    def test_retry_does_not_wake_what_somebody_revoked(self, operator):
        revoked, failed = make_failure(), make_failure()
        JobResult.objects.filter(pk=revoked.pk).update(state=State.REVOKED)
        assert said(operator, JOBS, select("retry", failed, across=True, confirmed=True)) == "1 job was sent again."
        assert state_of(revoked) == State.REVOKED
        data = select("retry", revoked, across=True, confirmed=True)
        assert said(operator, f"{JOBS}?state=REVOKED", data) == "1 job was sent again."
        assert state_of(revoked) == State.PENDING

    def test_says_what_is_left_when_the_time_is_over_and_goes_on(self, operator, monkeypatch):
        monkeypatch.setattr(bulk, "TIME_LIMIT", 0.0)
        jobs = [make_failure() for _ in range(12)]
        data = select("delete", jobs[0], across=True, confirmed=True)
        assert said(operator, FAILED, data).startswith("5 jobs were deleted. Not reached")
        assert JobResult.objects.count() == 7
        assert "the time of one request was over: 2." in said(operator, FAILED, data)
        assert said(operator, FAILED, data) == "2 jobs were deleted."


@pytest.mark.django_db(transaction=True)  # the jobs are sent when the rows are committed
class TestBrokerAway:
    @pytest.fixture(autouse=True)
    def _away(self, settings):
        settings.DJANGO_JOBS = settings.DJANGO_JOBS | {"BROKER": UNREACHABLE, "ENQUEUE_TIMEOUT": 0.5}

    @pytest.fixture
    def no_outbox(self, monkeypatch):
        """As with a result store of one's own."""
        monkeypatch.setattr(get_store(), "outbox", None)

    def test_a_retry_waits_in_the_outbox(self, operator):
        jobs = [make_failure() for _ in range(3)]
        assert said(operator, f"{FAILED}{jobs[0].pk}/do/retry/", {}) == "1 job was sent again."
        assert said(operator, FAILED, select("retry", *jobs[1:])) == "2 jobs were sent again."
        assert {state_of(job) for job in jobs} == {State.PENDING}
        assert {str(row.pk) for row in OutboxJob.objects.all()} == {str(job.pk) for job in jobs}
        assert LogEntry.objects.count() == 2

    @pytest.mark.usefixtures("no_outbox")
    def test_one_job_stays_failed_and_the_page_says_what_to_do(self, operator):
        job = make_failure()
        text = said(operator, f"{FAILED}{job.pk}/do/retry/", {})
        assert text.startswith("Stopped: ")
        assert "Do it again" in text
        assert state_of(job) == State.FAILURE
        assert not LogEntry.objects.exists()

    @pytest.mark.usefixtures("no_outbox")
    def test_a_selection_counts_what_was_not_done(self, operator):
        jobs = [make_failure() for _ in range(3)]
        assert "Not done, and as they were: 3." in said(operator, FAILED, select("retry", *jobs))
        assert {state_of(job) for job in jobs} == {State.FAILURE}
