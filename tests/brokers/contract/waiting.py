"""wait, interrupt, and waiting for the end of a job: nobody spins, nobody hangs, nobody is woken in vain for long."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connections

from django_jobs.brokers.base import BaseBroker
from tests.brokers.kit import broker_now, claim, consumer, message, messages, until

#: Seconds within which a wake-up arrives on a machine however busy. Nobody looks by themselves meanwhile: see conftest.
SOON = 15.0


def timed(future: Future[Any]) -> object:
    start = time.monotonic()
    answer = future.result(30)
    assert time.monotonic() - start < SOON
    return answer


def begun() -> None:
    """Let a thread that was just started get to where it blocks; being early makes a test weaker, never wrong."""
    time.sleep(0.15)


class WaitContract:
    def test_it_returns_when_the_time_is_over(self, waiting_broker: BaseBroker):
        start = time.monotonic()
        assert waiting_broker.wait(["alpha", "beta"], 150) is None
        assert 0.1 <= time.monotonic() - start < SOON

    def test_work_that_is_there_already(self, waiting_broker: BaseBroker):
        waiting_broker.enqueue([message(queue="beta")])
        start = time.monotonic()
        assert waiting_broker.wait(["alpha", "beta"], 60_000) == "beta"
        assert time.monotonic() - start < SOON

    def test_an_enqueue_wakes(self, waiting_broker: BaseBroker, make_broker, threads: ThreadPoolExecutor):
        future = threads.submit(waiting_broker.wait, ["alpha", "beta"], 60_000)
        begun()
        make_broker().enqueue([message(queue="beta")])
        assert timed(future) == "beta"

    def test_a_new_earliest_eta_wakes(self, waiting_broker: BaseBroker, make_broker, threads: ThreadPoolExecutor):
        now = broker_now(waiting_broker)
        waiting_broker.enqueue([message(eta_ms=now + 60_000)])
        waiting_broker.wait(["alpha"], 50)
        future = threads.submit(waiting_broker.wait, ["alpha"], 60_000)
        begun()
        make_broker().enqueue([message(eta_ms=now + 30_000)])
        assert timed(future) == "alpha"

    def test_jobs_that_come_back_wake(self, waiting_broker: BaseBroker, make_broker, threads: ThreadPoolExecutor):
        waiting_broker.enqueue(messages(2))
        worker = consumer(waiting_broker)
        held = claim(waiting_broker, worker)
        waiting_broker.wait(["alpha"], 50)
        for give_back in (lambda: waiting_broker.release(held[:1]), lambda: waiting_broker.unregister(worker)):
            future = threads.submit(waiting_broker.wait, ["alpha"], 60_000)
            begun()
            give_back()
            assert timed(future) == "alpha"

    def test_resume_wakes(self, waiting_broker: BaseBroker, threads: ThreadPoolExecutor):
        waiting_broker.pause("alpha")
        waiting_broker.enqueue(messages(1))
        waiting_broker.wait(["alpha"], 50)
        future = threads.submit(waiting_broker.wait, ["alpha"], 60_000)
        begun()
        waiting_broker.resume("alpha")
        assert timed(future) == "alpha"

    def test_a_claim_that_leaves_jobs_wakes_the_next(self, waiting_broker: BaseBroker, threads: ThreadPoolExecutor):
        worker = consumer(waiting_broker)
        waiting_broker.enqueue(messages(10))
        assert waiting_broker.wait(["alpha"], 5000) == "alpha"
        future = threads.submit(waiting_broker.wait, ["alpha"], 60_000)
        begun()
        claim(waiting_broker, worker, 1)
        assert timed(future) == "alpha"

    def test_a_claim_that_leaves_nothing_wakes_nobody(self, waiting_broker: BaseBroker):
        worker = consumer(waiting_broker)
        waiting_broker.enqueue(messages(10))
        waiting_broker.wait(["alpha"], 5000)
        claim(waiting_broker, worker, 10)
        assert waiting_broker.wait(["alpha"], 100) is None

    def test_a_paused_queue_does_not_spin(self, waiting_broker: BaseBroker):
        worker = consumer(waiting_broker)
        waiting_broker.enqueue(messages(3))
        waiting_broker.pause("alpha")
        waiting_broker.wait(["alpha"], 50)
        for _ in range(3):
            assert claim(waiting_broker, worker) == []
            assert waiting_broker.wait(["alpha"], 50) is None

    def test_a_claim_of_nothing_does_not_spin(self, waiting_broker: BaseBroker):
        worker = consumer(waiting_broker)
        waiting_broker.enqueue(messages(3))
        waiting_broker.wait(["alpha"], 50)
        claim(waiting_broker, worker, 0)
        assert waiting_broker.wait(["alpha"], 100) is None


class InterruptContract:
    def test_every_wait_of_the_instance_returns(self, waiting_broker: BaseBroker, threads: ThreadPoolExecutor):
        futures = [threads.submit(waiting_broker.wait, [name], 60_000) for name in ("alpha", "beta", "gamma")]
        begun()
        waiting_broker.interrupt()
        assert [timed(future) for future in futures] == [None, None, None]

    def test_the_instance_goes_on_working(self, waiting_broker: BaseBroker, threads: ThreadPoolExecutor):
        future = threads.submit(waiting_broker.wait, ["alpha"], 60_000)
        begun()
        waiting_broker.interrupt()
        assert timed(future) is None
        waiting_broker.enqueue(messages(1))
        assert waiting_broker.wait(["alpha"], 5000) == "alpha"
        assert len(claim(waiting_broker, consumer(waiting_broker))) == 1

    def test_nobody_waits(self, broker: BaseBroker):
        broker.interrupt()
        assert broker.enqueue(messages(1)) == [True]


class WaitEndContract:
    def test_an_ack_wakes_everyone_who_waits(self, ending_broker: BaseBroker, make_broker, threads: ThreadPoolExecutor):
        ending_broker.enqueue(messages(1))
        (job,) = claim(ending_broker, consumer(ending_broker))
        for _ in range(3):
            ending_broker.watch_end(job.id, "alpha")
        futures = [threads.submit(ending_broker.wait_end, job.id, "alpha", 60_000) for _ in range(3)]
        begun()
        make_broker().ack([job])
        assert [timed(future) for future in futures] == [True, True, True]

    def test_an_end_between_watch_and_wait_is_not_missed(self, ending_broker: BaseBroker):
        ending_broker.enqueue(messages(1))
        held = claim(ending_broker, consumer(ending_broker))
        ending_broker.watch_end(held[0].id, "alpha")
        ending_broker.ack(held)
        assert ending_broker.wait_end(held[0].id, "alpha", 5000) is True

    def test_forget_wakes(self, ending_broker: BaseBroker):
        (sent,) = messages(1)
        ending_broker.enqueue([sent])
        ending_broker.watch_end(sent.id, "alpha")
        ending_broker.revoke(sent.id, "alpha")
        assert ending_broker.wait_end(sent.id, "alpha", 50) is False
        ending_broker.forget([sent.id], "alpha")
        assert ending_broker.wait_end(sent.id, "alpha", 5000) is True

    def test_a_settled_claim_wakes(self, ending_broker: BaseBroker):
        ending_broker.enqueue(messages(1))
        worker = consumer(ending_broker)
        held = claim(ending_broker, worker)
        ending_broker.watch_end(held[0].id, "alpha")
        ending_broker.claim(worker, "alpha", 1, settled=held)
        assert ending_broker.wait_end(held[0].id, "alpha", 5000) is True

    def test_the_time_is_over(self, ending_broker: BaseBroker):
        (sent,) = messages(1)
        ending_broker.enqueue([sent])
        ending_broker.watch_end(sent.id, "alpha")
        start = time.monotonic()
        assert ending_broker.wait_end(sent.id, "alpha", 150) is False
        assert 0.1 <= time.monotonic() - start < SOON
        ending_broker.unwatch_end(sent.id, "alpha")

    def test_who_went_away_takes_nobody_elses_wake_up(self, ending_broker: BaseBroker):
        ending_broker.enqueue(messages(1))
        held = claim(ending_broker, consumer(ending_broker))
        for _ in range(2):
            ending_broker.watch_end(held[0].id, "alpha")
        ending_broker.unwatch_end(held[0].id, "alpha")
        ending_broker.ack(held)
        assert ending_broker.wait_end(held[0].id, "alpha", 5000) is True
        assert ending_broker.wait_end(held[0].id, "alpha", 50) is False

    def test_retry_and_release_are_no_end(self, ending_broker: BaseBroker):
        ending_broker.enqueue(messages(1))
        held = claim(ending_broker, consumer(ending_broker))
        ending_broker.watch_end(held[0].id, "alpha")
        ending_broker.release(held)
        assert ending_broker.wait_end(held[0].id, "alpha", 50) is False


class ThreadsContract:
    def test_one_instance_serves_many_threads(self, broker: BaseBroker):
        workers = [consumer(broker) for _ in range(4)]
        done: list[str] = []
        sent = messages(400)

        def send(part: int) -> None:
            for job in sent[part::4]:
                broker.enqueue([job])
            connections.close_all()

        def work(part: int) -> None:
            until_all = time.monotonic() + 150
            while len(done) < len(sent) and time.monotonic() < until_all:
                jobs = claim(broker, workers[part], 10)
                assert broker.ack(jobs) == []
                done.extend(job.id for job in jobs)
            connections.close_all()

        threads = [threading.Thread(target=target, args=(part,)) for part in range(4) for target in (send, work)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(170)
        until(lambda: sorted(done) == sorted(job.id for job in sent))
