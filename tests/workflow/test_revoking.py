"""Steps and whole workflows that are revoked: what waits never runs, and everything has an end."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_jobs import AsyncResult, State, UpstreamFailed, chain, chord, group, relay, workflow
from django_jobs.brokers import get_broker
from django_jobs.conf import settings
from django_jobs.exceptions import JobRevoked
from django_jobs.results import get_store
from django_jobs.results.base import BaseStore
from django_jobs.workflow import revoking as workflow_revoking
from django_jobs.workflow.starting import workflows_of
from tests.workflow.actors import Ledger, act, growing, needs, told
from tests.workflow.conftest import Stage, sent


def ended(handle: AsyncResult[object]) -> bool:
    found = handle.workflow
    assert found is not None
    return found.ready()


@pytest.fixture(autouse=True)
def _waits(stage: Stage) -> None:
    if stage.is_eager:
        pytest.skip("nothing waits there")


def test_a_step_that_waits_is_revoked(stage: Stage, ledger: Ledger):
    made = {name: act.s(label=name, ledger=str(ledger.path)) for name in "abc"}
    error = told.s(label="error", ledger=str(ledger.path))
    last = sent(chain(made["a"], made["b"].on_error(error), made["c"]))
    middle = last.parent
    assert isinstance(last, AsyncResult)
    assert (middle.state, last.state) == (State.BLOCKED, State.BLOCKED)
    assert middle.revoke() is State.REVOKED
    assert middle.revoke() is State.REVOKED
    stage.work()
    assert ledger.calls == {"a[]": 1}
    assert ledger.told == {"error": 1}
    with pytest.raises(JobRevoked):
        middle.get(timeout=0)
    with pytest.raises(UpstreamFailed, match=middle.id):
        last.get(timeout=0)
    assert ended(last)


def test_a_member_that_waits_in_its_queue_is_revoked(stage: Stage, ledger: Ledger):
    members = [act.s(label=name, ledger=str(ledger.path)) for name in "abc"]
    body = sent(chord(members, act.s(label="body", ledger=str(ledger.path))))
    assert body.parent.results[1].revoke() is State.REVOKED
    stage.work()
    assert ledger.calls == {"a[]": 1, "c[]": 1}
    with pytest.raises(UpstreamFailed):
        body.get(timeout=0)
    assert body.parent.state == State.FAILURE


def test_a_whole_workflow_is_revoked(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    error = told.s(label="error", ledger=path)
    members = [chain(act.s(label=f"a{n}", ledger=path), act.s(label=f"b{n}", ledger=path)) for n in range(5)]
    last = sent(chord(members, act.s(label="body", ledger=path)).on_error(error) | act.s(label="last", ledger=path))
    workflow = last.workflow
    assert workflow is not None
    assert (workflow.state, workflow.remaining) == (State.STARTED, 12)
    summary = workflow.revoke()
    assert (summary.done, summary.skipped) == (12, 0)
    stage.work()
    assert ledger.entries() == []
    assert (workflow.state, workflow.remaining) == (State.REVOKED, 0)
    assert workflow.revoke().done == 0
    barriers = workflows_of(get_store()).barriers_of(workflow.id)
    assert all(kept.resolved_ms is not None for kept in barriers)
    assert last.state == State.REVOKED


def test_a_revoked_workflow_goes_on(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    last = sent(chain(*[act.s(label=name, ledger=path) for name in "abc"]))
    workflow = last.workflow
    assert workflow is not None
    workflow.revoke()
    stage.work()
    assert ledger.entries() == []
    workflow.retry()
    assert workflow.state == State.STARTED
    stage.work()
    assert last.get(timeout=0) == ["c", ["b", ["a"]]]
    assert (workflow.state, workflow.remaining, workflow.failed) == (State.SUCCESS, 0, 0)


def test_a_group_is_revoked(stage: Stage, ledger: Ledger):
    handle = sent(group(act.s(label=name, ledger=str(ledger.path)) for name in "ab"))
    handle.revoke()
    stage.work()
    assert ledger.entries() == []
    assert handle.failed()


def test_what_a_running_step_starts_in_a_revoked_workflow_never_runs(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    inside = chain(act.s(label="inside", ledger=path), act.s(label="after", ledger=path)).to_dict()
    last = sent(chain(act.s(label="a", ledger=path, replacement=inside), act.s(label="b", ledger=path)))
    running = stage.take()
    workflow = last.workflow
    workflow.revoke()
    stage.run(running)
    stage.work()
    assert ledger.calls == {"a[]": 1}
    assert (workflow.state, workflow.remaining) == (State.REVOKED, 0)
    assert last.state == State.REVOKED


def test_a_member_of_a_revoked_workflow_cannot_grow_its_group(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    last = sent(chord([growing.s([1], ledger=path)], act.s(label="b", ledger=path)))
    running = stage.take()
    last.workflow.revoke()
    stage.run(running)
    stage.work()
    assert ledger.calls == {}
    assert last.workflow.ready()


def test_a_step_that_was_revoked_stays_revoked_when_another_is_retried(stage: Stage, ledger: Ledger, tmp_path: Path):
    path, flag = str(ledger.path), tmp_path / "flag"
    one = chain(needs.s(path=str(flag)), act.s(label="b", ledger=path))
    other = chain(act.s(label="c", ledger=path), act.s(label="d", ledger=path))
    group_ = sent(group(one, other))
    group_.results[1].revoke()
    stage.work()
    flag.touch()
    group_.results[0].parent.retry()
    stage.work()
    assert ledger.calls == {"c[]": 1, "b[['needs']]": 1}
    assert group_.results[1].state == State.REVOKED
    assert group_.workflow.ready()


def test_one_job_that_is_retried_does_not_revive_a_revoked_workflow(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    last = sent(chain(act.s(label="a", ledger=path), act.s(label="b", ledger=path)))
    last.workflow.revoke()
    last.parent.retry()
    stage.work()
    assert ledger.calls == {"a[]": 1}
    assert (last.workflow.state, last.workflow.remaining) == (State.REVOKED, 0)


def test_a_long_chain_is_revoked_in_few_queries(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    last = sent(chain(act.s(label=f"s{n}", ledger=path) for n in range(400)))
    with CaptureQueriesContext(connections[settings.database]) as queries:
        last.workflow.revoke()
    # SQLite writes row by row what may have ended already.
    assert len(queries) < (500 if connections[settings.database].vendor == "sqlite" else 100)
    assert (last.workflow.state, last.workflow.remaining) == (State.REVOKED, 0)


def test_a_wide_group_is_revoked_in_few_queries(stage: Stage, ledger: Ledger):
    members = [act.s(label=f"m{n}", ledger=str(ledger.path)) for n in range(400)]
    body = sent(chord(members, act.s(label="body", ledger=str(ledger.path))))
    relay.finish(10.0)
    with CaptureQueriesContext(connections[settings.database]) as queries:
        assert body.workflow.revoke().done == 401
    # SQLite writes row by row, and deletes each from its queue.
    assert len(queries) < (1000 if connections[settings.database].vendor == "sqlite" else 100)
    stage.work()
    assert ledger.entries() == []
    assert (body.workflow.state, body.workflow.remaining) == (State.REVOKED, 0)


def test_each_step_of_a_revoked_workflow_ends_as_it_stands(stage: Stage, ledger: Ledger):
    path = str(ledger.path)
    members = [act.s(label=f"m{n}", ledger=path) for n in range(4)]
    handle = sent(chain(act.s(label="a", ledger=path), group(members)))
    stage.work_once()
    running = stage.take()
    stage.run(running[:1])
    summary = handle.workflow.revoke()
    assert (summary.done, summary.skipped) == (3, 2)
    stage.run(running[1:])
    assert handle.workflow.ready()
    assert handle.parent.state == State.SUCCESS
    assert sorted(ledger.calls) == ["a[]", *(f"m{n}[['a']]" for n in range(4))]


def test_one_that_the_broker_has_lost_is_revoked_among_others(stage: Stage, ledger: Ledger):
    path, broker = str(ledger.path), get_broker()
    body = sent(chord([act.s(label=name, ledger=path) for name in "abc"], act.s(label="body", ledger=path)))
    found = broker.find(body.parent.results[1].id)
    assert found is not None
    outbox = get_store().outbox
    if outbox is not None and outbox.get(found.id) is not None:
        broker.revoke(found.id, found.queue)
        broker.forget([found.id], found.queue)
    assert body.workflow.revoke().done == 4
    stage.work()
    assert ledger.entries() == []
    assert (body.workflow.state, body.workflow.remaining) == (State.REVOKED, 0)


def test_a_step_that_starts_while_it_is_revoked_is_found(stage: Stage, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    path = str(ledger.path)
    last = sent(chain(act.s(label="a", ledger=path), act.s(label="b", ledger=path)))
    waits = workflow_revoking.revoke_waiting

    def starts_meanwhile(store: BaseStore, step_id: str) -> bool:
        stage.work_once()
        monkeypatch.setattr(workflow, "revoke_waiting", waits)
        return waits(store, step_id)

    monkeypatch.setattr(workflow, "revoke_waiting", starts_meanwhile)
    assert last.revoke() is State.REVOKED
    stage.work()
    assert ledger.calls == {"a[]": 1}
