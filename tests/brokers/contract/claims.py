"""claim: the best jobs first, each to one consumer, under its lease."""

from __future__ import annotations

import threading

import pytest

from django_jobs.brokers.base import CLAIM_BATCH, IN_FLIGHT_MAX, PROMOTE_BATCH, BaseBroker, Claimed
from django_jobs.exceptions import ConsumerLost
from django_jobs.states import Place
from tests.brokers.kit import (
    HOUR_MS,
    broker_now,
    claim,
    consumer,
    ids,
    message,
    messages,
    place,
    places,
    silent_consumer,
    until,
)


class ClaimContract:
    def test_an_empty_queue(self, broker: BaseBroker):
        worker = consumer(broker)
        before = broker_now(broker)
        answer = broker.claim(worker, "alpha", 10)
        assert (answer.jobs, answer.next_eta_ms, answer.expired, list(answer.lost)) == ([], None, None, [])
        assert before <= answer.now_ms <= broker_now(broker)

    def test_best_first(self, broker: BaseBroker):
        now = broker_now(broker)
        late_low, early_low = message(priority=-1, eta_ms=now - 10), message(priority=-1, eta_ms=now - 20)
        high, plain = message(priority=5), message()
        broker.enqueue([late_low, early_low, plain, high])
        assert ids(claim(broker, consumer(broker))) == ids([high, plain, early_low, late_low])

    def test_at_the_same_moment_the_smaller_id_goes_first(self, broker: BaseBroker):
        now = broker_now(broker)
        sent = [message(eta_ms=now - 5) for _ in range(10)]
        broker.enqueue(sent[::-1])
        assert ids(claim(broker, consumer(broker))) == sorted(ids(sent))

    def test_jobs_of_one_sender_keep_their_order(self, broker: BaseBroker):
        sent = messages(150)
        for job in sent[:50]:
            broker.enqueue([job])
        broker.enqueue(sent[50:])
        worker = consumer(broker)
        assert [job.id for _ in range(15) for job in claim(broker, worker, 10)] == ids(sent)

    def test_a_job_goes_to_one_consumer(self, broker: BaseBroker, make_broker):
        sent = messages(200)
        broker.enqueue(sent)
        taken: list[str] = []

        def take() -> None:
            mine = make_broker()
            worker = consumer(mine)
            while jobs := claim(mine, worker, 7):
                taken.extend(ids(jobs))
            mine.close()

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(taken) == sorted(ids(sent))

    def test_no_more_than_asked_for(self, broker: BaseBroker):
        broker.enqueue(messages(10))
        worker = consumer(broker)
        assert [len(claim(broker, worker, limit)) for limit in (3, 0, 4, 10)] == [3, 0, 4, 3]

    def test_no_more_than_a_batch(self, broker: BaseBroker):
        broker.enqueue(messages(CLAIM_BATCH + 5))
        assert len(claim(broker, consumer(broker), 10 * CLAIM_BATCH)) == CLAIM_BATCH

    def test_no_more_in_flight_than_the_bound(self, broker: BaseBroker):
        broker.enqueue(messages(IN_FLIGHT_MAX + 10))
        worker = consumer(broker)
        held: list[Claimed] = []
        while jobs := claim(broker, worker, 90):
            held += jobs
        assert len(held) == IN_FLIGHT_MAX
        broker.ack(held[:4])
        assert len(claim(broker, worker, 90)) == 4

    def test_only_from_its_queue(self, broker: BaseBroker):
        broker.enqueue([message(queue="beta")])
        assert claim(broker, consumer(broker, "alpha", "beta")) == []

    def test_due_jobs_are_promoted_in_their_order(self, broker: BaseBroker):
        worker = consumer(broker)
        now = broker_now(broker)
        sent = [message(eta_ms=now + 60 - number) for number in range(5)]
        urgent = message(priority=1, eta_ms=now + 70)
        never = message(eta_ms=now + HOUR_MS)
        broker.enqueue([*sent, urgent, never])
        until(lambda: broker.claim(worker, "alpha", 0).now_ms > now + 70)
        answer = broker.claim(worker, "alpha", 10)
        assert ids(answer.jobs) == ids([urgent, *sent[::-1]])
        assert answer.next_eta_ms == now + HOUR_MS

    def test_a_claim_of_nothing_promotes(self, broker: BaseBroker):
        worker = consumer(broker)
        now = broker_now(broker)
        sent = message(eta_ms=now + 30)
        broker.enqueue([sent])
        assert place(broker, sent) is Place.SCHEDULED
        until(lambda: broker.claim(worker, "alpha", 0).now_ms >= now + 30)
        assert place(broker, sent) is Place.READY

    def test_more_due_jobs_than_one_claim_promotes(self, broker: BaseBroker):
        worker = consumer(broker)
        now = broker_now(broker)
        eta_ms = now + 300
        broker.enqueue([message(eta_ms=eta_ms) for _ in range(PROMOTE_BATCH + 50)])
        until(lambda: broker_now(broker) >= eta_ms)
        answer = broker.claim(worker, "alpha", 0)
        assert answer.next_eta_ms == eta_ms  # so the caller knows that it should come again
        assert broker.claim(worker, "alpha", 0).next_eta_ms is None
        assert broker.counts(["alpha"])[0].ready == PROMOTE_BATCH + 50

    def test_a_redelivered_job_comes_alone(self, broker: BaseBroker):
        sent = messages(5)
        broker.enqueue(sent)
        first = consumer(broker)
        held = claim(broker, first, 2)
        broker.release(held, started=True)
        worker = consumer(broker)
        batches = [claim(broker, worker, 10) for _ in range(4)]
        assert [ids(batch) for batch in batches] == [ids(sent[:1]), ids(sent[1:2]), ids(sent[2:]), []]
        assert [batch[0].deliveries for batch in batches[:3]] == [1, 1, 0]

    def test_a_redelivered_job_behind_others_waits_for_its_own_batch(self, broker: BaseBroker):
        sent = messages(3)
        broker.enqueue(sent)
        worker = consumer(broker)
        held = claim(broker, worker, 2)
        broker.release(held[1:], started=True)
        broker.release(held[:1])
        assert [ids(claim(broker, worker, 10)) for _ in range(3)] == [[job.id] for job in sent]

    def test_a_paused_queue_gives_nothing_but_promotes(self, broker: BaseBroker):
        worker = consumer(broker)
        now = broker_now(broker)
        broker.enqueue([message(), message(eta_ms=now + 20)])
        broker.pause("alpha")
        until(lambda: broker.claim(worker, "alpha", 10).now_ms >= now + 20)
        assert claim(broker, worker) == []
        assert broker.counts(["alpha"])[0].ready == 2

    def test_who_never_registered_is_lost(self, broker: BaseBroker):
        worker = consumer(broker, "beta")
        broker.enqueue([message()])
        with pytest.raises(ConsumerLost):
            broker.claim(worker, "alpha", 1)

    def test_settled_jobs_are_acked_in_the_same_call(self, broker: BaseBroker):
        sent = messages(6)
        broker.enqueue(sent)
        worker = consumer(broker)
        held = claim(broker, worker, 3)
        answer = broker.claim(worker, "alpha", 2, settled=held)
        assert ids(answer.jobs) == ids(sent[3:5])
        assert list(answer.lost) == []
        assert places(broker, sent[:3]) == {None}

    def test_settled_jobs_of_other_queues(self, broker: BaseBroker):
        sent = [message(queue="alpha"), message(queue="beta")]
        broker.enqueue(sent)
        worker = consumer(broker, "alpha", "beta")
        held = claim(broker, worker, 1, "alpha") + claim(broker, worker, 1, "beta")
        assert broker.claim(worker, "alpha", 1, settled=held).jobs == []
        assert places(broker, sent) == {None}

    def test_settled_jobs_that_were_not_ours_are_named(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        worker = consumer(broker)
        held = claim(broker, worker)
        broker.release(held[:1])
        answer = broker.claim(worker, "alpha", 0, settled=held)
        assert list(answer.lost) == [held[0].id]
        assert place(broker, held[0]) is Place.READY

    def test_a_lost_consumer_claims_nothing_but_settles_what_is_still_its_own(self, broker: BaseBroker):
        sent = [message(queue="alpha"), message(queue="beta"), message(queue="beta")]
        broker.enqueue(sent)
        worker = consumer(broker, "alpha", "beta")
        held = claim(broker, worker, 1, "alpha") + claim(broker, worker, 1, "beta")
        broker.reap("beta", worker.id, suspect_ms=0, force=True)
        with pytest.raises(ConsumerLost):
            broker.claim(worker, "beta", 10, settled=held)
        assert place(broker, held[0]) is None
        assert place(broker, held[1]) is Place.READY
        assert claim(broker, worker, 10, "alpha") == []

    def test_it_names_a_consumer_whose_lease_has_run_out(self, broker: BaseBroker):
        silent, _ = silent_consumer(broker)
        assert broker.claim(consumer(broker), "alpha", 0).expired == silent.id

    def test_it_never_names_the_claimer(self, broker: BaseBroker):
        silent, _ = silent_consumer(broker)
        assert broker.claim(silent, "alpha", 0).expired is None

    def test_tokens_tell_two_claims_of_a_job_apart(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        worker = consumer(broker)
        (first,) = claim(broker, worker)
        broker.release([first])
        (second,) = claim(broker, worker)
        assert broker.ack([first]) == [first.id]
        assert broker.ack([second]) == []
