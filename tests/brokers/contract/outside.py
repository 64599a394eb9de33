"""revoke, forget, pause, resume, purge: what is done to jobs and queues by those who run none."""

from __future__ import annotations

from django_jobs.brokers.base import BaseBroker, Retry
from django_jobs.identifiers import new_id
from django_jobs.states import Place
from tests.brokers.kit import HOUR_MS, broker_now, claim, consumer, ids, message, messages, place, places


def assert_dead(broker: BaseBroker, job_id: str, reason: str, body: bytes) -> None:
    found = broker.find(job_id, "alpha")
    assert found is not None
    assert (found.place, found.reason, found.body) == (Place.DEAD, reason, body)


class RevokeContract:
    def test_a_ready_job(self, broker: BaseBroker):
        sent = messages(3)
        broker.enqueue(sent)
        assert broker.revoke(sent[1].id, "alpha") is Place.READY
        assert_dead(broker, sent[1].id, "revoked", sent[1].body)
        assert ids(claim(broker, consumer(broker))) == [sent[0].id, sent[2].id]

    def test_a_scheduled_job(self, broker: BaseBroker):
        sent = message(priority=4, eta_ms=broker_now(broker) + HOUR_MS)
        broker.enqueue([sent])
        assert broker.revoke(sent.id, "alpha") is Place.SCHEDULED
        assert_dead(broker, sent.id, "revoked", sent.body)
        assert broker.claim(consumer(broker), "alpha", 1).next_eta_ms is None

    def test_one_in_flight_stays_there(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        held = claim(broker, consumer(broker))
        assert broker.revoke(held[0].id, "alpha") is Place.IN_FLIGHT
        assert place(broker, held[0]) is Place.IN_FLIGHT
        assert broker.ack(held) == []
        assert place(broker, held[0]) is None

    def test_a_dead_one_keeps_its_reason(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        held = claim(broker, consumer(broker))
        broker.bury(held, reason="WorkerLost")
        assert broker.revoke(held[0].id, "alpha") is Place.DEAD
        assert_dead(broker, held[0].id, "WorkerLost", held[0].body)

    def test_one_that_nobody_knows(self, broker: BaseBroker):
        assert broker.revoke(new_id(), "alpha") is None
        assert broker.peek("alpha", Place.DEAD) == []

    def test_given_back_afterwards_it_is_dead(self, broker: BaseBroker):
        """Whoever wanted it stopped does not see it run again: its consumer gives it back, by whatever verb."""
        broker.enqueue(messages(4))
        worker = consumer(broker)
        held = claim(broker, worker)
        for job in held:
            broker.revoke(job.id, "alpha")
        broker.release(held[:1])
        broker.release(held[1:2], delay_ms=HOUR_MS, started=True)
        broker.retry([Retry(held[2], b"again", 0)])
        broker.unregister(worker)
        assert places(broker, held) == {Place.DEAD}
        assert {found.reason for found in broker.peek("alpha", Place.DEAD)} == {"revoked"}

    def test_a_new_life_of_the_id_is_not_revoked(self, broker: BaseBroker):
        (sent,) = messages(1)
        broker.enqueue([sent])
        worker = consumer(broker)
        broker.revoke(sent.id, "alpha")
        broker.forget([sent.id], "alpha")
        broker.enqueue([sent])
        held = claim(broker, worker)
        broker.revoke(sent.id, "alpha")
        broker.ack(held)
        broker.enqueue([sent])
        held = claim(broker, worker)
        assert broker.heartbeat([worker], lease_ms=1000)[0].revoked == ()
        broker.release(held)
        assert place(broker, sent) is Place.READY

    def test_many_of_a_queue(self, broker: BaseBroker):
        """What is true of one is true of each of many, in more batches than one."""
        broker.enqueue(messages(2))
        buried, flying = claim(broker, consumer(broker))
        broker.bury([buried], reason="test")
        ready, elsewhere = messages(600), message(queue="beta")
        scheduled = message(eta_ms=broker_now(broker) + HOUR_MS)
        broker.enqueue([*ready, scheduled, elsewhere])
        asked = [buried.id, flying.id, *ids(ready), new_id(), scheduled.id, elsewhere.id]
        assert broker.revoke_many(asked, "alpha", terminate=True) == [
            Place.DEAD, Place.IN_FLIGHT, *[Place.READY] * 600, None, Place.SCHEDULED, None
        ]  # fmt: skip
        assert_dead(broker, buried.id, "test", buried.body)
        assert_dead(broker, ready[599].id, "revoked", ready[599].body)
        assert_dead(broker, scheduled.id, "revoked", scheduled.body)
        assert broker.find_many([elsewhere.id])[elsewhere.id].place is Place.READY
        assert broker.revoke_many([], "alpha") == []

    def test_one_of_many_in_flight_is_named(self, broker: BaseBroker):
        broker.enqueue(messages(3))
        worker = consumer(broker)
        held = claim(broker, worker)
        broker.revoke_many(ids(held[:2]), "alpha")
        broker.revoke_many(ids(held[1:2]), "alpha", terminate=True)
        (beat,) = broker.heartbeat([worker], lease_ms=HOUR_MS)
        assert (sorted(beat.revoked), beat.terminated) == (sorted(ids(held[:2])), (held[1].id,))


class ForgetContract:
    def test_dead_jobs_go(self, broker: BaseBroker):
        broker.enqueue(messages(3))
        held = claim(broker, consumer(broker))
        broker.bury(held, reason="test")
        assert broker.forget(ids(held[:2]), "alpha") == 2
        assert places(broker, held[:2]) == {None}
        assert ids(broker.peek("alpha", Place.DEAD)) == [held[2].id]

    def test_only_dead_ones(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        (flying,) = claim(broker, consumer(broker), 1)
        scheduled = message(eta_ms=broker_now(broker) + HOUR_MS)
        broker.enqueue([scheduled])
        (ready,) = broker.peek("alpha", Place.READY)
        assert broker.forget([flying.id, ready.id, scheduled.id, new_id()], "alpha") == 0
        found = [place(broker, job.id) for job in (flying, ready, scheduled)]
        assert found == [Place.IN_FLIGHT, Place.READY, Place.SCHEDULED]

    def test_nothing_and_twice(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        held = claim(broker, consumer(broker))
        broker.bury(held, reason="test")
        assert [broker.forget(ids(jobs), "alpha") for jobs in ([], held, held)] == [0, 1, 0]


class ReviveContract:
    def test_a_dead_job_waits_again_with_its_new_message(self, broker: BaseBroker):
        broker.enqueue(messages(2, priority=3))
        held = claim(broker, consumer(broker))
        broker.bury(held, reason="test")
        later = broker_now(broker) + HOUR_MS
        again = [message(b"now", priority=3, job_id=held[0].id), message(b"then", job_id=held[1].id, eta_ms=later)]
        assert broker.revive(again) == []
        assert [place(broker, job) for job in again] == [Place.READY, Place.SCHEDULED]
        (first,) = claim(broker, consumer(broker))
        assert (first.id, first.body, first.priority) == (held[0].id, b"now", 3)
        assert (first.deliveries, first.crashes) == (0, 0)
        assert broker.claim(consumer(broker), "alpha", 1).next_eta_ms == later

    def test_only_dead_ones(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        held = claim(broker, consumer(broker), 1)
        (ready,) = broker.peek("alpha", Place.READY)
        unknown = message()
        again = [message(b"again", job_id=held[0].id), message(b"again", job_id=ready.id), unknown]
        assert sorted(broker.revive(again)) == sorted([held[0].id, ready.id, unknown.id])
        assert place(broker, unknown) is None
        assert broker.peek("alpha", Place.READY)[0].body == ready.body

    def test_at_its_new_place(self, broker: BaseBroker):
        broker.enqueue(messages(3))
        held = claim(broker, consumer(broker))
        broker.bury(held, reason="test")
        broker.revive(
            [message(job_id=job.id, priority=priority) for job, priority in zip(held, (0, -7, 7), strict=True)]
        )
        assert ids(broker.peek("alpha", Place.READY)) == [held[2].id, held[0].id, held[1].id]

    def test_it_is_not_revoked_any_more(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        worker = consumer(broker)
        held = claim(broker, worker)
        broker.revoke(held[0].id, "alpha", terminate=True)
        broker.release(held)
        assert broker.revive([message(b"again", job_id=held[0].id)]) == []
        claim(broker, worker)
        (beat,) = broker.heartbeat([worker], lease_ms=60_000)
        assert (beat.revoked, beat.terminated) == ((), ())


class PauseContract:
    def test_it_holds_until_resume(self, broker: BaseBroker):
        broker.enqueue([*messages(2), message(queue="beta")])
        worker = consumer(broker, "alpha", "beta")
        held = claim(broker, worker, 1)
        broker.pause("alpha")
        broker.pause("alpha")
        assert [counts.paused for counts in broker.counts(["alpha", "beta"])] == [True, False]
        assert claim(broker, worker, 10, "alpha") == []
        assert len(claim(broker, worker, 10, "beta")) == 1
        assert broker.ack(held) == []
        broker.resume("alpha")
        assert not broker.counts(["alpha"])[0].paused
        assert len(claim(broker, worker, 10, "alpha")) == 1

    def test_it_takes_new_jobs(self, broker: BaseBroker):
        broker.pause("alpha")
        assert broker.enqueue(messages(2)) == [True, True]
        assert broker.counts(["alpha"])[0].ready == 2

    def test_a_queue_that_nobody_has_used(self, broker: BaseBroker):
        broker.resume("alpha")
        broker.pause("alpha")
        assert broker.counts(["alpha"])[0].paused


class PurgeContract:
    def test_everything_that_waits_is_dead(self, broker: BaseBroker):
        broker.enqueue(messages(3))
        held = claim(broker, consumer(broker), 1)
        scheduled = message(eta_ms=broker_now(broker) + HOUR_MS, priority=-50)
        broker.enqueue([scheduled, message(queue="beta")])
        assert broker.purge("alpha") == 3
        counts = {counts.queue: counts for counts in broker.counts(["alpha", "beta"])}
        assert [counts["alpha"].ready, counts["alpha"].scheduled, counts["alpha"].in_flight] == [0, 0, 1]
        assert (counts["alpha"].dead, counts["beta"].ready) == (3, 1)
        assert {found.reason for found in broker.peek("alpha", Place.DEAD)} == {"purged"}
        assert {found.priority for found in broker.peek("alpha", Place.DEAD)} == {0, -50}
        assert broker.ack(held) == []

    def test_by_batches(self, broker: BaseBroker):
        later = broker_now(broker) + HOUR_MS
        broker.enqueue([*messages(1203), *(message(eta_ms=later) for _ in range(601))])
        assert broker.purge("alpha") == 1804
        counts = broker.counts(["alpha"])[0]
        assert (counts.ready, counts.scheduled, counts.dead) == (0, 0, 1804)

    def test_a_bounded_number(self, broker: BaseBroker):
        later = broker_now(broker) + HOUR_MS
        broker.enqueue([*messages(700), *(message(eta_ms=later) for _ in range(50))])
        assert [broker.purge("alpha", limit=limit) for limit in (0, 3, 600, 120, 100)] == [0, 3, 600, 120, 27]
        counts = broker.counts(["alpha"])[0]
        assert (counts.ready, counts.scheduled, counts.dead) == (0, 0, 750)

    def test_an_empty_queue(self, broker: BaseBroker):
        assert broker.purge("alpha") == 0
