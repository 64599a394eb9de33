"""Any order of any verbs leaves a broker where the model says: hypothesis looks for one that does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_jobs.brokers.base import BaseBroker, Claimed, Consumer, Message, Retry
from django_jobs.exceptions import ConsumerLost
from django_jobs.identifiers import new_id
from django_jobs.states import Place
from tests.brokers.invariants import check_invariants
from tests.brokers.kit import HOUR_MS, LONG_MS, until
from tests.brokers.model import Model

QUEUES = 2
PRIORITIES = st.sampled_from([-100, -1, 0, 0, 0, 1, 100])


class BrokerMachine(RuleBasedStateMachine):
    """Each rule calls a verb of the broker and of the model; the invariants compare all places after each step."""

    def __init__(self, broker: BaseBroker) -> None:
        super().__init__()
        self.broker = broker
        self.model = Model()
        mark = uuid4().hex[:8]
        self.queues = [f"q{number}-{mark}" for number in range(QUEUES)]
        self.consumers: list[Consumer] = []
        #: Every receipt ever handed out, those that are long settled too.
        self.receipts: list[Claimed] = []
        self.known: list[tuple[str, str]] = []

    # Help for the rules

    def now(self) -> int:
        """Ask for the broker's clock through a queue that takes no part."""
        return self.broker.claim(self.clock, self.clock.queues[0], 0).now_ms

    def adopt_moments(self, job_ids: Iterable[str], earliest: int, delay_ms: int = 0) -> None:
        """Take over the moments that the broker gave to jobs, having checked that they are possible."""
        latest = self.now() + delay_ms
        for job_id in job_ids:
            job = self.model.jobs[job_id]
            found = self.broker.find(job_id, job.queue)
            assert found is not None
            if job.place is Place.DEAD:
                assert earliest <= found.moment_ms <= latest
            else:
                assert earliest + delay_ms <= found.moment_ms <= latest
            self.model.set_moment(job_id, found.moment_ms)

    def dead_of(self, job_ids: Iterable[str]) -> list[str]:
        return [job_id for job_id in job_ids if (job := self.model.jobs.get(job_id)) and job.place is Place.DEAD]

    def some_receipts(self, data: st.DataObject) -> list[Claimed]:
        recent = self.receipts[-12:]
        return data.draw(st.lists(st.sampled_from(recent), unique_by=lambda job: job.id, max_size=5))

    def a_consumer(self, data: st.DataObject) -> Consumer:
        return data.draw(st.sampled_from(self.consumers))

    @initialize()
    def start(self) -> None:
        self.clock = Consumer(id=uuid4().hex, queues=(f"clock-{uuid4().hex[:8]}",))
        self.broker.register(self.clock, lease_ms=LONG_MS)
        self.register(self.queues)

    # The way in

    @rule(count=st.integers(1, 4), number=st.integers(0, QUEUES - 1), priority=PRIORITIES)
    def enqueue(self, count: int, number: int, priority: int) -> None:
        sent = [Message(new_id(), self.queues[number], b"%d" % priority, priority) for _ in range(count)]
        self.send(sent)

    @rule(number=st.integers(0, QUEUES - 1), priority=PRIORITIES, hours=st.integers(1, 3))
    def enqueue_for_later(self, number: int, priority: int, hours: int) -> None:
        self.send([Message(new_id(), self.queues[number], b"later", priority, self.now() + hours * HOUR_MS)])

    @rule(number=st.integers(0, QUEUES - 1), priority=PRIORITIES)
    def enqueue_for_soon_and_let_it_become_due(self, number: int, priority: int) -> None:
        eta_ms = self.now() + 3
        job = Message(new_id(), self.queues[number], b"soon", priority, eta_ms)
        self.send([job])
        found = self.broker.find(job.id, job.queue)
        assert found is not None
        if found.place is Place.READY:  # it took us longer to say than it had to wait
            self.model.jobs[job.id].place = Place.READY
        until(lambda: self.now() >= eta_ms)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def enqueue_again(self, data: st.DataObject) -> None:
        job_id, queue = data.draw(st.sampled_from(self.known[-10:]))
        self.send([Message(job_id, queue, b"again")])

    def send(self, sent: list[Message]) -> None:
        before = self.now()
        added = [self.model.enqueue(job) for job in sent]
        assert self.broker.enqueue(sent) == added
        self.known += [(job.id, job.queue) for job in sent]
        self.adopt_moments([job.id for job, new in zip(sent, added, strict=True) if new and job.eta_ms is None], before)

    # The life of a consumer

    def register(self, queues: Iterable[str]) -> None:
        made = Consumer(id=uuid4().hex, queues=tuple(queues))
        self.broker.register(made, lease_ms=LONG_MS)
        self.consumers.append(made)
        self.model.leases |= {(made.id, queue) for queue in made.queues}

    @precondition(lambda self: len(self.consumers) < 5)
    @rule(data=st.data())
    def register_another(self, data: st.DataObject) -> None:
        self.register(data.draw(st.lists(st.sampled_from(self.queues), min_size=1, unique=True)))

    @rule(lease_ms=st.sampled_from([LONG_MS, LONG_MS * 2]))
    def heartbeat(self, lease_ms: int) -> None:
        for consumer, beat in zip(
            self.consumers, self.broker.heartbeat(self.consumers, lease_ms=lease_ms), strict=True
        ):
            held = [job for job in self.model.jobs.values() if job.consumer == consumer.id]
            alive = [queue for queue in consumer.queues if (consumer.id, queue) in self.model.leases]
            assert beat.alive == (len(alive) == len(consumer.queues))
            assert beat.in_flight == len(held)
            assert sorted(beat.revoked) == sorted(job.id for job in held if job.revoked)
            assert sorted(beat.terminated) == sorted(job.id for job in held if job.terminated)

    @rule(data=st.data())
    def resync(self, data: st.DataObject) -> None:
        consumer = self.a_consumer(data)
        held = sorted(job.id for job in self.model.jobs.values() if job.consumer == consumer.id)
        known = set(data.draw(st.lists(st.sampled_from(held), unique=True))) if held else set()
        before = self.now()
        moved = [job for queue in consumer.queues for job in self.model.give_back(consumer.id, queue, known=known)]
        assert sorted(self.broker.resync(consumer, known)) == sorted(job.id for job in moved)
        self.adopt_moments(self.dead_of(job.id for job in moved), before)

    @precondition(lambda self: len(self.consumers) > 1)
    @rule(data=st.data())
    def unregister(self, data: st.DataObject) -> None:
        consumer = self.a_consumer(data)
        before = self.now()
        moved = [job for queue in consumer.queues for job in self.model.give_back(consumer.id, queue)]
        self.model.leases -= {(consumer.id, queue) for queue in consumer.queues}
        self.broker.unregister(consumer)
        self.adopt_moments(self.dead_of(job.id for job in moved), before)

    @precondition(lambda self: len(self.consumers) > 1)
    @rule(data=st.data(), seen=st.booleans(), knows_running=st.booleans())
    def reap(self, data: st.DataObject, seen: bool, knows_running: bool) -> None:
        consumer = self.a_consumer(data)
        queue = data.draw(st.sampled_from(consumer.queues))
        held = sorted(job.id for job in self.model.jobs.values() if job.consumer == consumer.id)
        running = data.draw(st.lists(st.sampled_from(held), unique=True)) if held and knows_running else None
        ended = dict.fromkeys(data.draw(st.lists(st.sampled_from(held), max_size=2)), "ended") if held else {}
        before = self.now()
        verdicts = []
        if not seen:
            self.broker.heartbeat([consumer], lease_ms=1)
            expired_at = self.now() + 1
            until(lambda: self.now() > expired_at)
            verdicts.append(self.broker.reap(queue, consumer.id, suspect_ms=0, running=running, ended=ended).verdict)
        answer = self.broker.reap(queue, consumer.id, suspect_ms=0, force=seen, running=running, ended=ended)
        self.broker.heartbeat([consumer], lease_ms=LONG_MS)  # what it still has in other queues
        moved = self.model.reap(consumer.id, queue, running, ended)
        if moved is None:
            assert {*verdicts, answer.verdict} == {"unknown"}
        else:
            assert [*verdicts, answer.verdict] == (["reaped"] if seen else ["suspected", "reaped"])
            assert sorted(answer.moved) == sorted(moved)
            self.adopt_moments(self.dead_of(held), before)

    # The way through

    @rule(data=st.data(), limit=st.integers(0, 6), settles=st.booleans())
    def claim(self, data: st.DataObject, limit: int, settles: bool) -> None:
        consumer = self.a_consumer(data)
        queue = data.draw(st.sampled_from(consumer.queues))
        settled = self.some_receipts(data) if settles and self.receipts else []
        lost = self.model.ack(settled)
        try:
            answer = self.broker.claim(consumer, queue, limit, settled=settled)
        except ConsumerLost:
            assert self.model.claim(consumer.id, queue, limit, self.now()) is None
            return
        expected = self.model.claim(consumer.id, queue, limit, answer.now_ms)
        assert expected is not None
        assert [
            (job.id, job.queue, job.body, job.priority, job.moment_ms, job.deliveries, job.crashes)
            for job in answer.jobs
        ] == [
            (job.id, job.queue, job.body, job.priority, job.moment_ms, job.deliveries, job.crashes) for job in expected
        ]
        assert sorted(answer.lost) == sorted(lost)
        later = self.model.at(queue, Place.SCHEDULED)
        assert answer.next_eta_ms == (later[0].moment_ms if later else None)
        assert answer.expired is None
        self.model.claimed(answer.jobs)
        self.receipts += answer.jobs

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        jobs = self.some_receipts(data)
        assert sorted(self.broker.ack(jobs)) == sorted(self.model.ack(jobs))

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), delay_ms=st.sampled_from([0, HOUR_MS]))
    def retry(self, data: st.DataObject, delay_ms: int) -> None:
        retries = [Retry(job, b"retried", delay_ms) for job in self.some_receipts(data)]
        before = self.now()
        lost = self.model.retry(retries)
        assert sorted(self.broker.retry(retries)) == sorted(lost)
        self.adopt_moments([retry.job.id for retry in retries if retry.job.id not in lost], before, delay_ms)

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), delay_ms=st.sampled_from([0, HOUR_MS]), started=st.booleans())
    def release(self, data: st.DataObject, delay_ms: int, started: bool) -> None:
        jobs = self.some_receipts(data)
        before = self.now()
        lost = self.model.release(jobs, delay_ms, started)
        assert sorted(self.broker.release(jobs, delay_ms=delay_ms, started=started)) == sorted(lost)
        moved = [job.id for job in jobs if job.id not in lost]
        self.adopt_moments(moved if delay_ms else self.dead_of(moved), before, delay_ms)

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        jobs = self.some_receipts(data)
        before = self.now()
        lost = self.model.bury(jobs, "buried")
        assert sorted(self.broker.bury(jobs, reason="buried")) == sorted(lost)
        self.adopt_moments([job.id for job in jobs if job.id not in lost], before)

    # From outside

    @precondition(lambda self: self.known)
    @rule(data=st.data(), terminate=st.booleans())
    def revoke(self, data: st.DataObject, terminate: bool) -> None:
        held = [(job.id, job.queue) for job in self.receipts[-5:]]
        job_id, queue = data.draw(st.sampled_from(held + self.known[-10:]))
        before = self.now()
        place = self.model.revoke(job_id, terminate=terminate)
        assert self.broker.revoke(job_id, queue, terminate=terminate) is place
        if place in (Place.READY, Place.SCHEDULED):
            self.adopt_moments([job_id], before)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), number=st.integers(0, QUEUES - 1))
    def forget(self, data: st.DataObject, number: int) -> None:
        queue = self.queues[number]
        chosen = data.draw(st.lists(st.sampled_from(self.known[-10:]), unique=True))
        job_ids = [job_id for job_id, _ in chosen]
        assert self.broker.forget(job_ids, queue) == self.model.forget(job_ids, queue)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), later=st.booleans())
    def revive(self, data: st.DataObject, later: bool) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.known[-10:]), unique=True))
        eta_ms = self.now() + HOUR_MS if later else None
        again = [Message(job_id, queue, b"revived", 7, eta_ms) for job_id, queue in chosen]
        before = self.now()
        missing = self.model.revive(again)
        assert sorted(self.broker.revive(again)) == sorted(missing)
        if not later:
            self.adopt_moments([job.id for job in again if job.id not in missing], before)

    @rule(number=st.integers(0, QUEUES - 1), paused=st.booleans())
    def pause_or_resume(self, number: int, paused: bool) -> None:
        queue = self.queues[number]
        if paused:
            self.broker.pause(queue)
            self.model.paused.add(queue)
        else:
            self.broker.resume(queue)
            self.model.paused.discard(queue)

    @rule(number=st.integers(0, QUEUES - 1))
    def purge(self, number: int) -> None:
        queue = self.queues[number]
        before = self.now()
        waiting = [job.id for place in (Place.READY, Place.SCHEDULED) for job in self.model.at(queue, place)]
        assert self.broker.purge(queue) == self.model.purge(queue)
        self.adopt_moments(waiting, before)

    # After each step

    @invariant()
    def every_job_is_where_the_model_says(self) -> None:
        for queue in self.queues:
            for place in Place:
                found = self.broker.peek(queue, place, limit=1000)
                expected = self.model.at(queue, place)
                assert [(job.id, job.body, job.priority, job.moment_ms) for job in found] == [
                    (job.id, job.body, job.priority, job.moment_ms) for job in expected
                ]
                assert [(job.consumer, job.reason) for job in found] == [(job.consumer, job.reason) for job in expected]

    @invariant()
    def the_counts_agree(self) -> None:
        for counts in self.broker.counts(self.queues):
            places = (counts.ready, counts.scheduled, counts.in_flight, counts.dead)
            assert places == tuple(len(self.model.at(counts.queue, place)) for place in Place)
            assert counts.paused == (counts.queue in self.model.paused)
            assert counts.consumers == len([queue for _, queue in self.model.leases if queue == counts.queue])

    @invariant()
    def the_server_holds_together(self) -> None:
        for queue in self.queues:
            check_invariants(self.broker, queue)


def test_any_order_of_verbs(broker: BaseBroker):
    def machine() -> BrokerMachine:
        return BrokerMachine(broker)

    run_state_machine_as_test(
        cast("type[BrokerMachine]", machine),  # any callable will do
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
