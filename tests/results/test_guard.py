"""Whatever the order in which writes of a job's attempts arrive, the row ends up the same."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_jobs.identifiers import new_id
from django_jobs.results.base import Record
from django_jobs.results.store import DatabaseStore
from django_jobs.results.upsert.guard import wins
from tests.results.conftest import MakeRecord

STATES = ("STARTED", "RETRY", "PENDING", "SUCCESS", "FAILURE", "REVOKED")
QUIET = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[tuple[int, str]], list[int]]:
    """Draw the writes of one job, as (fence, state), and an order of arrival; each generation but the last goes on."""
    writes = []
    generations = draw(st.integers(1, 4))
    for generation in range(generations):
        last = generation == generations - 1
        delivery = draw(st.integers(0, 3))
        writes += [(generation << 16 | number, "STARTED") for number in range(delivery + 1)]
        writes.append((generation << 16 | delivery, draw(st.sampled_from(STATES[3:])) if last else "RETRY"))
    return writes, draw(st.permutations(range(len(writes))))


@QUIET
@given(life=lives())
def test_any_order_of_arrival_leaves_the_same_row(store: DatabaseStore, make_record: MakeRecord, life: Any):
    writes, order = life
    job_id = new_id()
    records = [
        make_record(job_id, state, fence=fence, worker=str(number)) for number, (fence, state) in enumerate(writes)
    ]
    for number in order:
        store.record([records[number]])
    stored = store.get(job_id)
    assert stored is not None
    assert stored.record == records[-1]


@QUIET
@given(
    writes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from(STATES)), min_size=1, max_size=8)
)
def test_the_database_decides_as_the_rule_says(store: DatabaseStore, make_record: MakeRecord, writes: Any):
    job_id = new_id()
    kept: Record | None = None
    for number, (generation, delivery, state) in enumerate(writes):
        record = make_record(job_id, state, fence=generation << 16 | delivery, worker=str(number))
        may = kept is None or wins(record.fence, kept_fence=kept.fence, kept_state=kept.state)
        assert store.record([record]) == ([] if may else [job_id])
        kept = record if may else kept
        stored = store.get(job_id)
        assert stored is not None
        assert stored.record == kept
