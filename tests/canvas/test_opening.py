"""What follows an end: what is opened, what ends with it, and who is told."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from django_jobs.canvas import Expression, Signature, chain, chord, group
from django_jobs.canvas.opening import begin, follow
from django_jobs.canvas.plan import plan
from tests.canvas.evaluate import BARRIER, FAILED, Meaning, World
from tests.canvas.memory import MemoryBook, Run


def task(label: str, *args: object) -> Signature:
    return Signature.s("tests.task", *args, label=label)


a, b, c, d, e, f = (task(label) for label in "abcdef")


def run(canvas: Expression, *failing: str, seed: int = 0) -> Run:
    return Run(canvas, World(frozenset(failing)), random.Random(seed))


def errors(canvas: Expression, *failing: str) -> dict[tuple[str, str], int]:
    """Return which error callback was called for what, having asked the plain meaning, too."""
    meaning = Meaning(World(frozenset(failing)))
    meaning.run(canvas)
    for seed in range(5):
        assert run(canvas, *failing, seed=seed).errors == meaning.errors
    return dict(meaning.errors)


class Stage:
    """A canvas whose steps end in an order that the test says."""

    def __init__(self, canvas: Expression) -> None:
        self.book = MemoryBook()
        made = plan(canvas)
        self.book.add(made)
        self.labels = {step.id: step.signature.kwargs["label"] for step in made.steps}
        self.first = self._shown(begin(self.book, made))

    def end(self, label: str, *, failed: bool = False) -> list[str]:
        (step_id,) = (step_id for step_id, said in self.labels.items() if said == label)
        return self._shown(follow(self.book, self.book.step(step_id), failed=failed))

    def _shown(self, following) -> list[str]:
        return [
            *(f"open {self.labels[opened.step]}" for opened in following.opened),
            *(f"end {self.labels[ended.step]} by {self.labels[ended.cause]}" for ended in following.ended),
            *(f"tell {call.errback.kwargs['label']}" for call in following.errors),
        ]


def test_the_last_member_opens_what_follows():
    stage = Stage(chord([a, b, c], d))
    assert stage.first == ["open a", "open b", "open c"]
    assert stage.end("b") == stage.end("c") == []
    assert stage.end("a") == ["open d"]


def test_reporting_twice_counts_once():
    stage = Stage(chord([a, b], c))
    assert stage.end("a") == stage.end("a") == []
    assert stage.end("b") == ["open c"]
    assert stage.end("b") == stage.end("a") == []


def test_a_failure_ends_a_barrier_at_once():
    stage = Stage(chord([a, b, c], d).on_error(e))
    assert stage.end("a") == []
    assert stage.end("b", failed=True) == ["end d by b", "tell e"]
    assert stage.end("c", failed=True) == []


def test_a_failure_ends_a_barrier_that_waits_with_its_last_member():
    stage = Stage(chord([a, b, c], d, on_member_failure="wait").on_error(e))
    assert stage.end("b", failed=True) == stage.end("a", failed=True) == []
    assert stage.end("c") == ["end d by b", "tell e"]


def test_some_members_may_fail():
    stage = Stage(chord([a, b, c], d, allow_failures=1))
    assert stage.end("b", failed=True) == stage.end("a") == []
    assert stage.end("c") == ["open d"]
    stage = Stage(chord([a, b, c], d, allow_failures=1))
    assert stage.end("b", failed=True) == []
    assert stage.end("c", failed=True) == ["end d by b"]


def test_members_that_failed_leave_their_places():
    assert run(chord([a, b, c], d, allow_failures=1), "b").calls["d[[['a'], 'failed', ['c']]]"] == 1
    assert FAILED == "failed"


def test_everything_downstream_ends_with_the_cause():
    stage = Stage(chain(a, group(b, chain(c, d)), e).link(f))
    assert stage.first == ["open a"]
    assert sorted(stage.end("a", failed=True)) == [f"end {label} by a" for label in "bcdef"]


def test_what_runs_beside_a_failure_goes_on():
    stage = Stage(chord([a, chain(b, c)], d))
    assert stage.end("a", failed=True) == ["end d by a"]
    assert stage.end("b") == ["open c"]
    assert stage.end("c") == []


def test_the_failure_of_an_inner_barrier_reaches_the_outer_one():
    stage = Stage(chord([chord([a, b], c), d], e))
    assert stage.end("a", failed=True) == ["end c by a", "end e by a"]


def test_a_failed_callback_is_nobody_elses():
    ended = run(chain(a.link(c).link(d), b), "c")
    assert ended.end() == (False, ["b", ["a"]])
    assert not ended.ended


def test_an_empty_group_goes_on_with_an_empty_list():
    assert run(group().link(a)).calls == Counter(["a[[]]"])


@pytest.mark.parametrize(
    ("canvas", "failing", "expected"),
    [
        # of a task, a chain, a group: for each failure in them
        (a.on_error(e), "a", {("e", "a"): 1}),
        (chain(a, b, c).on_error(e), "b", {("e", "b"): 1}),
        (chain(a, b.on_error(e), c), "a", {}),
        (group(a, b, c).on_error(e), "ac", {("e", "a"): 1, ("e", "c"): 1}),
        (chain(c, group(a, b)).on_error(e), "ab", {("e", "a"): 1, ("e", "b"): 1}),
        # of a chord, or around one: once when its header fails, as when its body does
        (chord([a, b], c).on_error(e), "ab", {("e", BARRIER): 1}),
        (chord([a, b], c).on_error(e), "c", {("e", "c"): 1}),
        (chord([a, b], c.on_error(e)), "ab", {("e", BARRIER): 1}),
        (chain(a, group(b, c), d).on_error(e), "bc", {("e", BARRIER): 1}),
        (chain(a, chord([b, c], d)).on_error(e), "a", {("e", "a"): 1}),
        (chord([a, b], chain(c.on_error(e), d)), "a", {("e", BARRIER): 1}),
        (chord([a, b], chain(c, d.on_error(e))), "a", {}),
        (chord([a, b], group(c.on_error(e), d.on_error(f))), "a", {("e", BARRIER): 1, ("f", BARRIER): 1}),
        (chord([a, b], group(c, d)).on_error(e), "ab", {("e", BARRIER): 1}),
        # of a header: for each member
        (chord(group(a, b).on_error(e), c), "ab", {("e", "a"): 1, ("e", "b"): 1}),
        (chord([a.on_error(e), b], c).on_error(f), "a", {("e", "a"): 1, ("f", BARRIER): 1}),
        # the same callback, said in two places
        (chain(a.on_error(e), b).on_error(e), "a", {("e", "a"): 2}),
    ],
    ids=str,
)
def test_who_is_told(canvas: Expression, failing: str, expected: dict[tuple[str, str], int]):
    if expected == {("e", "a"): 2}:
        assert run(canvas, *failing).errors == {("e", "a"): 1}, "is called once"
    else:
        assert errors(canvas, *failing) == expected
