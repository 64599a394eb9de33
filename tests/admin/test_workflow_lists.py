from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_jobs import clock
from django_jobs.admin import changelist
from django_jobs.async_result import WorkflowResult
from django_jobs.identifiers import new_id
from django_jobs.models import JobResult, Workflow
from django_jobs.states import State
from tests.admin import tasks
from tests.admin import workflows as w
from tests.admin.results import client_with, make_result
from tests.admin.test_lists import get, ids, link
from tests.admin.test_operations import said
from tests.admin.workflows import WORKFLOWS, make_workflow

JOBS = "/admin/django_jobs/jobresult/"


def make_each() -> dict[str, Workflow]:
    """Make a workflow in each state."""
    over: dict[str, Any] = {"remaining": 0, "finished_at": clock.now()}
    return {
        "running": make_workflow(remaining=5, failed=1),
        "succeeded": make_workflow(**over),
        "failed": make_workflow(**over, failed=2),
        "revoked": make_workflow(**over, failed=2, revoked_at=clock.now()),
    }


def select(action: str, *workflows: Workflow, across: bool = False, confirmed: bool = False) -> dict[str, Any]:
    data = {
        "action": f"{action}_selected", "select_across": int(across), "index": 0,
        "_selected_action": [str(one.pk) for one in workflows],
    }  # fmt: skip
    return {**data, "confirmed": "1"} if confirmed else data


class TestList:
    @pytest.mark.parametrize("state", ["running", "succeeded", "failed", "revoked"])
    def test_a_state_is_a_word_and_an_icon_and_can_be_filtered(self, operator, state):
        made = make_each()
        page = get(operator, f"{WORKFLOWS}?state={state}")
        assert ids(page) == [str(made[state].pk)]
        assert re.search(rf'<td class="field-status"><span class="dj-status [^>]*><svg .*?</svg>{state}</span>', page)

    def test_one_that_was_revoked_is_so_though_all_that_ran_succeeded(self, operator):
        made = make_workflow(failed=0, remaining=0, revoked_at=clock.stamp(), finished_at=clock.stamp())
        assert WorkflowResult(made.pk).state == made.state == State.REVOKED
        assert ids(get(operator, f"{WORKFLOWS}?state=revoked")) == [str(made.pk)]
        assert ids(get(operator, f"{WORKFLOWS}?state=succeeded")) == []

    def test_progress_in_words_and_as_a_bar(self, operator):
        make_workflow(size=12, remaining=5, failed=1)
        page = get(operator, WORKFLOWS)
        assert "<span>7 of 12 ended, 1 failed</span>" in page
        assert '<svg class="dj-share-bar"' in page

    def test_more_ends_than_steps_are_not_shown(self, operator):
        make_workflow(size=3, remaining=-1)
        assert "<span>3 of 3 ended</span>" in get(operator, WORKFLOWS)

    def test_names_are_short_and_have_their_whole_in_the_title(self, operator):
        make_workflow(name="chord of shop.jobs.resize, <script>.publish")
        page = get(operator, WORKFLOWS)
        assert "chord of resize, &lt;script&gt;.publish</span>" in page
        assert 'title="chord of shop.jobs.resize, &lt;script&gt;.publish"' in page

    def test_duration_of_what_has_finished_and_of_what_has_not(self, operator):
        sent = clock.now() - timedelta(hours=3)
        make_workflow(age=3 * 3600, remaining=0, finished_at=sent + timedelta(seconds=90))
        assert '<td class="field-took">1 m 30 s</td>' in get(operator, WORKFLOWS)
        make_workflow(age=3600)
        assert '<td class="field-took">1 h 00 m</td>' in get(operator, WORKFLOWS)

    def test_by_time(self, operator):
        for hours in (0.1, 3):
            moment = clock.now() - timedelta(hours=hours)
            make_workflow(id=w._id_at(clock.to_ms(moment), 1), created_at=moment)
        assert len(ids(get(operator, f"{WORKFLOWS}?within=1h"))) == 1
        assert len(ids(get(operator, f"{WORKFLOWS}?within=24h"))) == 2

    def test_search_by_id_and_a_part_of_the_name(self, operator):
        wanted = make_workflow(name="chain of shop.jobs.export, shop.jobs.mail")
        make_workflow()
        for text in (str(wanted.pk), str(wanted.pk).replace("-", ""), "EXPORT", "jobs.mail"):
            assert ids(get(operator, f"{WORKFLOWS}?q={text}")) == [str(wanted.pk)], text
        assert "No workflow matches." in get(operator, f"{WORKFLOWS}?q=nothing")

    def test_a_search_looks_through_a_window_and_says_so(self, operator, monkeypatch):
        monkeypatch.setattr(changelist, "WINDOW", 5)
        wanted = make_workflow(name="rare")
        for _ in range(12):
            make_workflow()
        page = get(operator, f"{WORKFLOWS}?q=rare")
        assert ids(page) == []
        assert "Looked through 5 workflows, back to" in page
        page = get(operator, WORKFLOWS + str(link(page, "next")))
        assert ids(get(operator, WORKFLOWS + str(link(page, "next")))) == [str(wanted.pk)]

    @pytest.mark.parametrize("query", ["state=nonsense", "within=9y", "name__contains=x", "root_id=1"])
    def test_what_is_no_filter_leads_to_all_and_is_said(self, operator, query):
        make_workflow()
        response = operator.get(f"{WORKFLOWS}?{query}", follow=True)
        assert response.redirect_chain == [(f"{WORKFLOWS}?e=1", 302)]
        assert "everything is shown" in response.content.decode()

    def test_the_number_of_queries_is_the_same_for_one_row_and_for_fifty(self, operator):
        counts = []
        for number in (1, 60):
            for _ in range(number):
                make_workflow()
            with CaptureQueriesContext(connection) as queries:
                get(operator, WORKFLOWS)
            counts.append(len(queries))
        assert counts[0] == counts[1]
        asked = [query["sql"] for query in queries if Workflow._meta.db_table in query["sql"]]
        assert len(asked) == 2  # the rows and their number
        assert all("LIMIT" in sql for sql in asked)

    def test_nothing_yet(self, operator):
        assert "No workflow has been sent yet." in get(operator, WORKFLOWS)

    def test_is_read_only(self, operator):
        workflow = make_workflow()
        assert operator.get(f"{WORKFLOWS}add/").status_code == 403
        assert operator.get(f"{WORKFLOWS}{workflow.pk}/delete/").status_code == 403
        assert operator.post(f"{WORKFLOWS}{workflow.pk}/change/", {"name": "x"}).status_code == 405
        page = get(operator, WORKFLOWS)
        assert 'value="delete_selected"' not in page
        assert 'value="discard_selected"' not in page

    def test_needs_the_permission_to_view(self, db):
        assert client_with("view_jobresult").get(WORKFLOWS).status_code == 403
        assert client_with("view_workflow").get(WORKFLOWS).status_code == 200


@pytest.mark.django_db(transaction=True)
class TestActions:
    def test_follow_permissions(self):
        made = make_workflow(failed=1)
        assert 'name="action"' not in get(client_with("view_workflow"), WORKFLOWS)
        page = get(client_with("view_workflow", "retry_workflow"), WORKFLOWS)
        assert 'value="retry_selected"' in page
        assert 'value="revoke_selected"' not in page
        for action, other in (("retry", "revoke_workflow"), ("revoke", "retry_workflow")):
            client = client_with("view_workflow", other, "retry_job", "discard_job")
            assert client.post(WORKFLOWS, select(action, made, confirmed=True)).status_code == 403

    def test_revoke_asks_and_revokes(self, operator):
        done = w.send(w.a_chain())
        waiting, other = w.send(w.a_chain(), run=False), w.send(w.a_chain(), run=False)
        page = operator.post(WORKFLOWS, select("revoke", waiting, done)).content.decode()
        assert "Revoke 1 selected workflow." in page
        assert str(waiting.pk) in page
        data = select("revoke", waiting, done, confirmed=True)
        assert said(operator, WORKFLOWS, data) == "1 workflow was revoked."
        states = {one.pk: one.revoked_at is not None for one in Workflow.objects.all()}
        assert states == {waiting.pk: True, done.pk: False, other.pk: False}
        assert set(JobResult.objects.filter(workflow_id=waiting.pk).values_list("state", flat=True)) == {State.REVOKED}
        entry = LogEntry.objects.get()
        assert (entry.object_repr, entry.change_message) == ("1 workflow", "1 workflow was revoked.")

    def test_retry_sends_failed_steps_again(self, operator):
        failed, done = w.send(w.a_chord(failing=1)), w.send(w.a_chain())
        text = said(operator, WORKFLOWS, select("retry", failed, done, confirmed=True))
        assert text == "Failed steps of 1 workflow were sent again."
        failed.refresh_from_db()
        assert failed.finished_at is None
        assert "by ana" in operator.get(f"{JOBS}{_failed(failed)}/change/").content.decode()

    def test_of_all_that_match_nothing_is_retried_that_somebody_revoked(self, operator):
        revoked = make_workflow(failed=1, revoked_at=clock.now(), finished_at=clock.now())
        page = operator.post(WORKFLOWS, select("retry", revoked, across=True)).content.decode()
        assert "Retry failed steps of all 0 workflows that match." in page
        page = operator.post(f"{WORKFLOWS}?state=revoked", select("retry", revoked, across=True)).content.decode()
        assert "Retry failed steps of the one workflow that matches." in page
        assert "<dt>state</dt><dd>revoked</dd>" in page


def _failed(workflow: Workflow) -> Any:
    """Return the id of the step that was retried."""
    return JobResult.objects.exclude(history="").get(workflow_id=workflow.pk).pk


class TestJobsOfAWorkflow:
    def test_are_found_by_its_id_with_other_filters(self, operator):
        workflow = make_workflow()
        failed = make_result(State.FAILURE, workflow_id=workflow.pk)
        make_result(workflow_id=workflow.pk, task=tasks.fetch.name)
        make_result(State.FAILURE)
        page = get(operator, f"{JOBS}?workflow_id={workflow.pk}")
        assert len(ids(page)) == 2
        assert "By workflow" in page
        for more in ("state=FAILURE", f"state=FAILURE&task={failed.task}", "state=FAILURE&within=1h"):
            assert ids(get(operator, f"{JOBS}?workflow_id={workflow.pk}&{more}")) == [str(failed.pk)]
        assert "By workflow" not in get(operator, JOBS)

    def test_one_that_has_none_yet_or_is_gone(self, operator):
        workflow, gone = make_workflow(), new_id()
        assert "No job matches." in get(operator, f"{JOBS}?workflow_id={workflow.pk}")
        job = make_result(workflow_id=gone)
        assert ids(get(operator, f"{JOBS}?workflow_id={gone}")) == [str(job.pk)]

    @pytest.mark.parametrize("value", ["01a1fbfb-2282-7708-96ac-5a8ec53087c1", "nonsense", "%00"])
    def test_one_that_never_was(self, operator, value):
        response = operator.get(f"{JOBS}?workflow_id={value}", follow=True)
        assert response.redirect_chain == [(f"{JOBS}?e=1", 302)]


@pytest.mark.django_db(transaction=True)
class TestPageOfAJob:
    def test_leads_to_its_workflow(self, operator):
        workflow = w.send(w.a_chain())
        job = JobResult.objects.filter(workflow_id=workflow.pk).first()
        assert job is not None
        page = get(operator, f"{JOBS}{job.pk}/change/")
        assert f'<dt>Step of workflow</dt><dd><a href="{WORKFLOWS}{workflow.pk}/change/">' in page
        assert "Never ran" not in page

    def test_of_a_step_that_never_ran_leads_to_the_reason(self, operator):
        workflow = w.send(w.a_chord(failing=1))
        jobs = JobResult.objects.filter(workflow_id=workflow.pk)
        failed, never = jobs.get(state=State.FAILURE), jobs.get(state=State.REVOKED)
        page = get(operator, f"{JOBS}{never.pk}/change/")
        assert f'<dt>Never ran because of</dt><dd><a href="{JOBS}{failed.pk}/change/">' in page
        assert "It waits again when its workflow is retried" in page
        JobResult.objects.filter(pk=failed.pk).delete()
        page = get(operator, f"{JOBS}{never.pk}/change/")
        assert f"<dt>Never ran because of</dt><dd><code>{failed.pk}</code>" in page

    def test_shows_those_who_may_not_see_workflows_only_an_id(self):
        workflow = w.send(w.a_chain())
        job = JobResult.objects.filter(workflow_id=workflow.pk).first()
        assert job is not None
        page = get(client_with("view_jobresult"), f"{JOBS}{job.pk}/change/")
        assert f"<dt>Step of workflow</dt><dd><code>{workflow.pk}</code>" in page
        assert WORKFLOWS not in page

    def test_of_a_job_that_stands_alone_says_nothing(self, operator):
        assert "Step of workflow" not in get(operator, f"{JOBS}{make_result().pk}/change/")


def test_a_selection_needs_a_token(operator):
    workflow = make_workflow()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert strict.post(WORKFLOWS, select("revoke", workflow, confirmed=True)).status_code == 403
    for action in ("retry", "revoke"):
        assert strict.post(f"{WORKFLOWS}{workflow.pk}/do/{action}/").status_code == 403
