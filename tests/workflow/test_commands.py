"""``manage.py jobs``, of workflows: listed, shown, retried and revoked by the id of the whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_jobs import AsyncResult, State, chain, chord
from django_jobs.exceptions import JobsError
from django_jobs.identifiers import new_id
from django_jobs.management.jobs import workflows
from tests.operate.conftest import run_jobs
from tests.workflow.actors import Ledger, act, needs
from tests.workflow.conftest import Stage, sent


@pytest.fixture(autouse=True)
def _has_tables(stage: Stage) -> None:
    if stage.is_eager:
        pytest.skip("about tables, and a broker that others can reach")


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """Return the file without which ``failing`` fails."""
    return tmp_path / "flag"


@pytest.fixture
def failing(stage: Stage, ledger: Ledger, flag: Path) -> AsyncResult[list[object]]:
    """Return the last step of a workflow that has failed."""
    path = str(ledger.path)
    members = [act.s(label="a", ledger=path), needs.s(path=str(flag))]
    last: AsyncResult[list[object]] = sent(
        chain(chord(members, act.s(label="body", ledger=path)), act.s(label="last", ledger=path))
    )
    stage.work()
    return last


def workflow_id(step: AsyncResult[list[object]]) -> str:
    assert step.workflow is not None
    return step.workflow.id


class TestList:
    def test_none(self, stage: Stage):
        assert run_jobs("workflows").out == "No workflow is kept.\n"
        assert run_jobs("workflows", "--state=failure").out == "No workflow matches.\n"
        assert run_jobs("workflows", "--json").document == []

    def test_how_they_stand(self, stage: Stage, ledger: Ledger, failing: AsyncResult[list[object]]):
        path = str(ledger.path)
        going_on = sent(chain(act.s(label="x", ledger=path), act.s(label="y", ledger=path)))
        answer = run_jobs("workflows")
        assert answer.code == 0
        heads, first, second = answer.table
        assert heads == ["workflow", "state", "ended", "steps", "failed", "age", "canvas"]
        assert first[:5] == [workflow_id(going_on), "STARTED", "0", "2", "0"]
        assert second[:5] == [workflow_id(failing), "FAILURE", "4", "4", "1"]

    def test_states_and_ages(self, stage: Stage, ledger: Ledger, failing: AsyncResult[list[object]]):
        done, revoked = (sent(chain(act.s(label="x", ledger=str(ledger.path)))) for _ in range(2))
        run_jobs("revoke", workflow_id(revoked), "--yes")
        stage.work()
        for state, step in (("FAILURE", failing), ("success", done), ("REVOKED", revoked)):
            (one,) = run_jobs("workflows", f"--state={state}", "--json").document
            assert (one["id"], one["state"]) == (workflow_id(step), state.upper())
            assert one["finished_ms"] >= one["sent_ms"]
        assert run_jobs("workflows", "--state=STARTED", "--json").document == []
        both = run_jobs("workflows", "--state=SUCCESS", "--state=FAILURE", "--since=1h", "--json").document
        assert [one["id"] for one in both] == [workflow_id(done), workflow_id(failing)]
        answer = run_jobs("workflows", "--limit=1")
        assert len(answer.table) == 3
        assert "There may be older ones" in answer.out

    def test_a_state_that_no_workflow_has(self, stage: Stage):
        answer = run_jobs("workflows", "--state=BLOCKED")
        assert answer.code == 2
        assert "Expected: STARTED, SUCCESS, FAILURE, REVOKED." in answer.err


class TestInspect:
    def test_what_failed_comes_first_and_why_the_rest_never_ran(self, stage: Stage, failing: AsyncResult[list[object]]):
        answer = run_jobs("inspect", workflow_id(failing))
        assert answer.code == 0
        assert answer.out.splitlines()[0].endswith(": FAILURE")
        assert "4 of 4 steps ended, 1 of them not well." in answer.out
        assert f"manage.py jobs retry {workflow_id(failing)} goes on" in answer.out
        at = next(number for number, line in enumerate(answer.table) if line[:1] == ["step"])
        steps = answer.table[at + 1 : at + 5]
        assert [line[2] for line in steps] == ["FAILURE", "REVOKED", "REVOKED", "SUCCESS"]
        assert [line[3:] for line in steps] == [[], [steps[0][0]], [steps[0][0]], []]
        (group,) = [line for line in answer.table if line[1:2] == ["FAILURE"] and len(line) == 6]
        assert group[2:] == ["2", "2", "1", steps[0][0]]

    def test_one_that_goes_on(self, stage: Stage, ledger: Ledger):
        last = sent(chain(act.s(label="x", ledger=str(ledger.path)), act.s(label="y", ledger=str(ledger.path))))
        (one,) = run_jobs("inspect", workflow_id(last), "--json").document
        assert (one["state"], one["size"], one["ended"], one["finished_ms"]) == ("STARTED", 2, 0, None)
        assert sorted(step["state"] for step in one["steps"]) == ["BLOCKED", "PENDING"]
        assert {"id": last.id, "task": "tests.workflow.act", "state": "BLOCKED", "cause": None} in one["steps"]
        assert one["groups"] == []

    def test_a_large_one_is_cut_for_people(self, failing: AsyncResult[list[object]], monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(workflows, "SHOWN", 1)
        answer = run_jobs("inspect", workflow_id(failing))
        assert "and 3 more: --json has them all." in answer.out
        assert len(run_jobs("inspect", workflow_id(failing), "--json").document[0]["steps"]) == 4

    def test_beside_jobs(self, stage: Stage, failing: AsyncResult[list[object]]):
        unknown = new_id()
        answer = run_jobs("inspect", failing.id, workflow_id(failing), unknown, "--json")
        assert answer.code == 1
        assert [one["state"] for one in answer.document] == ["REVOKED", "FAILURE", "UNKNOWN"]
        assert f"manage.py jobs retry {workflow_id(failing)}" in answer.document[0]["reasons"][-1]


class TestRetry:
    def test_it_goes_on(self, stage: Stage, flag: Path, failing: AsyncResult[list[object]]):
        flag.touch()
        answer = run_jobs("retry", workflow_id(failing))
        assert (answer.code, answer.out) == (
            0, f"Workflow {workflow_id(failing)}: 1 step sent again, or waiting again.\n"
        )  # fmt: skip
        stage.work()
        assert failing.state == State.SUCCESS
        answer = run_jobs("retry", workflow_id(failing), "--json")
        assert answer.code == 1
        assert answer.document == {
            "matched": 1, "sent": 0, "skipped": 1, "workflows": {workflow_id(failing): {"done": 0, "skipped": 0}}
        }  # fmt: skip

    def test_of_a_step_that_never_ran_it_says_what_to_do(self, stage: Stage, failing: AsyncResult[list[object]]):
        answer = run_jobs("retry", failing.id)
        assert answer.code == 1
        assert "One of them is a step that never ran" in answer.out
        assert re.search(f"manage.py jobs retry {workflow_id(failing)}$", answer.out.strip())
        with pytest.raises(JobsError, match=f"manage.py jobs retry {workflow_id(failing)}"):
            failing.retry()


class TestRevoke:
    def test_nothing_starts_any_more(self, stage: Stage, ledger: Ledger):
        path = str(ledger.path)
        last = sent(chain(act.s(label="x", ledger=path), act.s(label="y", ledger=path)))
        asked = run_jobs("revoke", workflow_id(last), last.id)
        assert asked.code == 2
        assert "Revoke 1 job and 1 workflow?" in asked.err
        answer = run_jobs("revoke", workflow_id(last), "--yes")
        assert (answer.code, answer.out) == (
            0, f"Workflow {workflow_id(last)}: 2 steps revoked, or told to stop.\n"
        )  # fmt: skip
        stage.work()
        assert (last.state, ledger.calls) == (State.REVOKED, {})
        answer = run_jobs("revoke", workflow_id(last), "--yes", "--json")
        assert answer.code == 1
        assert answer.document["workflows"] == {workflow_id(last): {"done": 0, "skipped": 1}}
