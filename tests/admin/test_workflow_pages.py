from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import DatabaseError, connections
from django.template.loader import render_to_string
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from django_jobs import chain, clock, group
from django_jobs.admin import workflow_reading as reading
from django_jobs.admin.workflow_words import rule_text
from django_jobs.identifiers import new_id
from django_jobs.models import JobResult, Workflow, WorkflowStep
from django_jobs.operations import Summary
from django_jobs.states import State
from tests.admin import tasks
from tests.admin import workflows as w
from tests.admin.results import client_with, make_result
from tests.admin.test_lists import get
from tests.admin.test_operations import said
from tests.admin.workflows import WORKFLOWS, make_workflow
from tests.services import database_aliases

JOBS = "/admin/django_jobs/jobresult/"


@pytest.fixture(params=database_aliases())
def using(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[str]:
    """Every database in turn, as that of the jobs."""
    with override_settings(DJANGO_JOBS={"DATABASE": request.param, "BROKER": f"database://{request.param}"}):
        yield request.param


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ana"))
    return client


def page_of(client: Client, workflow: Workflow, query: str = "") -> str:
    return get(client, f"{WORKFLOWS}{workflow.pk}/change/{query}")


def send(canvas: Any, using: str, *, run: bool = True) -> Workflow:
    return w.send(canvas, run=run, using=using)


pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


class TestEveryDatabase:
    def test_a_canvas_that_failed_is_a_graph_and_a_table(self, using, operator):
        workflow = send(w.a_nested_canvas(), using)
        page = page_of(operator, workflow)
        assert "chain of " in page
        assert "16 of 16 ended, 1 failed" in page
        assert page.count('class="dj-node ') == 18  # 16 steps, 2 groups
        jobs = JobResult.objects.using(using).filter(workflow_id=workflow.pk)
        failed = jobs.get(state=State.FAILURE)
        assert f'<a href="{JOBS}{failed.pk}/change/"><g class="dj-node dj-node-step dj-status-failure"' in page
        assert re.search(r"<title>tests\.admin\.tasks\.resize\. failed, \d+ ms\. Started 20", page)
        assert page.count("dj-line-error") == 2  # and in the legend
        assert page.count("Because of") == 3
        assert page.count("<b>ValueError</b>") == 1
        assert page.count('<th scope="row">') == 16

    def test_members_are_counted_by_the_database(self, using, operator):
        workflow = w.make_large_chord(500, using=using)
        with CaptureQueriesContext(connections[using]) as queries:
            page = page_of(operator, workflow)
        assert page.count('class="dj-node ') == 3
        assert "500 × resize" in page
        for text in ("2 failed</text>", "458 sent</text>", "40 succeeded</text>"):
            assert text in page
        url = f"{JOBS}?workflow_id={workflow.pk}&amp;task={tasks.resize.name}"
        assert f'<a href="{url}&amp;state=FAILURE">' in page
        assert "state=SENT" not in page
        assert len([query for query in queries if "django_jobs" in query["sql"]]) < 12
        assert "From the first start to the last end: 5.6 s" in page
        assert page.count('<th scope="row">') == 100

    def test_error_callbacks_of_a_crowd(self, using, operator):
        members = [tasks.resize.si(n, fails=n < 3) for n in range(20)]
        workflow = send(group(members, on_member_failure="wait").on_error(tasks.apologize.s()), using)
        page = page_of(operator, workflow)
        assert page.count('class="dj-node ') == 3
        assert re.search(r'dj-line-error"?[^>]*><path d="M', page)
        assert "3 × apologize" in page

    def test_many_error_callbacks_of_a_crowd(self, using, operator):
        members = [tasks.resize.si(n, fails=n < 15) for n in range(20)]
        workflow = send(group(members, on_member_failure="wait").on_error(tasks.apologize.s()), using)
        page = page_of(operator, workflow)
        assert page.count('class="dj-node ') == 3
        assert "15 × apologize" in page
        assert page.count("dj-line-error") == 2

    def test_too_large_to_be_read_as_a_whole(self, using, operator, monkeypatch):
        monkeypatch.setattr(reading, "MOST_READ", 50)
        members = [chain(tasks.fetch.si(n), tasks.resize.s()) for n in range(40)]
        workflow = send(chain(tasks.fetch.si(), group(members), tasks.publish.s()), using, run=False)
        page = page_of(operator, workflow)
        assert "36 more members" in page
        assert "72 steps are not drawn" in page
        assert page.count('class="dj-node ') == 4 * 2 + 4

    def test_one_step_that_is_not_drawn(self):
        said = render_to_string("admin/django_jobs/workflow_graph.html", {"left_out": 1})
        assert "1 step is not drawn" in said

    @pytest.mark.parametrize(
        ("waits", "allowed", "text"),
        [(True, 1, "more than 1 has failed"), (True, 2, "more than 2 have"), (False, 1, "more than 1 has failed")],
    )
    def test_when_a_group_fails(self, waits, allowed, text):
        assert text in rule_text(waits, allowed)

    def test_steps_are_in_the_order_in_which_they_were_sent(self, using, operator):
        workflow = send(chain(tasks.fetch.si(), tasks.resize.si(), tasks.publish.si(), tasks.notify.si()), using)
        WorkflowStep.objects.using(using).filter(task=tasks.notify.name).update(opened=None)
        page = page_of(operator, workflow)
        names = re.findall(r"<th scope=\"row\"><a [^>]*>tests\.<wbr>admin\.<wbr>tasks\.<wbr>(\w+)", page)
        assert names == ["fetch", "resize", "publish", "notify"]

    def test_what_took_the_place_of_a_step(self, using, operator):
        workflow = send(chain(tasks.fetch.si(), tasks.choose.si(), tasks.notify.si()), using)
        page = page_of(operator, workflow)
        assert "Another canvas took its place." in page
        assert page.count('class="dj-node ') == 5
        assert page.count('class="dj-line ') == 4


class TestHead:
    def test_links_to_the_job_that_sent_it(self, operator):
        parent, root = make_result(), make_result()
        page = page_of(operator, make_workflow(parent_id=parent.pk, root_id=root.pk))
        assert f'<dt>Sent by</dt><dd><a href="{JOBS}{parent.pk}/change/">' in page
        assert f'<dt>Root</dt><dd><a href="{JOBS}{root.pk}/change/">' in page
        gone = new_id()
        page = page_of(operator, make_workflow(parent_id=gone, root_id=gone))
        assert f"<dt>Sent by</dt><dd><code>{gone}</code>" in page
        assert "<dt>Root</dt>" not in page

    def test_a_workflow_without_steps(self, operator):
        page = page_of(operator, make_workflow(size=0, remaining=0))
        assert "0 of 0 ended" in page
        assert "No steps here." in page

    def test_one_that_is_gone(self, operator):
        for pk in (new_id(), "nonsense"):
            response = operator.get(f"{WORKFLOWS}{pk}/change/", follow=True)
            assert response.redirect_chain[-1][0] == WORKFLOWS
            assert "There is no workflow" in response.content.decode()

    def test_without_time_zones(self, operator, settings):
        settings.USE_TZ = False
        workflow = make_workflow(created_at=clock.stamp())
        assert "7 of 12 ended" in page_of(operator, workflow)
        assert "1 workflow" in get(operator, f"{WORKFLOWS}?within=1h")


class TestTable:
    def test_pages(self, operator):
        workflow = w.make_large_chord(249)
        page = page_of(operator, workflow)
        assert "1 to 100 of 250" in page
        assert 'href="?p=1#dj-steps" rel="next"' in page
        page = page_of(operator, workflow, "?p=2")
        assert "201 to 250 of 250" in page
        assert 'rel="next"' not in page
        assert 'href="?p=1#dj-steps" rel="prev"' in page
        for nonsense in ("?p=x", "?p=-1", "?p=²", "?p=99999999999"):
            assert "1 to 100 of 250" in page_of(operator, workflow, nonsense)
        assert "No steps here." in page_of(operator, workflow, "?p=77")

    def test_the_number_of_queries_does_not_grow(self, operator):
        counts = []
        for members in (20, 300):
            workflow = w.make_large_chord(members)
            with CaptureQueriesContext(connections["default"]) as queries:
                page_of(operator, workflow)
            counts.append(len(queries))
        assert counts[0] == counts[1] < 20


class TestSecrets:
    def test_signatures_are_never_shown(self, operator):
        workflow = w.make_large_chord(20)
        assert "unredacted" not in page_of(operator, workflow)
        workflow = w.send(chain(tasks.fetch.si("secret 1"), tasks.resize.s(size="secret 2", fails=True)))
        assert "secret" not in page_of(operator, workflow)

    def test_messages_of_exceptions_are_left_to_the_page_of_the_job(self, operator):
        page = page_of(operator, w.send(w.a_chord(failing=1)))
        assert "<b>ValueError</b>" in page
        assert "no such picture" not in page

    def test_jobs_are_linked_for_those_who_may_see_them(self):
        workflow = w.send(w.a_chord(failing=1, width=20))
        page = page_of(client_with("view_workflow"), workflow)
        assert JOBS not in page
        assert "20 × resize" in page
        assert JOBS in page_of(client_with("view_workflow", "view_jobresult"), workflow)


class TestOperations:
    def test_are_offered_where_they_apply(self, operator):
        over: dict[str, Any] = {"remaining": 0, "finished_at": clock.now()}
        for workflow, offered in (
            (make_workflow(), {"revoke"}),
            (make_workflow(failed=1), {"revoke", "retry"}),
            (make_workflow(**over), set()),
            (make_workflow(**over, failed=1), {"retry"}),
        ):
            assert set(re.findall(r"/do/(\w+)/", page_of(operator, workflow))) == offered

    def test_follow_permissions(self):
        workflow = make_workflow(failed=1)
        assert "/do/" not in page_of(client_with("view_workflow"), workflow)
        for action, other in (("retry", "revoke_workflow"), ("revoke", "retry_workflow")):
            url = f"{WORKFLOWS}{workflow.pk}/do/{action}/"
            page = page_of(client_with("view_workflow", f"{action}_workflow"), workflow)
            assert re.findall(r"/do/(\w+)/", page) == [action]
            for client in (client_with("view_workflow", other, "retry_job"), client_with(f"{action}_workflow")):
                assert client.post(url).status_code == 403

    def test_revoke(self, operator):
        workflow = w.send(w.a_chain(), run=False)
        url = f"{WORKFLOWS}{workflow.pk}/do/revoke/"
        assert operator.get(url).status_code == 405
        assert said(operator, url, {}) == "3 steps were stopped, or asked to."
        workflow.refresh_from_db()
        assert workflow.revoked_at is not None
        page = page_of(operator, workflow)
        assert "revoked</span>" in page
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.user.username) == (str(workflow.pk), "ana")
        assert "3 steps" in entry.change_message
        assert said(operator, url, {}) == "There was nothing to do. Nothing was changed."
        assert LogEntry.objects.count() == 1

    @pytest.mark.parametrize("data", [{}, {"terminate": "1"}])
    def test_what_runs_is_interrupted_if_that_was_said(self, operator, monkeypatch, data):
        asked = []

        def revoke(pk: str, *, terminate: bool) -> Summary:
            asked.append((pk, terminate))
            return Summary(done=2)

        monkeypatch.setattr("django_jobs.operations.revoke_workflow", revoke)
        workflow = make_workflow()
        assert "2 steps were stopped" in said(operator, f"{WORKFLOWS}{workflow.pk}/do/revoke/", data)
        assert asked == [(str(workflow.pk), bool(data))]

    def test_retry(self, operator):
        workflow = w.send(w.a_chord(failing=1))
        text = said(operator, f"{WORKFLOWS}{workflow.pk}/do/retry/", {})
        assert "1 step was sent again" in text
        workflow.refresh_from_db()
        assert workflow.finished_at is None
        assert "running</span>" in page_of(operator, workflow)

    def test_other_operations_do_not_exist(self, operator):
        workflow = make_workflow()
        assert operator.post(f"{WORKFLOWS}{workflow.pk}/do/delete/").status_code == 404

    def test_a_broker_that_is_away_is_told(self, operator, settings):
        workflow = w.send(w.a_chain(), run=False)
        settings.DJANGO_JOBS = settings.DJANGO_JOBS | {"BROKER": "redis://127.0.0.1:1/0", "ENQUEUE_TIMEOUT": 0.5}
        assert said(operator, f"{WORKFLOWS}{workflow.pk}/do/revoke/", {}).startswith("Stopped: ")
        assert not LogEntry.objects.exists()


def test_a_database_that_is_away_is_a_page(operator, monkeypatch):
    def fail(*_args: Any) -> Any:
        raise DatabaseError("gone")

    workflow = make_workflow()
    monkeypatch.setattr(reading.Reading, "records", fail)
    response = operator.get(f"{WORKFLOWS}{workflow.pk}/change/")
    assert response.status_code == 200
    assert "did not answer: gone" in response.content.decode()
