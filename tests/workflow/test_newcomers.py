"""What whoever sends a canvas for the first time gets wrong, or asks."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from django_jobs import State, UpstreamFailed, chain, chord, group, inspection
from django_jobs.canvas import Expression
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.identifiers import new_id
from tests.workflow.actors import Ledger, act, needs
from tests.workflow.conftest import Stage, sent


@pytest.mark.parametrize("options", [{"queue": "a b"}, {"priority": 1000}, {"max_retries": "x"}, {"using": "x"}])
def test_a_wrong_option_is_an_error_where_the_canvas_is_sent(stage: Stage, ledger: Ledger, options: dict[str, Any]):
    path = str(ledger.path)
    canvas = chain(act.s(label="a", ledger=path), act.s(label="b", ledger=path).set(**options))
    with pytest.raises(JobsConfigurationError):
        canvas.delay()
    stage.work()
    assert ledger.entries() == []


def test_one_id_for_two_is_an_error(stage: Stage, ledger: Ledger):
    twice = act.s(label="a", ledger=str(ledger.path)).set(job_id=new_id())
    with pytest.raises(ValueError, match="cannot have one job_id"):
        group(twice, twice).delay()


def test_the_handle_sees_that_its_workflow_goes_on(stage: Stage, ledger: Ledger, tmp_path: Path):
    path, flag = str(ledger.path), tmp_path / "flag"
    last = sent(chord([needs.s(path=str(flag))], act.s(label="b", ledger=path)))
    stage.work()
    with pytest.raises(UpstreamFailed):
        last.get(timeout=0)
    assert last.parent.failed()
    flag.touch()
    last.workflow.retry()
    stage.work()
    assert (last.get(timeout=0), last.state) == (["b", [["needs"]]], State.SUCCESS)
    assert last.parent.successful()


def test_what_a_step_waits_for_is_said(stage: Stage, ledger: Ledger):
    if stage.is_eager:
        pytest.skip("nothing waits there")
    path = str(ledger.path)
    last = sent(
        chain(chord([act.s(label="a", ledger=path)] * 3, act.s(label="b", ledger=path)), act.s(label="c", ledger=path))
    )
    (follows, belongs) = inspection.explain(last.id).reasons
    assert follows == f"It follows {act.name}[{last.parent.id}]."
    assert belongs == f"It is a step of the workflow {last.workflow.id}."
    header = last.parent.parent
    expected = f"0 of 3 members of the group {header.id} have ended, 0 of them not well."
    assert inspection.explain(last.parent.id).reasons[0] == expected
    assert inspection.explain(header.id).reasons == (expected,)
    stage.work()


def test_signatures_are_copied_and_pickled(ledger: Ledger):
    canvas: Expression = chord([act.s(1, label="a", ledger="x")], act.s(label="b", ledger="x")).on_error(
        act.si(label="e", ledger="x")
    )
    assert copy.deepcopy(canvas) == canvas
    assert pickle.loads(pickle.dumps(canvas)) == canvas


def test_what_is_no_signature_is_named_on_the_left_side_too():
    signature = act.s(label="a", ledger="x")
    with pytest.raises(TypeError, match=r"write tests\.workflow\.act\.s\(\.\.\.\)"):
        act | signature
    with pytest.raises(TypeError, match="takes signatures"):
        [signature] | signature
