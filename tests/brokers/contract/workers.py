"""report, workers, command, consumers: what workers say and are told, and who has leases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django_jobs.brokers.base import BaseBroker
from tests.brokers.kit import LONG_MS, claim, consumer, ids, messages, silent_consumer, until


class ReportContract:
    def test_others_see_what_a_worker_said_last(self, broker: BaseBroker, make_broker):
        assert broker.workers() == {}
        assert broker.report("one", b'{"a": 1}', ttl_ms=LONG_MS) == []
        broker.report("two/3", b"\x00\xff any bytes", ttl_ms=LONG_MS)
        broker.report("one", b'{"a": 2}', ttl_ms=LONG_MS)
        assert make_broker().workers() == {"one": b'{"a": 2}', "two/3": b"\x00\xff any bytes"}

    def test_who_is_silent_is_not_heard_of(self, broker: BaseBroker):
        broker.report("stays", b"s", ttl_ms=LONG_MS)
        broker.report("goes", b"g", ttl_ms=300)
        until(lambda: broker.workers() == {"stays": b"s"})
        broker.report("goes", b"back", ttl_ms=LONG_MS)
        assert broker.workers() == {"stays": b"s", "goes": b"back"}

    def test_a_report_is_renewed(self, broker: BaseBroker):
        broker.report("same", b"unchanged", ttl_ms=500)
        broker.report("same", b"unchanged", ttl_ms=LONG_MS)
        broker.report("other", b"soon gone", ttl_ms=500)
        until(lambda: "other" not in broker.workers())
        assert "same" in broker.workers()

    def test_who_leaves_is_gone(self, broker: BaseBroker):
        broker.report("one", b"1", ttl_ms=LONG_MS)
        broker.command("one", b"stop")
        assert broker.report("one", b"1", ttl_ms=0) == [b"stop"]
        assert broker.workers() == {}
        assert not broker.command("one", b"stop")

    def test_a_long_one(self, broker: BaseBroker):
        info = bytes(range(256)) * 400
        broker.report("one", info, ttl_ms=LONG_MS)
        assert broker.workers() == {"one": info}

    def test_many_at_the_same_time(self, broker: BaseBroker, threads: ThreadPoolExecutor):
        for left in range(4):
            broker.report(f"left {left}", b"", ttl_ms=1)
        said = [f"worker {number}" for number in range(12)]
        list(threads.map(lambda name: broker.report(name, name.encode(), ttl_ms=LONG_MS), said * 2))
        until(lambda: broker.workers() == {name: name.encode() for name in said})


class CommandContract:
    def test_it_is_fetched_once_in_order(self, broker: BaseBroker, make_broker):
        broker.report("one", b"1", ttl_ms=LONG_MS)
        broker.report("two", b"2", ttl_ms=LONG_MS)
        other = make_broker()
        assert [other.command("one", text) for text in (b'{"do": "dump"}', b"\x00\n\xff")] == [True, True]
        assert broker.report("two", b"2", ttl_ms=LONG_MS) == []
        assert broker.report("one", b"1", ttl_ms=LONG_MS) == [b'{"do": "dump"}', b"\x00\n\xff"]
        assert broker.report("one", b"1", ttl_ms=LONG_MS) == []

    def test_nobody_is_there(self, broker: BaseBroker):
        assert not broker.command("nobody", b"stop")
        broker.report("nobody", b"1", ttl_ms=LONG_MS)
        assert broker.report("nobody", b"1", ttl_ms=LONG_MS) == []

    def test_it_goes_with_the_time_of_its_worker(self, broker: BaseBroker):
        broker.report("one", b"1", ttl_ms=1500)
        assert broker.command("one", b"stop")
        until(lambda: not broker.workers())
        assert not broker.command("one", b"stop")
        assert broker.report("one", b"again", ttl_ms=LONG_MS) == []


class ConsumersContract:
    def test_who_listens_where_and_holds_what(self, broker: BaseBroker):
        broker.enqueue([*messages(3), *messages(2, queue="beta")])
        both, one = consumer(broker, "alpha", "beta"), consumer(broker, "alpha")
        claim(broker, both, 2, "alpha")
        claim(broker, both, 2, "beta")
        found = broker.consumers(["beta", "alpha", "nowhere"])
        assert [(info.queue, info.id, info.in_flight, info.suspected_ms) for info in found] == [
            *sorted([("alpha", both.id, 2, None), ("alpha", one.id, 0, None)]),
            ("beta", both.id, 2, None),
        ]
        assert all(LONG_MS - 60_000 < info.lease_ms <= LONG_MS for info in found)

    def test_one_whose_lease_has_run_out(self, broker: BaseBroker):
        broker.enqueue(messages(2))
        silent, held = silent_consumer(broker, jobs=1)
        (info,) = broker.consumers(["alpha"])
        assert (info.id, info.in_flight, info.suspected_ms) == (silent.id, len(held), None)
        assert -60_000 < info.lease_ms <= 0
        broker.reap("alpha", silent.id, suspect_ms=LONG_MS)
        (info,) = broker.consumers(["alpha"])
        assert info.suspected_ms is not None
        assert 0 <= info.suspected_ms < 60_000
        assert broker.reap("alpha", silent.id, suspect_ms=0, force=True).moved == tuple(ids(held))
        assert broker.consumers(["alpha"]) == []

    def test_no_queue(self, broker: BaseBroker):
        assert broker.consumers([]) == []
