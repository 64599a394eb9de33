"""ack, retry, release, bury: only who holds a job may say what becomes of it."""

from __future__ import annotations

import pytest

from django_jobs.brokers.base import ACK_BATCH, BaseBroker, Claimed, Retry
from django_jobs.states import Place
from tests.brokers.kit import HOUR_MS, broker_now, claim, consumer, ids, message, messages, place, places, until


def held_jobs(broker: BaseBroker, count: int) -> list[Claimed]:
    broker.enqueue(messages(count))
    worker = consumer(broker)
    held: list[Claimed] = []
    while len(held) < count:
        held += claim(broker, worker)
    return held


def assert_fenced(broker: BaseBroker, held: list[Claimed], verb: str) -> None:
    """A job that went back and was claimed by another is not the first one's any more."""
    broker.release(held)
    again = claim(broker, consumer(broker))
    calls = {
        "ack": broker.ack,
        "retry": lambda jobs: broker.retry([Retry(job, b"late", 0) for job in jobs]),
        "release": broker.release,
        "bury": lambda jobs: broker.bury(jobs, reason="late"),
    }
    assert sorted(calls[verb](held)) == sorted(ids(held))
    assert places(broker, held) == {Place.IN_FLIGHT}
    assert broker.ack(again) == []


class AckContract:
    def test_an_acked_job_is_gone(self, broker: BaseBroker):
        held = held_jobs(broker, 3)
        assert broker.ack(held[:2]) == []
        assert places(broker, held[:2]) == {None}
        assert place(broker, held[2]) is Place.IN_FLIGHT

    def test_nothing_to_ack(self, broker: BaseBroker):
        assert broker.ack([]) == []

    def test_twice_is_lost_and_harmless(self, broker: BaseBroker):
        held = held_jobs(broker, 1)
        broker.ack(held)
        assert broker.ack(held) == ids(held)

    def test_more_than_a_batch(self, broker: BaseBroker):
        held = held_jobs(broker, ACK_BATCH + 20)
        assert broker.ack(held) == []
        assert broker.counts(["alpha"])[0].in_flight == 0

    def test_jobs_of_several_queues_and_consumers(self, broker: BaseBroker):
        sent = [message(queue=queue) for queue in ("alpha", "beta") for _ in range(4)]
        broker.enqueue(sent)
        workers = [consumer(broker, "alpha", "beta") for _ in range(2)]
        held = [job for queue in ("alpha", "beta") for worker in workers for job in claim(broker, worker, 2, queue)]
        assert broker.ack(held[::2] + held[1::2]) == []
        assert places(broker, sent) == {None}

    def test_who_is_not_the_holder_is_refused(self, broker: BaseBroker):
        assert_fenced(broker, held_jobs(broker, 2), "ack")

    def test_counts_of_an_earlier_life_are_forgotten(self, broker: BaseBroker):
        held = held_jobs(broker, 1)
        broker.release(held, started=True)
        (again,) = claim(broker, consumer(broker))
        broker.ack([again])
        broker.enqueue([message(job_id=again.id)])
        assert [(job.deliveries, job.crashes) for job in claim(broker, consumer(broker))] == [(0, 0)]


class RetryContract:
    def test_it_runs_again_with_its_new_body_when_the_delay_is_over(self, broker: BaseBroker):
        (job,) = held_jobs(broker, 1)
        now = broker_now(broker)
        assert broker.retry([Retry(job, b"second try", HOUR_MS)]) == []
        found = broker.find(job.id, "alpha")
        assert found is not None
        assert (found.place, found.body) == (Place.SCHEDULED, b"second try")
        assert now + HOUR_MS <= found.moment_ms <= broker_now(broker) + HOUR_MS
        assert broker.claim(consumer(broker), "alpha", 1).next_eta_ms == found.moment_ms

    def test_without_a_delay_it_is_ready(self, broker: BaseBroker):
        (job,) = held_jobs(broker, 1)
        broker.retry([Retry(job, b"again", 0)])
        (again,) = claim(broker, consumer(broker))
        assert (again.id, again.body) == (job.id, b"again")
        assert again.moment_ms >= job.moment_ms

    def test_nothing_to_retry(self, broker: BaseBroker):
        assert broker.retry([]) == []

    def test_the_priority_stays(self, broker: BaseBroker):
        broker.enqueue([message(priority=9), message(priority=-9)])
        worker = consumer(broker)
        broker.retry(
            [Retry(job, b"again", delay_ms) for job, delay_ms in zip(claim(broker, worker), (0, 20), strict=True)]
        )
        now = broker_now(broker)
        until(lambda: broker.claim(worker, "alpha", 0).now_ms >= now + 20)
        assert [job.priority for job in claim(broker, worker)] == [9, -9]

    def test_several_at_once_each_with_its_own_body(self, broker: BaseBroker):
        held = held_jobs(broker, 20)
        assert broker.retry([Retry(job, job.id.encode(), 0) for job in held]) == []
        assert {job.id: job.body for job in claim(broker, consumer(broker))} == {
            job.id: job.id.encode() for job in held
        }

    def test_counts_start_anew(self, broker: BaseBroker):
        held = held_jobs(broker, 1)
        broker.release(held, started=True)
        again = claim(broker, consumer(broker))
        assert [job.deliveries for job in again] == [1]
        broker.retry([Retry(again[0], b"again", 0)])
        assert [(job.deliveries, job.crashes) for job in claim(broker, consumer(broker))] == [(0, 0)]

    def test_who_is_not_the_holder_is_refused(self, broker: BaseBroker):
        assert_fenced(broker, held_jobs(broker, 2), "retry")
        assert broker.queues() == ["alpha"]

    def test_twice_is_lost_and_harmless(self, broker: BaseBroker):
        (job,) = held_jobs(broker, 1)
        broker.retry([Retry(job, b"one", HOUR_MS)])
        assert broker.retry([Retry(job, b"two", 0)]) == [job.id]
        found = broker.find(job.id, "alpha")
        assert found is not None
        assert (found.place, found.body) == (Place.SCHEDULED, b"one")


class ReleaseContract:
    def test_it_goes_back_to_its_old_place(self, broker: BaseBroker):
        broker.enqueue(messages(5))
        worker = consumer(broker)
        held = claim(broker, worker, 3)
        assert broker.release(held[1:]) == []
        again = claim(broker, worker, 10)
        assert ids(again)[:2] == ids(held[1:])
        assert [(job.moment_ms, job.priority, job.body) for job in again[:2]] == [
            (job.moment_ms, job.priority, job.body) for job in held[1:]
        ]
        assert [job.deliveries for job in again] == [0] * 4

    def test_nothing_to_release(self, broker: BaseBroker):
        assert broker.release([]) == []

    def test_one_that_had_started_counts_as_delivered_not_as_crashed(self, broker: BaseBroker):
        held = held_jobs(broker, 1)
        for deliveries in (1, 2):
            broker.release(held, started=True)
            held = claim(broker, consumer(broker))
            assert [(job.deliveries, job.crashes) for job in held] == [(deliveries, 0)]
        broker.release(held)
        assert [job.deliveries for job in claim(broker, consumer(broker))] == [2]

    def test_with_a_delay_it_is_scheduled(self, broker: BaseBroker):
        (job,) = held_jobs(broker, 1)
        now = broker_now(broker)
        broker.release([job], delay_ms=HOUR_MS)
        found = broker.find(job.id, "alpha")
        assert found is not None
        assert (found.place, found.body) == (Place.SCHEDULED, job.body)
        assert now + HOUR_MS <= found.moment_ms <= broker_now(broker) + HOUR_MS

    def test_a_delayed_one_becomes_due_with_its_body_and_counts(self, broker: BaseBroker):
        (job,) = held_jobs(broker, 1)
        broker.release([job], delay_ms=20, started=True)
        now = broker_now(broker)
        worker = consumer(broker)
        until(lambda: broker.claim(worker, "alpha", 0).now_ms >= now + 20)
        (again,) = claim(broker, worker)
        assert (again.id, again.body, again.deliveries, again.crashes) == (job.id, job.body, 1, 0)
        assert again.moment_ms > job.moment_ms

    def test_more_than_a_batch(self, broker: BaseBroker):
        held = held_jobs(broker, ACK_BATCH + 20)
        assert broker.release(held) == []
        assert broker.counts(["alpha"])[0].ready == ACK_BATCH + 20

    @pytest.mark.parametrize("delay_ms", [0, 1])
    def test_who_is_not_the_holder_is_refused(self, broker: BaseBroker, delay_ms: int):
        held = held_jobs(broker, 2)
        assert_fenced(broker, held, "release")
        assert sorted(broker.release(held, delay_ms=delay_ms, started=True)) == sorted(ids(held))
        assert places(broker, held) == {None}


class BuryContract:
    def test_it_is_dead_with_a_reason_and_its_message(self, broker: BaseBroker):
        held = held_jobs(broker, 2)
        before = broker_now(broker)
        assert broker.bury(held[:1], reason="WorkerLost") == []
        found = broker.find(held[0].id, "alpha")
        assert found is not None
        assert (found.place, found.reason, found.body, found.priority) == (Place.DEAD, "WorkerLost", held[0].body, 0)
        assert before <= found.moment_ms <= broker_now(broker)
        assert place(broker, held[1]) is Place.IN_FLIGHT

    def test_nothing_to_bury(self, broker: BaseBroker):
        assert broker.bury([], reason="nothing") == []

    def test_nobody_gets_it_again(self, broker: BaseBroker):
        held = held_jobs(broker, 1)
        broker.bury(held, reason="é ünïcode")
        assert claim(broker, consumer(broker)) == []
        assert [found.reason for found in broker.peek("alpha", Place.DEAD)] == ["é ünïcode"]

    def test_who_is_not_the_holder_is_refused(self, broker: BaseBroker):
        assert_fenced(broker, held_jobs(broker, 2), "bury")

    def test_twice_is_lost_and_harmless(self, broker: BaseBroker):
        held = held_jobs(broker, 1)
        broker.bury(held, reason="first")
        assert broker.bury(held, reason="second") == ids(held)
        assert [found.reason for found in broker.peek("alpha", Place.DEAD)] == ["first"]
