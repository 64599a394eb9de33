"""enqueue: jobs come in once, whole, at their place."""

from __future__ import annotations

import random
from uuid import UUID, uuid4

import pytest

from django_jobs.brokers.base import ENQUEUE_BATCH, PRIORITY_MAX, PRIORITY_MIN, BaseBroker
from django_jobs.states import Place
from tests.brokers.kit import HOUR_MS, broker_now, claim, consumer, ids, message, messages, place, until


class EnqueueContract:
    def test_a_job_is_ready_and_carries_what_was_given(self, broker: BaseBroker):
        worker = consumer(broker)
        before = broker_now(broker)
        sent = message(b'{"a": "\xc3\xa9"}', priority=7)
        assert broker.enqueue([sent]) == [True]
        (job,) = claim(broker, worker)
        assert (job.id, job.queue, job.body, job.priority) == (sent.id, "alpha", sent.body, 7)
        assert (job.deliveries, job.crashes) == (0, 0)
        assert before <= job.moment_ms <= broker_now(broker)

    def test_nothing_to_enqueue(self, broker: BaseBroker):
        assert broker.enqueue([]) == []

    @pytest.mark.parametrize(
        "body", [b"", b"\x00\xff\r\n$5\r\n", bytes(range(256)) * 4096], ids=["empty", "raw", "1MiB"]
    )
    def test_a_body_is_bytes_that_mean_nothing(self, broker: BaseBroker, body: bytes):
        broker.enqueue([message(body)])
        assert [job.body for job in claim(broker, consumer(broker))] == [body]

    def test_any_uuid_is_an_id(self, broker: BaseBroker):
        sent = [*(message(job_id=str(uuid4())) for _ in range(20)), message(job_id=str(UUID(int=0)))]
        assert broker.enqueue(sent) == [True] * 21
        assert set(ids(claim(broker, consumer(broker)))) == set(ids(sent))

    def test_a_job_with_an_eta_is_scheduled(self, broker: BaseBroker):
        worker = consumer(broker)
        eta_ms = broker_now(broker) + HOUR_MS
        sent = message(priority=-3, eta_ms=eta_ms)
        assert broker.enqueue([sent]) == [True]
        found = broker.find(sent.id, "alpha")
        assert found is not None
        assert (found.place, found.moment_ms, found.priority) == (Place.SCHEDULED, eta_ms, -3)
        answer = broker.claim(worker, "alpha", 10)
        assert (answer.jobs, answer.next_eta_ms) == ([], eta_ms)

    def test_an_eta_that_has_passed_is_no_hindrance(self, broker: BaseBroker):
        eta_ms = broker_now(broker) - HOUR_MS
        sent = message(eta_ms=eta_ms)
        broker.enqueue([sent])
        (job,) = claim(broker, consumer(broker))
        assert (job.id, job.moment_ms) == (sent.id, eta_ms)

    def test_priorities_at_both_ends(self, broker: BaseBroker):
        low, high = message(priority=PRIORITY_MIN), message(priority=PRIORITY_MAX)
        later = broker_now(broker) + HOUR_MS
        low_later, high_later = (
            message(priority=PRIORITY_MIN, eta_ms=later),
            message(priority=PRIORITY_MAX, eta_ms=later),
        )
        broker.enqueue([low, high, low_later, high_later])
        assert [(job.id, job.priority) for job in claim(broker, consumer(broker))] == [
            (high.id, PRIORITY_MAX),
            (low.id, PRIORITY_MIN),
        ]
        assert {job.id: job.priority for job in broker.peek("alpha", Place.SCHEDULED)} == {
            low_later.id: PRIORITY_MIN,
            high_later.id: PRIORITY_MAX,
        }

    def test_a_known_id_changes_nothing_wherever_it_is(self, broker: BaseBroker):
        worker = consumer(broker)
        flying, buried = messages(2)
        broker.enqueue([flying, buried])
        held = claim(broker, worker)
        broker.bury([job for job in held if job.id == buried.id], reason="test")
        ready, scheduled = message(), message(eta_ms=broker_now(broker) + HOUR_MS)
        broker.enqueue([ready, scheduled])
        sent = [ready, scheduled, flying, buried]
        before = [broker.find(job.id, "alpha") for job in sent]
        again = [job._replace(body=b"other", priority=50, eta_ms=None) for job in sent]
        assert broker.enqueue(again) == [False] * 4
        assert [broker.find(job.id, "alpha") for job in sent] == before
        assert broker.ack([job for job in held if job.id == flying.id]) == []

    def test_an_id_that_is_gone_may_come_again(self, broker: BaseBroker):
        sent = message()
        broker.enqueue([sent])
        broker.ack(claim(broker, consumer(broker)))
        assert broker.enqueue([sent]) == [True]
        assert place(broker, sent) is Place.READY

    def test_the_same_id_twice_in_one_call(self, broker: BaseBroker):
        sent = message(b"first")
        assert broker.enqueue([sent, sent._replace(body=b"second")]) == [True, False]
        assert [job.body for job in claim(broker, consumer(broker))] == [b"first"]

    def test_any_number_of_messages_and_queues_is_answered_in_order(self, broker: BaseBroker):
        count = 2 * ENQUEUE_BATCH + 17
        sent = [message(queue=random.choice(["alpha", "beta", "gamma"])) for _ in range(count)]
        known = set(random.sample(range(count), 40))
        broker.enqueue([sent[number] for number in known])
        assert broker.enqueue(sent) == [number not in known for number in range(count)]
        by_queue = {found.queue: found.ready for found in broker.counts(["alpha", "beta", "gamma"])}
        assert by_queue == {name: sum(job.queue == name for job in sent) for name in by_queue}

    def test_an_id_is_known_per_queue_as_it_was_first_seen(self, broker: BaseBroker):
        sent = message()
        broker.enqueue([sent])
        found = broker.find(sent.id)
        assert found is not None
        assert (found.queue, found.place) == ("alpha", Place.READY)

    def test_it_is_seen_by_every_process(self, broker: BaseBroker, make_broker):
        sent = message()
        make_broker().enqueue([sent])
        other = make_broker()
        assert ids(claim(other, consumer(broker))) == [sent.id]

    def test_it_names_the_queue(self, broker: BaseBroker):
        broker.enqueue([message(queue="zeta"), message(queue="b.e-t_a1")])
        assert broker.queues() == ["b.e-t_a1", "zeta"]

    def test_the_broker_joins_no_transaction_unless_it_says_so(self, broker: BaseBroker):
        assert broker.joins_transaction("no such alias") is False

    def test_a_job_that_becomes_due_keeps_its_moment(self, broker: BaseBroker):
        worker = consumer(broker)
        eta_ms = broker_now(broker) + 40
        broker.enqueue([message(eta_ms=eta_ms)])
        until(lambda: broker.claim(worker, "alpha", 0).now_ms >= eta_ms)
        (job,) = claim(broker, worker)
        assert job.moment_ms == eta_ms
