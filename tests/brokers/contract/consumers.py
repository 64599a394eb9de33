"""register, heartbeat, unregister, resync, reap, expired: the life and the death of a consumer."""

from __future__ import annotations

from uuid import uuid4

import pytest

from django_jobs.brokers.base import BaseBroker, Consumer
from django_jobs.exceptions import ConsumerLost
from django_jobs.identifiers import new_id
from django_jobs.states import Place
from tests.brokers.kit import LONG_MS, claim, consumer, ids, message, messages, place, places, silent_consumer, until


class RegisterContract:
    def test_before_it_a_consumer_counts_as_lost(self, broker: BaseBroker):
        worker = Consumer(id=uuid4().hex, queues=("alpha",))
        with pytest.raises(ConsumerLost):
            broker.claim(worker, "alpha", 1)
        broker.register(worker, lease_ms=LONG_MS)
        assert claim(broker, worker) == []

    def test_it_opens_a_lease_in_each_queue(self, broker: BaseBroker):
        worker = consumer(broker, "alpha", "beta")
        assert broker.expired(["alpha", "beta"]) == []
        assert [counts.consumers for counts in broker.counts(["alpha", "beta", "gamma"])] == [1, 1, 0]
        assert (claim(broker, worker, 1, "alpha"), claim(broker, worker, 1, "beta")) == ([], [])

    def test_it_names_the_queues(self, broker: BaseBroker):
        consumer(broker, "alpha", "beta")
        assert broker.queues() == ["alpha", "beta"]

    def test_twice_is_harmless(self, broker: BaseBroker):
        worker = consumer(broker)
        broker.enqueue(messages(1))
        held = claim(broker, worker)
        broker.register(worker, lease_ms=LONG_MS)
        assert broker.ack(held) == []


class HeartbeatContract:
    def test_it_renews_the_lease(self, broker: BaseBroker):
        silent, _ = silent_consumer(broker, "alpha", "beta")
        assert broker.heartbeat([silent], lease_ms=LONG_MS)[0].alive
        assert broker.expired(["alpha", "beta"]) == []

    def test_it_counts_what_is_in_flight_over_all_queues(self, broker: BaseBroker):
        broker.enqueue([*messages(3), *messages(2, queue="beta")])
        worker, other = consumer(broker, "alpha", "beta"), consumer(broker, "alpha")
        claim(broker, worker, 2, "alpha")
        claim(broker, worker, 2, "beta")
        claim(broker, other, 1)
        beats = broker.heartbeat([worker, other], lease_ms=LONG_MS)
        assert [(beat.alive, beat.in_flight, beat.revoked) for beat in beats] == [(True, 4, ()), (True, 1, ())]

    def test_nobody_to_beat_for(self, broker: BaseBroker):
        assert broker.heartbeat([], lease_ms=LONG_MS) == []

    def test_a_lost_consumer_is_not_revived(self, broker: BaseBroker):
        worker, other = consumer(broker), consumer(broker)
        broker.reap("alpha", worker.id, suspect_ms=0, force=True)
        assert [beat.alive for beat in broker.heartbeat([worker, other], lease_ms=LONG_MS)] == [False, True]
        with pytest.raises(ConsumerLost):
            broker.claim(worker, "alpha", 1)

    def test_lost_in_one_queue_is_lost(self, broker: BaseBroker):
        worker = consumer(broker, "alpha", "beta")
        broker.reap("beta", worker.id, suspect_ms=0, force=True)
        assert not broker.heartbeat([worker], lease_ms=LONG_MS)[0].alive

    def test_it_clears_a_suspicion(self, broker: BaseBroker):
        silent, _ = silent_consumer(broker)
        assert broker.reap("alpha", silent.id, suspect_ms=0).verdict == "suspected"
        broker.heartbeat([silent], lease_ms=1)
        until(lambda: broker.expired(["alpha"]))
        assert broker.reap("alpha", silent.id, suspect_ms=0).verdict == "suspected"
        assert broker.reap("alpha", silent.id, suspect_ms=0).verdict == "reaped"

    def test_it_names_what_was_revoked_in_flight_until_it_is_settled(self, broker: BaseBroker):
        broker.enqueue(messages(3))
        worker, other = consumer(broker), consumer(broker)
        held, others = claim(broker, worker, 2), claim(broker, other, 1)
        assert broker.revoke(held[0].id, "alpha") is Place.IN_FLIGHT
        assert broker.revoke(others[0].id, "alpha") is Place.IN_FLIGHT
        for _ in range(2):
            beats = broker.heartbeat([worker, other], lease_ms=LONG_MS)
            assert [beat.revoked for beat in beats] == [(held[0].id,), (others[0].id,)]
        assert broker.ack(held) == []
        assert broker.heartbeat([worker], lease_ms=LONG_MS)[0].revoked == ()

    def test_it_names_what_is_to_be_interrupted(self, broker: BaseBroker):
        broker.enqueue(messages(3))
        worker = consumer(broker)
        held = claim(broker, worker, 3)
        broker.revoke(held[0].id, "alpha")
        broker.revoke(held[1].id, "alpha", terminate=True)
        broker.revoke(held[1].id, "alpha")  # who asks later and for less takes nothing back
        (beat,) = broker.heartbeat([worker], lease_ms=LONG_MS)
        assert sorted(beat.revoked) == sorted(ids(held[:2]))
        assert beat.terminated == (held[1].id,)
        broker.revoke(held[0].id, "alpha", terminate=True)
        (beat,) = broker.heartbeat([worker], lease_ms=LONG_MS)
        assert sorted(beat.terminated) == sorted(ids(held[:2]))


class UnregisterContract:
    def test_what_it_held_goes_back_uncounted(self, broker: BaseBroker):
        broker.enqueue([*messages(3), message(queue="beta")])
        worker = consumer(broker, "alpha", "beta")
        held = claim(broker, worker, 2, "alpha") + claim(broker, worker, 1, "beta")
        broker.unregister(worker)
        assert places(broker, held) == {Place.READY}
        other = consumer(broker)
        again = claim(broker, other)
        assert ids(again)[:2] == ids(held)[:2]
        assert [(job.deliveries, job.crashes) for job in again] == [(0, 0)] * 3

    def test_its_lease_is_over(self, broker: BaseBroker):
        worker = consumer(broker)
        broker.unregister(worker)
        with pytest.raises(ConsumerLost):
            broker.claim(worker, "alpha", 1)
        assert not broker.heartbeat([worker], lease_ms=LONG_MS)[0].alive
        assert broker.reap("alpha", worker.id, suspect_ms=0).verdict == "unknown"

    def test_twice_is_harmless(self, broker: BaseBroker):
        worker = consumer(broker)
        broker.unregister(worker)
        broker.unregister(worker)

    def test_it_settles_nothing_any_more(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        worker = consumer(broker)
        held = claim(broker, worker)
        broker.unregister(worker)
        assert broker.ack(held) == ids(held)
        assert place(broker, held[0]) is Place.READY


class ResyncContract:
    def test_what_the_consumer_does_not_know_of_goes_back_uncounted(self, broker: BaseBroker):
        broker.enqueue(messages(5))
        worker = consumer(broker)
        known = claim(broker, worker, 2)
        unknown = claim(broker, worker, 2)  # as if this reply had been lost
        assert sorted(broker.resync(worker, ids(known))) == sorted(ids(unknown))
        assert (places(broker, known), places(broker, unknown)) == ({Place.IN_FLIGHT}, {Place.READY})
        again = claim(broker, consumer(broker))
        assert ids(again)[:2] == ids(unknown)
        assert [job.deliveries for job in again] == [0, 0, 0]
        assert broker.ack(known) == []

    def test_what_was_revoked_meanwhile_is_named_and_dead(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        worker = consumer(broker)
        held = claim(broker, worker)
        broker.revoke(held[0].id, "alpha")
        assert sorted(broker.resync(worker, ())) == sorted(ids(held))
        assert [place(broker, job) for job in held] == [Place.DEAD, Place.READY]

    def test_over_all_queues(self, broker: BaseBroker):
        broker.enqueue([message(queue="alpha"), message(queue="beta")])
        worker = consumer(broker, "alpha", "beta")
        held = claim(broker, worker, 1, "alpha") + claim(broker, worker, 1, "beta")
        assert sorted(broker.resync(worker, set())) == sorted(ids(held))

    def test_others_are_left_alone(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        held = claim(broker, consumer(broker))
        assert broker.resync(consumer(broker), []) == []
        assert places(broker, held) == {Place.IN_FLIGHT}

    def test_nothing_is_missing(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        worker = consumer(broker)
        held = claim(broker, worker)
        assert broker.resync(worker, {*ids(held), new_id()}) == []
        assert places(broker, held) == {Place.IN_FLIGHT}


class ReapContract:
    def test_a_good_lease_is_left_alone(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        worker = consumer(broker)
        held = claim(broker, worker)
        for _ in range(2):
            answer = broker.reap("alpha", worker.id, suspect_ms=0)
            assert (answer.verdict, answer.moved) == ("alive", ())
        assert broker.ack(held) == []

    def test_nobody_of_that_name(self, broker: BaseBroker):
        assert broker.reap("alpha", uuid4().hex, suspect_ms=0).verdict == "unknown"
        assert broker.reap("alpha", uuid4().hex, suspect_ms=0, force=True).verdict == "unknown"

    def test_first_suspected_then_reaped(self, broker: BaseBroker):
        broker.enqueue(messages(3))
        silent, held = silent_consumer(broker, jobs=2)
        assert (broker.reap("alpha", silent.id, suspect_ms=0).verdict, places(broker, held)) == (
            "suspected",
            {Place.IN_FLIGHT},
        )
        answer = broker.reap("alpha", silent.id, suspect_ms=0)
        assert (answer.verdict, sorted(answer.moved)) == ("reaped", sorted(ids(held)))
        assert places(broker, held) == {Place.READY}

    def test_not_before_the_suspect_time_is_over(self, broker: BaseBroker):
        silent, _ = silent_consumer(broker)
        assert [broker.reap("alpha", silent.id, suspect_ms=LONG_MS).verdict for _ in range(3)] == ["suspected"] * 3
        until(lambda: broker.reap("alpha", silent.id, suspect_ms=30).verdict == "reaped")

    def test_at_once_when_its_end_was_seen(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        worker = consumer(broker)
        held = claim(broker, worker)
        answer = broker.reap("alpha", worker.id, suspect_ms=LONG_MS, force=True)
        assert (answer.verdict, sorted(answer.moved)) == ("reaped", sorted(ids(held)))
        assert broker.reap("alpha", worker.id, suspect_ms=0, force=True).verdict == "unknown"

    def test_jobs_go_back_to_their_old_place(self, broker: BaseBroker):
        broker.enqueue([message(priority=1), *messages(4)])
        worker = consumer(broker)
        held = claim(broker, worker, 3)
        broker.reap("alpha", worker.id, suspect_ms=0, force=True, running=[])
        other = consumer(broker)
        again = [job for _ in range(3) for job in claim(broker, other)]
        assert ids(again) == ids(held)
        assert [job.moment_ms for job in again] == [job.moment_ms for job in held]
        assert [job.body for job in again] == [job.body for job in held]

    @pytest.mark.parametrize("running", ["all", "one", "none"])
    def test_only_what_was_running_is_charged_with_a_crash(self, broker: BaseBroker, running: str):
        broker.enqueue(messages(3))
        worker = consumer(broker)
        held = claim(broker, worker)
        known = {"all": None, "one": [held[1].id, new_id()], "none": []}[running]
        broker.reap("alpha", worker.id, suspect_ms=0, force=True, running=known)
        other = consumer(broker)
        again = [job for _ in range(3) for job in claim(broker, other)]
        assert [job.deliveries for job in again] == [1, 1, 1]
        assert [job.crashes for job in again] == {"all": [1, 1, 1], "one": [0, 1, 0], "none": [0, 0, 0]}[running]

    def test_counts_add_up(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        for crashes in range(3):
            worker = consumer(broker)
            (job,) = claim(broker, worker)
            assert (job.deliveries, job.crashes) == (crashes, crashes)
            broker.reap("alpha", worker.id, suspect_ms=0, force=True)

    def test_the_reaped_is_fenced(self, broker: BaseBroker):
        broker.enqueue(messages(1))
        worker = consumer(broker)
        held = claim(broker, worker)
        broker.reap("alpha", worker.id, suspect_ms=0, force=True)
        claim(broker, consumer(broker))
        assert broker.ack(held) == ids(held)
        with pytest.raises(ConsumerLost):
            broker.claim(worker, "alpha", 1)

    def test_only_in_that_queue(self, broker: BaseBroker):
        broker.enqueue([message(queue="alpha"), message(queue="beta")])
        worker = consumer(broker, "alpha", "beta")
        held = claim(broker, worker, 1, "alpha") + claim(broker, worker, 1, "beta")
        broker.reap("alpha", worker.id, suspect_ms=0, force=True)
        assert [place(broker, job) for job in held] == [Place.READY, Place.IN_FLIGHT]

    def test_what_was_revoked_meanwhile_does_not_run_again(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        worker = consumer(broker)
        held = claim(broker, worker)
        broker.revoke(held[0].id, "alpha")
        answer = broker.reap("alpha", worker.id, suspect_ms=0, force=True)
        assert answer.moved == (held[1].id,)
        found = broker.find(held[0].id, "alpha")
        assert found is not None
        assert (found.place, found.reason) == (Place.DEAD, "revoked")

    def test_what_was_ended_with_its_process_is_dead(self, broker: BaseBroker):
        broker.enqueue(messages(4))
        worker = consumer(broker)
        held = claim(broker, worker, 4)
        broker.revoke(held[1].id, "alpha", terminate=True)
        ended = {held[0].id: "too long", held[1].id: "terminated", new_id(): "nobody's"}
        reaped = broker.reap("alpha", worker.id, suspect_ms=0, force=True, running=[], ended=ended)
        assert (reaped.verdict, sorted(reaped.moved)) == ("reaped", sorted(ids(held[2:])))
        dead = {found.id: found.reason for found in broker.peek("alpha", Place.DEAD)}
        assert dead == {held[0].id: "too long", held[1].id: "terminated"}
        again = [claim(broker, consumer(broker), 1)[0] for _ in range(2)]
        assert [(job.deliveries, job.crashes) for job in again] == [(1, 0)] * 2


class ExpiredContract:
    def test_it_names_every_lease_that_has_run_out(self, broker: BaseBroker):
        good = consumer(broker, "alpha", "beta")
        silent, _ = silent_consumer(broker, "alpha", "beta")
        other, _ = silent_consumer(broker, "gamma")
        assert sorted(broker.expired(["alpha", "beta", "gamma"])) == sorted(
            [("alpha", silent.id), ("beta", silent.id), ("gamma", other.id)]
        )
        assert broker.expired(["beta"]) == [("beta", silent.id)]
        assert [counts.consumers for counts in broker.counts(["alpha", "gamma"])] == [1, 0]
        broker.unregister(good)

    def test_reaped_ones_are_not_named(self, broker: BaseBroker):
        silent, _ = silent_consumer(broker)
        broker.reap("alpha", silent.id, suspect_ms=0, force=True)
        assert broker.expired(["alpha"]) == []

    def test_no_queue(self, broker: BaseBroker):
        assert broker.expired([]) == []
