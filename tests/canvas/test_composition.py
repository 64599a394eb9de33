"""What ``|``, chain, group and chord make of each other: the forms of Celery 5.7, and where they differ, why."""

from __future__ import annotations

import operator
from functools import reduce

import pytest

from django_jobs.canvas import Chain, Chunks, Expression, Group, Signature, chain, chord, chunks, group, xmap, xstarmap

a, b, c, d = (Signature.s(name) for name in "abcd")
pair, other, lone, none = group(a, b), group(c, d), group(a), group()


def shape(expression: Expression) -> str:
    if isinstance(expression, Signature):
        return expression.task
    return f"{expression.kind}({', '.join(map(shape, expression.parts))})"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (a | b, "chain(a, b)"),
        (a | b | c, "chain(a, b, c)"),
        (a | (b | c), "chain(a, b, c)"),
        ((a | b) | (c | d), "chain(a, b, c, d)"),
        (chain(a, chain(b, c)), "chain(a, b, c)"),
        (chain([a, b]), "chain(a, b)"),
        (chain(task for task in (a, b)), "chain(a, b)"),
        (a | other, "chain(a, group(c, d))"),
        (chain(a, b) | other, "chain(a, b, group(c, d))"),
        (pair | c, "chord(group(a, b), c)"),
        (chain(pair, c), "chain(chord(group(a, b), c))"),
        (pair | other, "chord(group(a, b), group(c, d))"),
        (pair | chain(c, d), "chord(group(a, b), chain(c, d))"),
        (a | other | b, "chain(a, chord(group(c, d), b))"),
        (chain(a, other) | b, "chain(a, chord(group(c, d), b))"),
        (chord(pair, c) | d, "chain(chord(group(a, b), c), d)"),
        (chord(pair, c) | other, "chain(chord(group(a, b), c), group(c, d))"),
        (chord(pair, c) | chord(other, a), "chain(chord(group(a, b), c), chord(group(c, d), a))"),
        (chord(pair, other) | a, "chain(chord(group(a, b), group(c, d)), a)"),
        (a | chord(pair, c), "chain(a, chord(group(a, b), c))"),
        # a group of one counts as its member in a chain, and stays a list where it is a header
        (a | lone, "chain(a, a)"),
        (chain(lone, b), "chain(a, b)"),
        (chain(b, group(lone), c), "chain(b, a, c)"),
        (lone | b, "chord(group(a), b)"),
        (chord([a], b), "chord(group(a), b)"),
        (chord(a, b), "chord(group(a), b)"),
        (chord(chain(a, b), c), "chord(group(chain(a, b)), c)"),
        (group(pair), "group(a, b)"),
        (group(pair, c), "group(group(a, b), c)"),
        (group(a | b), "group(chain(a, b))"),
        (group([a, b]), "group(a, b)"),
        (group(a), "group(a)"),
        # what is empty is left out
        (a | none, "a"),
        (a | chain(), "a"),
        (chain(none, a), "chain(a)"),
        (chain(a, none, b), "chain(a, b)"),
        (none | a, "chord(group(), a)"),
        (none | none, "group()"),
        (pair | none, "group(a, b)"),
        (pair | chain(), "group(a, b)"),
        (chain() | a, "chain(a)"),
        (chain(), "chain()"),
        (chain([]), "chain()"),
        (chain(none), "chain(group())"),
        (chain(chain(), none, none), "chain(group())"),
        (chord([], a), "chord(group(), a)"),
    ],
    ids=str,
)  # fmt: skip
def test_forms(made: Expression, expected: str):
    assert shape(made) == expected


def test_what_is_said_of_a_chain_stays_with_it():
    inner = (a | b).on_error(d)
    assert (inner | c).tasks == (inner, c)
    assert chain(a, b, queue="mail") | c == Chain(tasks=(chain(a, b, queue="mail"), c))


def test_what_is_said_of_a_group_of_one_is_said_of_its_member():
    assert chain(a, group(b, queue="mail").on_error(c).link(d)).tasks[1] == b.set(queue="mail").on_error(c).link(d)
    ruled = group(b, allow_failures=1)
    assert chain(a, ruled).tasks == (a, ruled)


def test_a_thousand_links_are_flat():
    assert len(reduce(operator.or_, [a] * 1000).parts) == 1000
    alternating: list[Expression] = [a, pair] * 500
    assert len(reduce(operator.or_, alternating).parts) == 501


def test_a_generator_is_read_once():
    members = group(Signature.s("t", n) for n in range(3))
    assert [repr(member) for member in members.tasks] == ["t(0)", "t(1)", "t(2)"]
    assert len(members) == 3
    assert members[1] == Signature.s("t", 1)
    assert members[1:] == group(Signature.s("t", 1), Signature.s("t", 2))
    assert list(chain(a, b)) == [a, b]


def test_arguments_go_to_what_starts_first():
    assert chain(a, b).clone((1,), {"x": 2}) == chain(Signature.s("a", 1, x=2), b)
    assert pair.clone((1,)) == group(Signature.s("a", 1), Signature.s("b", 1))
    assert chord(pair, c).clone((1,)) == chord(pair.clone((1,)), c)
    assert group(a.set(immutable=True), b).clone((1,)) == group(a.set(immutable=True), Signature.s("b", 1))
    assert group(a, b).clone(n for n in (1,)) == pair.clone((1,))


def test_immutable_is_what_starts_first():
    fixed = a.set(immutable=True)
    assert chain(a, b).set(immutable=True) == chain(fixed, b)
    assert group(a, a).set(immutable=True) == group(fixed, fixed)
    assert chord([a], b).set(immutable=True) == chord([fixed], b)


@pytest.mark.parametrize("wrong", [-1, True, 1.0, "all"])
def test_how_many_may_fail_is_a_number(wrong: object):
    with pytest.raises(ValueError, match="allow_failures"):
        group(a, allow_failures=wrong)  # type: ignore[arg-type]


def test_when_a_failure_counts_is_one_of_two():
    assert chord([a], b, on_member_failure="wait").header.on_member_failure == "wait"
    with pytest.raises(ValueError, match="'fail_fast' or 'wait', not 'later'"):
        group(a, on_member_failure="later")  # type: ignore[arg-type]


# Maps


def test_maps_are_signatures_of_built_in_tasks():
    assert xmap("shop.f", range(3)).to_dict() == {
        "task": "django_jobs.xmap", "kwargs": {"task": "shop.f", "it": [0, 1, 2]}, "immutable": True,
    }  # fmt: skip
    assert xstarmap(a, zip("xy", "zw", strict=True)).kwargs == {"task": "a", "it": [("x", "z"), ("y", "w")]}


def test_chunks_are_a_group_of_maps():
    made = chunks("shop.f", ((n,) for n in range(5)), 2)
    assert made.tasks == tuple(xstarmap("shop.f", part) for part in ([(0,), (1,)], [(2,), (3,)], [(4,)]))
    assert type(made.group()) is Group
    assert made.group().tasks == made.tasks
    with pytest.raises(ValueError, match="1 or more, not 0"):
        chunks("shop.f", [], 0)


def test_a_single_chunk_is_still_a_group():
    single = chunks("shop.f", [(1,)], 10)
    assert isinstance(chain(a, single).tasks[1], Chunks)


@pytest.mark.parametrize(
    ("arguments", "delays"),
    [((), [1, 2, 3, 4]), ((0, None, 5), [0, 5, 10, 15]), ((1, 3), [1, 2, 3, 3]), ((1, 2.5), [1, 2, 2, 2])],
)
def test_skew_spreads_the_starts(arguments: tuple[float, ...], delays: list[float]):
    skewed = group(a, a, a, chain(a, b)).skew(*arguments)
    assert [member.options["countdown"] for member in skewed] == delays
