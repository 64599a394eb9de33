"""find, ahead, peek, queues, counts, ping, close: what may be asked without changing anything."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django_jobs.brokers.base import BaseBroker
from django_jobs.identifiers import new_id
from django_jobs.states import Place
from tests.brokers.kit import HOUR_MS, broker_now, claim, consumer, ids, message, messages, until


def later_than(broker: BaseBroker, moment_ms: int) -> bool:
    return broker_now(broker) > moment_ms


class FindContract:
    def test_a_job_in_each_place(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        worker = consumer(broker)
        flying, buried = claim(broker, worker)
        broker.bury([buried], reason="why")
        ready, scheduled = message(b"r", priority=3), message(b"s", priority=-3, eta_ms=broker_now(broker) + HOUR_MS)
        broker.enqueue([ready, scheduled])
        found = [broker.find(job.id, "alpha") for job in (ready, scheduled, flying, buried)]
        assert [
            (job.id, job.queue, job.place, job.body, job.priority, job.consumer, job.reason) for job in found if job
        ] == [
            (ready.id, "alpha", Place.READY, b"r", 3, None, None),
            (scheduled.id, "alpha", Place.SCHEDULED, b"s", -3, None, None),
            (flying.id, "alpha", Place.IN_FLIGHT, flying.body, 0, worker.id, None),
            (buried.id, "alpha", Place.DEAD, buried.body, 0, None, "why"),
        ]

    def test_its_queue_need_not_be_known(self, broker: BaseBroker):
        sent = [message(queue=queue) for queue in ("alpha", "beta", "gamma")]
        broker.enqueue(sent)
        found = [broker.find(job.id) for job in sent]
        assert [job.queue for job in found if job] == ["alpha", "beta", "gamma"]

    def test_one_that_is_not_there(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        assert broker.find(new_id()) is None
        assert broker.find(new_id(), "alpha") is None
        assert broker.find(new_id(), "nowhere") is None

    def test_not_in_another_queue(self, broker: BaseBroker):
        (sent,) = messages(1)
        broker.enqueue([sent, message(queue="beta")])
        assert broker.find(sent.id, "beta") is None

    def test_many_wherever_they_are(self, broker: BaseBroker):
        sent = [*messages(300), *messages(300, queue="beta"), message(queue="gamma")]
        broker.enqueue(sent)
        claim(broker, consumer(broker, "gamma"), queue="gamma")
        found = broker.find_many([*ids(sent), new_id()])
        assert sorted(found) == sorted(ids(sent))
        assert all(found[one.id] == broker.find(one.id) for one in (*sent[:2], *sent[-2:]))
        assert broker.find_many([]) == {}


class AheadContract:
    def test_it_counts_who_goes_first(self, broker: BaseBroker):
        sent = [message(priority=priority) for priority in (0, 5, 0, -5)]
        broker.enqueue(sent)
        found = [broker.find(job.id, "alpha") for job in sent]
        assert [broker.ahead(job) for job in found if job] == [1, 0, 2, 3]

    def test_nothing_is_ahead_of_what_is_not_ready(self, broker: BaseBroker):
        scheduled = message(eta_ms=broker_now(broker) + HOUR_MS)
        broker.enqueue([*messages(3), scheduled])
        (held,) = claim(broker, consumer(broker), 1)
        found = [broker.find(job, "alpha") for job in (scheduled.id, held.id)]
        assert [broker.ahead(job) for job in found if job] == [0, 0]


class PeekContract:
    def test_in_the_order_they_would_leave(self, broker: BaseBroker):
        now = broker_now(broker)
        later = [message(eta_ms=now + HOUR_MS + offset) for offset in (20, 10, 30)]
        ready = [message(priority=priority) for priority in (0, 1, 0)]
        broker.enqueue([*later, *ready])
        assert ids(broker.peek("alpha", Place.READY)) == ids([ready[1], ready[0], ready[2]])
        assert ids(broker.peek("alpha", Place.SCHEDULED)) == ids([later[1], later[0], later[2]])
        assert [found.moment_ms - now - HOUR_MS for found in broker.peek("alpha", Place.SCHEDULED)] == [10, 20, 30]

    def test_it_changes_nothing(self, broker: BaseBroker):
        sent = messages(3)
        broker.enqueue(sent)
        assert broker.peek("alpha", Place.READY) == broker.peek("alpha", Place.READY)
        assert ids(claim(broker, consumer(broker))) == ids(sent)

    def test_as_many_as_asked_for(self, broker: BaseBroker):
        broker.enqueue(messages(30))
        worker = consumer(broker)
        assert [len(broker.peek("alpha", Place.READY, limit=limit)) for limit in (1, 7, 100)] == [1, 7, 30]
        held = claim(broker, worker, 10)
        broker.bury(held[:5], reason="test")
        assert len(broker.peek("alpha", Place.IN_FLIGHT, limit=3)) == 3
        assert len(broker.peek("alpha", Place.DEAD, limit=2)) == 2

    def test_page_by_page(self, broker: BaseBroker):
        later = broker_now(broker) + HOUR_MS
        broker.enqueue([*messages(9), *(message(eta_ms=later + number) for number in range(5))])
        held = claim(broker, consumer(broker), 4)
        broker.bury(held[:2], reason="test")
        for place in Place:
            everything = broker.peek("alpha", place)
            pages = [broker.peek("alpha", place, limit=2, offset=offset) for offset in range(0, 8, 2)]
            assert [found for page in pages for found in page] == everything
            assert len(everything) in (2, 5)

    def test_in_flight_over_all_consumers(self, broker: BaseBroker):
        broker.enqueue(messages(4))
        workers = [consumer(broker) for _ in range(2)]
        held = {job.id: (job.body, worker.id) for worker in workers for job in claim(broker, worker, 2)}
        assert {found.id: (found.body, found.consumer) for found in broker.peek("alpha", Place.IN_FLIGHT)} == held

    def test_dead_ones_oldest_first(self, broker: BaseBroker):
        broker.enqueue(messages(3))
        held = claim(broker, consumer(broker))
        for job in (held[2], held[0], held[1]):
            broker.bury([job], reason=job.id)
            until(partial(later_than, broker, broker_now(broker)))
        found = broker.peek("alpha", Place.DEAD)
        assert ids(found) == [job.reason for job in found] == ids([held[2], held[0], held[1]])

    def test_an_unknown_queue(self, broker: BaseBroker):
        assert [broker.peek("nowhere", place) for place in Place] == [[], [], [], []]


class QueuesContract:
    def test_nothing_was_ever_used(self, broker: BaseBroker):
        assert broker.queues() == []

    def test_an_emptied_queue_is_still_known(self, broker: BaseBroker, make_broker):
        broker.enqueue([message(queue="beta"), message(queue="alpha")])
        consumer(broker, "gamma")
        worker = consumer(broker, "alpha", "beta")
        broker.ack(claim(broker, worker, 1, "alpha") + claim(broker, worker, 1, "beta"))
        assert make_broker().queues() == ["alpha", "beta", "gamma"]


class CountsContract:
    def test_everything_at_once(self, broker: BaseBroker):
        now = broker_now(broker)
        broker.enqueue([*messages(6), *(message(eta_ms=now + HOUR_MS) for _ in range(3)), message(queue="beta")])
        worker = consumer(broker)
        held = claim(broker, worker, 3)
        broker.bury(held[:1], reason="test")
        sent_by = broker_now(broker)
        until(lambda: broker_now(broker) > sent_by + 20)
        counts, other, unknown = broker.counts(["alpha", "beta", "nowhere"])
        assert (counts.queue, counts.ready, counts.scheduled, counts.in_flight, counts.dead) == ("alpha", 3, 3, 2, 1)
        assert (counts.paused, counts.consumers) == (False, 1)
        assert counts.oldest_ready_ms is not None
        assert 10 <= counts.oldest_ready_ms < 60_000
        assert (other.queue, other.ready, other.consumers) == ("beta", 1, 0)
        assert (unknown.ready, unknown.oldest_ready_ms, unknown.paused) == (0, None, False)

    def test_no_queue(self, broker: BaseBroker):
        assert broker.counts([]) == []


class PingContract:
    def test_it_says_nothing_when_all_is_well(self, broker: BaseBroker):
        broker.ping()

    def test_a_closed_broker_opens_again(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        broker.close()
        broker.close()
        assert len(claim(broker, consumer(broker))) == 1


class ContinuityContract:
    def test_it_is_the_same_for_all_on_the_same_data(self, make_broker: Callable[[], BaseBroker]):
        broker = make_broker()
        before = broker.continuity()
        broker.enqueue(messages(1))
        claim(broker, consumer(broker))
        broker.close()
        assert broker.continuity() == make_broker().continuity() == before

    def test_its_clock_is_that_of_its_jobs(self, broker: BaseBroker):
        before = broker.now_ms()
        broker.enqueue(messages(1))
        (claimed,) = claim(broker, consumer(broker))
        assert abs(claimed.moment_ms - before) < 60_000
