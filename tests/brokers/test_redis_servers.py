"""Real Sentinels, a real cluster of two nodes, forked processes, and a million scheduled jobs."""

from __future__ import annotations

import os
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from redis.crc import key_slot

from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.exceptions import BrokerUnavailable, JobsConfigurationError
from django_jobs.states import Place
from tests.brokers.invariants import check_invariants
from tests.brokers.kit import HOUR_MS, broker_now, claim, consumer, ids, message, messages, place, until
from tests.services import RedisClusterServer, RedisSentinelServer, RedisServer, binaries, private_redis
from tests.services.redis import SLOTS


class TestSentinel:
    @pytest.fixture
    def servers(self, tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, RedisSentinelServer]]:
        binary = binaries.redis7()
        if binary is None:
            pytest.skip("NOT TESTED: redis-server is not on PATH")
        with ExitStack() as running:
            master = running.enter_context(private_redis(tmp_path / "one"))
            follows = ("--replicaof", f"127.0.0.1 {master.port}")
            replica = running.enter_context(private_redis(tmp_path / "two", *follows))
            sentinel = running.enter_context(RedisSentinelServer(binary, None, tmp_path / "sentinel", master.port))
            yield master, replica, sentinel

    def test_the_master_is_found_and_followed(self, servers: tuple[RedisServer, RedisServer, RedisSentinelServer]):
        master, replica, sentinel = servers
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/main"
        broker = RedisBroker(url, timeout_ms=2000)
        sent = messages(3)
        assert broker.enqueue(sent) == [True] * 3
        worker = consumer(broker)
        held = claim(broker, worker, 1)
        assert master.call("EXISTS", "dj:{alpha}:ready") == ":1"
        until(lambda: replica.call("EXISTS", "dj:{alpha}:ready") == ":1")
        until(lambda: sentinel.call("SENTINEL", "FAILOVER", "main") == "+OK", timeout=30)
        until(lambda: self.answers(broker, replica), timeout=30)
        assert broker.ack(held) == []
        assert ids(claim(broker, worker, 10)) == ids(sent[1:])
        broker.close()

    def answers(self, broker: RedisBroker, by: RedisServer) -> bool:
        """Say whether the broker writes to the promoted server by now; before that it may only say that it cannot."""
        queue = f"probe-{uuid4().hex[:8]}"
        try:
            is_master = by.call("SET", "written", "1") == "+OK"  # and so gets nothing by replication any more
            broker.enqueue([message(queue=queue)])
        except (BrokerUnavailable, OSError):  # it drops its connections when it is promoted
            return False
        return is_master and by.call("EXISTS", f"dj:{{{queue}}}:ready") == ":1"

    def test_a_service_that_no_sentinel_knows(self, servers: tuple[RedisServer, RedisServer, RedisSentinelServer]):
        broker = RedisBroker(f"redis+sentinel://127.0.0.1:{servers[2].port}/other")
        with pytest.raises(BrokerUnavailable, match="'other'"):
            broker.ping()


class HalfCluster(RedisClusterServer):
    """A node of a cluster; the test deals out the slots."""

    def on_ready(self) -> None:
        """Leave the slots to the test."""

    def is_up(self) -> bool:
        """Say whether it knows where all slots are."""
        return all(self.call("GET", key).startswith(("$-1", "-MOVED")) for key in ("{0}", "{b}"))

    def node_id(self) -> str:
        ran = subprocess.run(
            ["redis-cli", "-p", str(self.port), "CLUSTER", "MYID"], capture_output=True, text=True, check=True
        )
        return ran.stdout.strip()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[HalfCluster, HalfCluster]]:
    binary = binaries.redis7()
    if binary is None or binaries.find("redis-cli") is None:
        pytest.skip("NOT TESTED: redis-server or redis-cli is not on PATH")
    with HalfCluster(binary, None, tmp_path / "one") as one, HalfCluster(binary, None, tmp_path / "two") as two:
        one.call("CLUSTER", "ADDSLOTSRANGE", "0", str(SLOTS // 2 - 1))
        two.call("CLUSTER", "ADDSLOTSRANGE", str(SLOTS // 2), str(SLOTS - 1))
        one.call("CLUSTER", "MEET", "127.0.0.1", str(two.port))
        for node in (one, two):
            until(node.is_up, timeout=30)
        yield one, two


class TestCluster:
    def queue_on(self, first_half: bool) -> str:
        names = (f"queue{number}" for number in range(100))
        return next(name for name in names if (key_slot(name.encode()) < SLOTS // 2) is first_half)

    def test_queues_on_two_nodes(self, cluster: tuple[HalfCluster, HalfCluster]):
        here, there = self.queue_on(True), self.queue_on(False)
        broker = RedisBroker(cluster[0].url, options={"SINGLE_SLOT": False})
        sent = [message(queue=queue) for queue in (here, there, here, there)]
        assert broker.enqueue(sent) == [True] * 4
        assert cluster[0].call("EXISTS", f"dj:{{{here}}}:ready") == ":1"
        assert cluster[1].call("EXISTS", f"dj:{{{there}}}:ready") == ":1"
        worker = consumer(broker, here, there)
        assert {broker.wait([here, there], 1000), broker.wait([here, there], 1000)} == {here, there}
        held = claim(broker, worker, 10, here) + claim(broker, worker, 1, there)
        answer = broker.claim(worker, there, 10, settled=held)
        assert ids(answer.jobs) == [sent[3].id]
        assert broker.heartbeat([worker], lease_ms=60_000)[0].in_flight == 1
        assert [counts.in_flight for counts in broker.counts([here, there])] == [0, 1]
        assert [place(broker, job) for job in sent] == [None, None, None, Place.IN_FLIGHT]
        broker.close()

    def test_a_slot_that_has_moved_is_followed(self, cluster: tuple[HalfCluster, HalfCluster]):
        one, two = cluster
        queue = self.queue_on(True)
        slot = str(key_slot(queue.encode()))
        broker = RedisBroker(
            f"redis+cluster://127.0.0.1:{one.port},127.0.0.1:{two.port}", options={"SINGLE_SLOT": False}
        )
        assert broker.counts([queue])[0].ready == 0  # knows now where the slot is
        for node in (two, one):
            assert node.call("CLUSTER", "SETSLOT", slot, "NODE", two.node_id()) == "+OK"
        assert broker.enqueue([message(queue=queue)]) == [True]
        assert broker.enqueue([message(queue=queue), message(queue=self.queue_on(False))]) == [True, True]
        assert two.call("EXISTS", f"dj:{{{queue}}}:ready") == ":1"
        broker.close()

    def test_a_node_that_is_gone(self, cluster: tuple[HalfCluster, HalfCluster]):
        one, two = cluster
        broker = RedisBroker(f"redis+cluster://127.0.0.1:1,127.0.0.1:{one.port}", options={"SINGLE_SLOT": False})
        broker.enqueue([message(queue=self.queue_on(True))])
        two.kill()
        with pytest.raises(BrokerUnavailable):
            broker.enqueue([message(queue=self.queue_on(False))])
        broker.close()

    def test_who_takes_the_place_of_a_node_that_is_gone_is_found(self, cluster: tuple[HalfCluster, HalfCluster]):
        one, two = cluster
        queue = self.queue_on(False)
        broker = RedisBroker(one.url, options={"SINGLE_SLOT": False})
        assert broker.enqueue([message(queue=queue)]) == [True]
        two.kill()
        for verb in ("DELSLOTSRANGE", "ADDSLOTSRANGE"):
            assert one.call("CLUSTER", verb, str(SLOTS // 2), str(SLOTS - 1)) == "+OK"
        until(lambda: one.call("EXISTS", f"dj:{{{queue}}}:ready") == ":0", timeout=30)
        with pytest.raises(BrokerUnavailable):
            broker.enqueue([message(queue=queue)])
        assert broker.enqueue([message(queue=queue)]) == [True]
        broker.close()


@pytest.mark.parametrize("first", [True, False])
def test_who_has_the_hash_tag_elsewhere_is_told(redis7_url: str, first: bool):
    prefix = f"t{uuid4().hex[:8]}"
    RedisBroker(redis7_url, prefix=prefix, options={"SINGLE_SLOT": first}).enqueue([message()])
    other = RedisBroker(redis7_url, prefix=prefix, options={"SINGLE_SLOT": not first})
    for start in (lambda: consumer(other), lambda: other.enqueue([message()])):
        with pytest.raises(JobsConfigurationError, match=f"SINGLE_SLOT is {not first} here"):
            start()


def test_a_forked_process_opens_its_own_connections(redis7_url: str):
    broker = RedisBroker(redis7_url, prefix=f"t{uuid4().hex[:8]}")
    broker.enqueue(messages(1))
    children = []
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns: a test runner has threads
            child = os.fork()
        if not child:
            status = 1
            try:
                right = all(broker.enqueue([job]) == [True] for job in messages(100))
                status = 0 if right and broker.wait(["alpha"], 1000) == "alpha" else 2
            finally:
                os._exit(status)
        children.append(child)
    assert [broker.enqueue([job]) for job in messages(100)] == [[True]] * 100
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert broker.counts(["alpha"])[0].ready == 401
    check_invariants(broker, "alpha", nobody_waits=False)
    broker.close()


def test_connections_are_used_again(redis7_url: str):
    broker = RedisBroker(redis7_url, prefix=f"t{uuid4().hex[:8]}")
    link = broker._servers.link(0)
    broker.enqueue(messages(1))
    (connection,) = {connection for connection, _ in link._idle}
    for verb in (
        lambda: broker.enqueue(messages(3)),
        lambda: broker.wait(["beta"], 10),
        lambda: broker.counts(["alpha"]),
    ):
        verb()
        assert [one for one, _ in link._idle] == [connection]
    broker.close()
    assert link._idle == []


@pytest.mark.slow
def test_many_scheduled_jobs_cost_a_claim_nothing(tmp_path: Path):
    with private_redis(tmp_path) as server:
        broker = RedisBroker(server.url, timeout_ms=5000)
        later = broker_now(broker) + HOUR_MS
        for start in range(0, 300_000, 50_000):
            broker.enqueue([message(b"x" * 100, eta_ms=later + start + number) for number in range(50_000)])
        assert broker.counts(["alpha"])[0].scheduled == 300_000
        worker = consumer(broker)
        times = []
        for _ in range(300):
            begun = time.perf_counter()
            answer = broker.claim(worker, "alpha", 10)
            times.append(time.perf_counter() - begun)
            assert answer.jobs == []
        # A claim takes a tenth of a millisecond, and one that reads them all a hundred. The best of many says which
        # it is on a machine however busy.
        assert min(times) < 0.02
        broker.close()
