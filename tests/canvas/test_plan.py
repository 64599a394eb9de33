"""From a canvas to records: how many, how linked, with which options, and at what cost."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from django_jobs.canvas import Expression, Signature, chain, chord, chunks, group
from django_jobs.canvas.plan import plan
from django_jobs.canvas.records import Barrier, Join, Plan, Step, Then
from django_jobs.envelope import Job

a, b, c, d, e = (Signature.s(name) for name in "abcde")
note = Signature.si("note")


def step_of(made: Plan, task: str) -> Step:
    (step,) = (step for step in made.steps if step.signature.task == task)
    return step


def only_barrier(made: Plan) -> Barrier:
    (barrier,) = made.barriers
    return barrier


def options_of(canvas: Expression) -> dict[str, Any]:
    return {step.signature.task: dict(step.signature.options) for step in plan(canvas).steps}


def test_a_task_is_a_step():
    made = plan(a.set(queue="mail"))
    (step,) = made.steps
    assert step == Step(id=step.id, workflow_id=made.workflow_id, signature=a.set(queue="mail"))
    assert made == Plan(workflow_id=made.workflow_id, steps=(step,), roots=(step.id,), result=step.id)


def test_a_chain_is_steps_that_open_one_another():
    made = plan(chain(a, b.set(immutable=True), c))
    first, second, third = (step_of(made, task) for task in "abc")
    assert (first.continuation, second.continuation, third.continuation) == (Then(second.id), Then(third.id), None)
    assert [step.takes_value for step in (first, second, third)] == [False, False, True]
    assert (made.roots, made.result, made.barriers) == ((first.id,), third.id, ())
    assert first.id < second.id, "the ids of a canvas rise in the order of its tasks"


def test_a_group_is_a_barrier():
    made = plan(group(a, b))
    barrier = only_barrier(made)
    assert (barrier.size, barrier.continuation, made.result) == (2, None, barrier.id)
    assert [step.continuation for step in made.steps] == [Join(barrier.id, 0), Join(barrier.id, 1)]
    assert made.roots == tuple(step.id for step in made.steps)


def test_a_chord_in_a_chain():
    made = plan(chain(a, chord([b, c], d, on_member_failure="wait", allow_failures=1), e))
    barrier = only_barrier(made)
    assert step_of(made, "a").continuation == Then(barrier.id, fan_out=True)
    assert {step.signature.task for step in made.steps if step.entry == barrier.id} == {"b", "c"}
    assert step_of(made, "b").continuation == Join(barrier.id, 0)
    assert barrier.continuation == Then(step_of(made, "d").id)
    assert (barrier.on_member_failure, barrier.allow_failures) == ("wait", 1)
    assert step_of(made, "d").continuation == Then(step_of(made, "e").id)
    assert made.roots == (step_of(made, "a").id,)


def test_what_enters_a_group_is_the_start_of_each_member():
    made = plan(a | group(chain(group(b, c), d), e))
    outer = step_of(made, "a").continuation
    assert isinstance(outer, Then)
    assert {step.signature.task for step in made.steps if step.entry == outer.target} == {"b", "c", "e"}
    inner = step_of(made, "b").continuation
    assert isinstance(inner, Join)
    assert inner.barrier != outer.target
    assert step_of(made, "d").continuation == Join(outer.target, 0)


def test_a_group_in_a_group_is_one_group():
    made = plan(group(a, group(b, group(c)), d))
    barrier = only_barrier(made)
    assert {step.signature.task: step.continuation for step in made.steps} == {
        task: Join(barrier.id, index) for index, task in enumerate("abcd")
    }


def test_an_inner_group_has_its_callbacks_and_errbacks_still():
    made = plan(group(a, group(b, c).link(note).on_error(e)))
    side = next(barrier for barrier in made.barriers if barrier.callbacks)
    assert side.size == 2
    assert step_of(made, "c").callbacks == (Join(side.id, 1),)
    assert [scope.errbacks for scope in made.scopes] == [(e,)]
    assert step_of(made, "b").scopes == step_of(made, "c").scopes == (made.scopes[0].id,)
    assert step_of(made, "a").scopes == ()


def test_an_inner_group_has_no_rules_of_its_own():
    with pytest.raises(ValueError, match=r"wrap the inner one as chain\(group"):
        plan(group(a, group(b, c, allow_failures=1)))
    assert len(plan(group(a, chain(group(b, c, allow_failures=1)))).barriers) == 2


def test_callbacks_get_the_value_of_what_they_were_said_of():
    for canvas, ending in ((chain(a, b), "b"), (chord([a, c], b), "b"), (b, "b")):
        made = plan(canvas.link(note).link(chain(d, e)))
        assert step_of(made, ending).callbacks == (Then(step_of(made, "note").id), Then(step_of(made, "d").id))
        assert step_of(made, "d").takes_value
    made = plan(group(a, b).link(d))
    assert only_barrier(made).callbacks == (Then(step_of(made, "d").id),)
    assert only_barrier(made).continuation is None


def test_an_empty_group_has_an_empty_list():
    for canvas in (group(), group(chain(), group()), chain(group()), chord([], group())):
        made = plan(canvas)
        assert (only_barrier(made).size, made.steps, made.result) == (0, (), only_barrier(made).id)


def test_an_empty_chain_is_nothing():
    assert plan(chain()).result is None
    with pytest.raises(ValueError, match="no value to go on with"):
        plan(chain(), continuation=Then("x"))


def test_an_empty_header_gives_the_body_an_empty_list():
    made = plan(a | chord([], b))
    assert step_of(made, "b").signature.args == ([],)
    assert not step_of(made, "b").takes_value
    assert made.barriers == ()


def test_a_chord_needs_a_body():
    with pytest.raises(ValueError, match=r"has no body: chord\(header, body\)"):
        plan(chord([a]))


def test_the_id_of_a_canvas_is_that_of_its_end():
    wanted = str(UUID(int=7))
    for canvas, ending in ((a, "a"), (chain(b, a), "a"), (chord([b, c], a), "a"), (chord([b], chain(c, a)), "a")):
        made = plan(canvas.set(job_id=wanted))
        assert made.result == step_of(made, ending).id == wanted
        assert not any("job_id" in step.signature.options for step in made.steps)
    assert plan(group(a, b).set(job_id=UUID(int=7))).result == wanted
    made = plan(chain(a, b.set(job_id=wanted), c))
    assert step_of(made, "a").continuation == Then(wanted)
    with pytest.raises(ValueError, match="A job id is a UUID"):
        plan(a.set(job_id="seven"))


def test_options_of_a_chain_are_those_of_its_first_task():
    assert options_of(chain(a.set(queue="x", priority=1), b).set(queue="y")) == {
        "a": {"queue": "y", "priority": 1}, "b": {},
    }  # fmt: skip


def test_options_of_a_group_are_those_of_its_members():
    assert options_of(group(a.set(queue="x"), chain(b, c), group(d).set(priority=1)).set(queue="y")) == {
        "a": {"queue": "y"}, "b": {"queue": "y"}, "c": {}, "d": {"queue": "y", "priority": 1},
    }  # fmt: skip


def test_options_of_a_chord_are_those_of_header_and_body_and_delay_its_header():
    assert options_of(chord([a, b], c).set(queue="y", countdown=5)) == {
        "a": {"queue": "y", "countdown": 5}, "b": {"queue": "y", "countdown": 5}, "c": {"queue": "y"},
    }  # fmt: skip


def test_headers_of_outer_ones_add_to_those_of_inner_ones():
    stamped = group(a.set(headers={"one": "1"})).set(headers={"two": "2"})
    assert options_of(stamped) == {"a": {"headers": {"one": "1", "two": "2"}}}


def test_chunks_are_planned_as_the_group_that_they_are():
    assert only_barrier(plan(chunks("f", [(n,) for n in range(10)], 3) | a)).size == 4


def test_errbacks_are_said_once_for_all_steps():
    made = plan(chain([a] * 100).on_error(e))
    (scope,) = made.scopes
    assert {step.scopes for step in made.steps} == {(scope.id,)}


def test_a_plan_is_linear_in_its_canvas():
    members = group(Signature.s("t", n) for n in range(20_000))
    made = plan(members | a)
    assert (len(made.steps), only_barrier(made).size) == (20_001, 20_000)
    assert len({step.id for step in made.steps}) == 20_001
    assert len(plan(chain(Signature.s("t", n) for n in range(20_000))).steps) == 20_000


@pytest.mark.parametrize("nest", [
    lambda inner: chord([a], inner),
    lambda inner: chord([chain(inner, b)], a),
    lambda inner: chain(a, inner, queue="x"),
    lambda inner: chain(group(inner, b)).link(c),
])  # fmt: skip
def test_no_depth_exhausts_the_stack(nest: Any):
    canvas: Expression = a
    for _ in range(3_000):
        canvas = nest(canvas)
    assert len(plan(canvas).steps) >= 3_000


def test_what_travels_does_not_grow_with_the_canvas():
    """A step is found by the id of its job: its message is that of the job, whatever stands around it."""
    small, large = plan(chain(a, b)), plan(chain(a, *[group(b, c) for _ in range(500)], d).on_error(e).link(e))
    sizes = set()
    for made in (small, large):
        signature = step_of(made, "a").signature
        sizes.add(len(Job(id="", task=signature.task, queue="mail", packed_args=list(signature.args)).encode()))
        assert not signature.links
        assert not signature.errbacks
        assert not signature.options
    assert len(sizes) == 1


def test_a_canvas_stands_in_for_a_step():
    before = plan(chain(a, b).on_error(e))
    old = step_of(before, "a")
    made = plan(
        group(c, d),
        workflow_id=old.workflow_id,
        continuation=old.continuation,
        callbacks=old.callbacks,
        scopes=old.scopes,
        leads=old.leads,
    )
    barrier = only_barrier(made)
    assert (barrier.workflow_id, barrier.continuation) == (before.workflow_id, old.continuation)
    # Its failure is told once, by what follows; its members have nothing else around them.
    assert barrier.scopes == (before.scopes[0].id,)
    assert {step.scopes for step in made.steps} == {()}


def test_a_running_group_grows_by_a_canvas_that_joins_it():
    made = plan(chain(a, b), workflow_id="w", continuation=Join("group", 7))
    assert step_of(made, "b").continuation == Join("group", 7)
