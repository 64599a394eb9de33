"""Groups in groups are read level by level: however many there are, they cost a few queries for each depth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from django_jobs import GroupResult, State, chain, chord, group
from django_jobs.canvas import Expression
from django_jobs.canvas.failure import MemberFailure
from django_jobs.conf import settings
from django_jobs.exceptions import DecodeError
from django_jobs.results import get_store
from django_jobs.workflow.inputs import value_of
from django_jobs.workflow.starting import workflows_of
from tests.workflow.conftest import Stage, sent
from tests.workflow.tasks import add, fails, hear, heard, replaced

WIDE, QUERIES = 30, 15
LISTS = [[[number + 1, number + 2]] * 2 for number in range(WIDE)]


@contextmanager
def few_queries(stage: Stage) -> Iterator[None]:
    if stage.is_eager:  # in memory, and a pytest without the database there
        yield
        return
    with CaptureQueriesContext(connections[settings.database]) as queries:
        yield
    assert len(queries) <= QUERIES, [query["sql"] for query in queries]


def nested() -> Expression:
    """A group of groups of groups."""
    pair = group(add.s(1), add.s(2))
    return group(chain(add.s(number, 0), group(chain(add.s(0), pair), chain(add.s(0), pair))) for number in range(WIDE))


def test_values_are_read_level_by_level(stage: Stage):
    heard.clear()
    last = sent(chord(nested(), hear.s()))
    stage.work()
    with few_queries(stage):
        assert value_of(get_store(), workflows_of(get_store()), last.parent.id) == LISTS
    assert heard == [(LISTS,)]


def test_a_group_is_restored_level_by_level(stage: Stage):
    handle = sent(nested())
    with few_queries(stage):
        restored = GroupResult.restore(handle.id)
    assert restored == handle
    assert [len(member) for member in restored.results if isinstance(member, GroupResult)] == [2] * WIDE
    stage.work()
    assert restored.get(timeout=1) == LISTS


def test_members_that_were_replaced_by_groups_are_looked_at_together(stage: Stage):
    handle = sent(group(replaced.s(group(add.s(number, 1), add.s(number, 2))) for number in range(WIDE)))
    if not stage.is_eager:
        stage.work_once()
        with few_queries(stage):
            assert not handle.ready()
        with few_queries(stage):
            assert handle.completed_count() == 0
    stage.work()
    assert list(handle.iterate(timeout=1)) == [[number + 1, number + 2] for number in range(WIDE)]
    with few_queries(stage):
        assert handle.successful()


def test_members_that_were_replaced_by_tasks_are_looked_at_together(stage: Stage):
    handle = sent(group(replaced.s(replaced.s(add.s(number, 1))) for number in range(WIDE)))
    stage.work()
    with few_queries(stage):
        assert handle.state == State.SUCCESS
    assert handle.get(timeout=1) == [number + 1 for number in range(WIDE)]


def test_failures_and_empty_lists_in_it(stage: Stage):
    one = group(add.s(1, 1), fails.s(), allow_failures=1)
    handle = sent(group(chain(one), chain(add.s(1, 2), group(chain(group()), add.s(1))), add.s(2, 2)))
    stage.work()
    (first, failure), second, third = handle.get(timeout=1)
    assert (first, second, third) == (2, [4], 4)
    assert isinstance(failure, MemberFailure)
    assert failure.exception == "something"


def test_what_was_forgotten_is_told(stage: Stage):
    handle = sent(nested())
    stage.work()
    gone = handle.results[7].results[1].results[0].id
    get_store().forget([gone])
    with pytest.raises(DecodeError, match=gone):
        value_of(get_store(), workflows_of(get_store()), handle.id)
