"""The outbox on every kind of database: who may see, lock and delete a row, and when."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from django.db import connections, transaction

from django_jobs import clock
from django_jobs.exceptions import BrokerUnavailable
from django_jobs.identifiers import new_id, new_ids
from django_jobs.models.outbox import OutboxJob
from django_jobs.results.outbox import Again, Kept, Outbox
from django_jobs.results.store import DatabaseStore

T = TypeVar("T")
RESEND_MS = 60_000


@pytest.fixture
def outbox(store: DatabaseStore) -> Outbox:
    OutboxJob.objects.using(store.using).all().delete()
    assert store.outbox is not None
    return store.outbox


def kept(job_id: str | None = None, **fields: object) -> Kept:
    return Kept(job_id or new_id(), "default", b'{"v":1}')._replace(**fields)  # type: ignore[arg-type]


def relayed(outbox: Outbox, ids: list[str] | None = None) -> list[str]:
    sent: list[Kept] = []
    outbox.relay(sent.extend, ids=ids, resend_ms=RESEND_MS)
    return [job.id for job in sent]


def later(seconds: float) -> Callable[[], float]:
    return lambda: time.time() + seconds


def aside(action: Callable[[], T]) -> T:
    """Do something in another thread, on a connection of its own."""

    def run() -> T:
        try:
            return action()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(20)


def test_what_was_put_in_comes_out(outbox: Outbox) -> None:
    job = kept(queue="mail", body=b'{"v":1,"out":1}', priority=-7, eta_ms=2**41, generation=3)
    assert outbox.add([job]) == 1
    assert outbox.get(job.id) == job
    assert outbox.get(new_id()) is None


def test_many_are_put_in_at_once(outbox: Outbox) -> None:
    jobs = [kept(job_id) for job_id in new_ids(1201)]
    assert outbox.add(jobs) == 1201
    assert set(outbox.get_many([job.id for job in jobs])) == {job.id for job in jobs}


def test_an_id_that_is_there_stays_as_it_is(outbox: Outbox) -> None:
    job = kept(queue="mail")
    outbox.add([job])
    assert outbox.add([job._replace(queue="other")]) == 0
    assert outbox.get(job.id) == job
    outbox.replace([job._replace(queue="other", generation=2)])
    assert outbox.get(job.id) == job._replace(queue="other", generation=2)


def test_a_row_is_of_the_transaction_that_is_open(outbox: Outbox, alias: str) -> None:
    first, second = kept(), kept()
    with transaction.atomic(alias):
        outbox.add([first])
        transaction.set_rollback(True, using=alias)
    assert outbox.get(first.id) is None
    with transaction.atomic(alias):
        outbox.add([second])
        assert outbox.get(second.id) == second
        assert aside(lambda: relayed(outbox, [second.id])) == [] if alias_has_rows(alias) else True
    assert relayed(outbox, [second.id]) == [second.id]


def alias_has_rows(alias: str) -> bool:
    """SQLite has one lock for all rows: a relay would wait for the end of the transaction."""
    return connections[alias].vendor != "sqlite"


def test_the_process_that_has_sent_a_job_relays_it_once(outbox: Outbox) -> None:
    job, other = kept(), kept()
    outbox.add([job, other])
    assert relayed(outbox, [job.id]) == [job.id]
    assert relayed(outbox, [job.id]) == []
    found = outbox.get(job.id)
    assert found is not None
    assert found.relays == 1
    assert relayed(outbox, []) == []


def test_others_relay_what_nobody_has(outbox: Outbox) -> None:
    job = kept()
    outbox.add([job])
    assert not outbox.is_due()
    assert relayed(outbox) == []
    with clock.use(later(1.5)):
        assert outbox.is_due()
        assert relayed(outbox) == [job.id]
        assert not outbox.is_due()


def test_an_unfinished_job_is_relayed_again_and_again_more_and_more_seldom(outbox: Outbox) -> None:
    outbox.add([kept()])
    moments = [seconds for seconds in range(2, 20_000, 20) if relayed_at(outbox, seconds)]
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses[:3] == [60, 120, 240]
    assert max(pauses) == 60 * 2**6


def test_a_day_may_lie_between_two_relays_and_doubles_too(outbox: Outbox, alias: str) -> None:
    job, day_ms = kept(), 24 * 3600 * 1000
    outbox.add([job])
    OutboxJob.objects.using(alias).update(relays=9, due=0)
    with clock.use(lambda: STOPPED):
        assert outbox.relay(lambda jobs: None, resend_ms=day_ms) == 1
        now_ms = clock.now_ms()
    assert OutboxJob.objects.using(alias).get(pk=job.id).due - now_ms == day_ms * 2**6


def relayed_at(outbox: Outbox, seconds: float) -> bool:
    start = STOPPED

    with clock.use(lambda: start + seconds):
        return bool(relayed(outbox))


STOPPED = float(int(time.time()))


def test_a_job_that_waits_for_its_moment_is_not_relayed_before_it(outbox: Outbox) -> None:
    outbox.add([kept(eta_ms=clock.now_ms() + 3_600_000)])
    with clock.use(later(2)):
        assert len(relayed(outbox)) == 1
    with clock.use(later(3500)):
        assert relayed(outbox) == []
    with clock.use(later(3670)):
        assert len(relayed(outbox)) == 1


def test_all_that_were_relayed_are_due_when_the_broker_has_lost_them(outbox: Outbox) -> None:
    one, other, fresh = kept(), kept(), kept()
    outbox.add([one, other])
    relayed(outbox, [one.id, other.id])
    outbox.add([fresh])
    assert outbox.all_are_due() == 2
    assert set(relayed(outbox)) == {one.id, other.id}


def test_a_broker_that_fails_leaves_the_row_as_it_was(outbox: Outbox) -> None:
    job = kept()
    outbox.add([job])

    def fail(jobs: list[Kept]) -> None:
        raise BrokerUnavailable("The test has pulled the plug.")

    with pytest.raises(BrokerUnavailable):
        outbox.relay(fail, ids=[job.id], resend_ms=RESEND_MS)
    assert outbox.get(job.id) == job
    assert relayed(outbox, [job.id]) == [job.id]


def test_two_relays_do_not_hand_over_the_same_job(outbox: Outbox, alias: str) -> None:
    if not connections[alias].features.has_select_for_update_skip_locked:
        pytest.skip("without SKIP LOCKED the second waits, which is as good")
    outbox.add([kept()])
    seen: list[list[str]] = []

    def send(jobs: list[Kept]) -> None:
        with clock.use(later(2)):
            seen.append(aside(lambda: relayed(outbox)))

    with clock.use(later(2)):
        assert outbox.relay(send, resend_ms=RESEND_MS) == 1
    assert seen == [[]]


def test_a_job_cannot_end_while_it_is_handed_over(outbox: Outbox) -> None:
    """The invariant: the ack follows the deletion, so the broker still knows a job that is handed over again."""
    job = kept()
    outbox.add([job])
    events: list[str] = []
    started = threading.Event()

    def end() -> None:
        started.set()
        outbox.settle([(job.id, 0)], [], resend_ms=RESEND_MS)
        events.append("ended")
        connections.close_all()

    thread = threading.Thread(target=end)

    def send(jobs: list[Kept]) -> None:
        thread.start()
        assert started.wait(10)
        thread.join(0.3)
        events.append("handed over")

    outbox.relay(send, ids=[job.id], resend_ms=RESEND_MS)
    thread.join(20)
    assert events == ["handed over", "ended"]
    assert outbox.get(job.id) is None


def test_the_end_of_an_older_attempt_does_not_touch_the_next(outbox: Outbox) -> None:
    job = kept()
    outbox.add([job])
    outbox.settle([], [Again(job.id, 0, b'{"v":1,"n":2}', 5000)], resend_ms=RESEND_MS)
    expected = job._replace(body=b'{"v":1,"n":2}', eta_ms=5000, generation=1)
    assert outbox.get(job.id) == expected
    outbox.settle([(job.id, 0)], [Again(job.id, 0, b"late", 7000)], resend_ms=RESEND_MS)
    assert outbox.get(job.id) == expected
    outbox.settle([(job.id, 1)], [], resend_ms=RESEND_MS)
    assert outbox.get(job.id) is None


def test_what_is_settled_is_of_the_transaction_that_records_it(outbox: Outbox, store: DatabaseStore) -> None:
    job = kept()
    outbox.add([job])
    with store.transaction():
        outbox.settle([(job.id, 0)], [], resend_ms=RESEND_MS)
        transaction.set_rollback(True, using=store.using)
    assert outbox.get(job.id) == job
    assert outbox.forget([job.id, new_id()]) == 1
