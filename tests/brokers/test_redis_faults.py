"""What the Redis broker does when Redis, or the way to it, fails."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from django_jobs.brokers.base import Consumer, Retry
from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.brokers.redis.scripts import FOLDER, Command, Script
from django_jobs.exceptions import BrokerUnavailable
from django_jobs.identifiers import new_id
from django_jobs.states import Place
from tests.brokers.invariants import check_empty, check_invariants
from tests.brokers.kit import LONG_MS, broker_now, claim, consumer, ids, message, messages, place, places, until
from tests.brokers.proxy import Proxy
from tests.brokers.silent import SilentServer
from tests.services import RedisServer, binaries, private_redis

#: Seconds that are many times what a short timeout takes on a busy machine, and much less than a long one. That nobody
#: waits for two short ones is told by the connections that were made.
SOON, LONG_TIMEOUT_MS = 10.0, 60_000

#: With everysec a slow disk puts a write off for up to two seconds, and a killed server loses it.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(params=["redis7", "redis62"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, to be filled, paused and killed."""
    if request.param == "redis7":
        made = private_redis(tmp_path, *DURABLE)
    else:
        made = RedisServer(binaries.redis62(tmp_path / "binary"), None, tmp_path / "redis", *DURABLE)
    with made:
        yield made


@pytest.fixture
def broker(server: RedisServer) -> Iterator[RedisBroker]:
    made = RedisBroker(server.url, timeout_ms=LONG_TIMEOUT_MS)
    yield made
    made.close()


def refused(call: Callable[[], object]) -> float:
    """Call something that has to raise BrokerUnavailable; return how long it took."""
    start = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        call()
    took = time.monotonic() - start
    assert took < SOON
    return took


WORKER = Consumer(id=uuid4().hex, queues=("alpha", "beta"))

VERBS: dict[str, Callable[[RedisBroker], object]] = {
    "enqueue": lambda broker: broker.enqueue([message()]),
    "enqueue many": lambda broker: broker.enqueue(messages(1200)),
    "register": lambda broker: broker.register(WORKER, lease_ms=1000),
    "heartbeat": lambda broker: broker.heartbeat([WORKER], lease_ms=1000),
    "claim": lambda broker: broker.claim(WORKER, "alpha", 10),
    "reap": lambda broker: broker.reap("alpha", WORKER.id, suspect_ms=0),
    "revoke": lambda broker: broker.revoke(new_id(), "alpha"),
    "find": lambda broker: broker.find(new_id()),
    "counts": lambda broker: broker.counts(["alpha", "beta"]),
    "queues": lambda broker: broker.queues(),
    "ping": lambda broker: broker.ping(),
}


class TestNobodyAnswers:
    @pytest.fixture
    def silent(self) -> Iterator[SilentServer]:
        with SilentServer() as server:
            yield server

    @pytest.mark.parametrize("verb", VERBS)
    def test_a_call_takes_no_longer_than_it_may(self, silent: SilentServer, verb: str):
        broker = RedisBroker(silent.url, timeout_ms=250)
        assert refused(lambda: VERBS[verb](broker)) >= 0.2
        assert silent.connections == 1

    def test_with_a_database_and_a_password_to_say_first(self, silent: SilentServer):
        url = silent.url.replace("redis://", "redis://user:secret@").replace("/0", "/3")
        refused(RedisBroker(url, timeout_ms=250).ping)
        assert silent.connections == 1

    @pytest.mark.parametrize("scheme", ["redis+sentinel", "redis+cluster"])
    def test_sentinels_and_cluster_nodes(self, silent: SilentServer, scheme: str):
        """They share the time of one call: ten times that of a call would be too long."""
        path = "/main" if scheme == "redis+sentinel" else ""
        broker = RedisBroker(f"{scheme}://{','.join([silent.address] * 10)}{path}", timeout_ms=2000)
        refused(broker.ping)
        assert silent.connections == 10

    def test_a_wait_does_not_hang(self, silent: SilentServer):
        refused(lambda: RedisBroker(silent.url, timeout_ms=250).wait(["alpha"], LONG_TIMEOUT_MS))
        assert silent.connections == 1

    def test_a_wait_can_be_interrupted(self, silent: SilentServer):
        broker = RedisBroker(silent.url, timeout_ms=LONG_TIMEOUT_MS)
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.append(broker.wait(["alpha"], LONG_TIMEOUT_MS)))
        thread.start()
        until(lambda: silent.connections == 1)
        time.sleep(0.1)  # until it blocks; being early makes the test weaker, never wrong
        broker.interrupt()
        thread.join(SOON)
        assert answers == [None]

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        broker = RedisBroker(f"redis://127.0.0.1:{port}/0", timeout_ms=LONG_TIMEOUT_MS)
        for verb in VERBS.values():
            refused(partial(verb, broker))
        with pytest.raises(BrokerUnavailable, match=rf"127\.0\.0\.1:{port} cannot be reached"):
            broker.ping()

    def test_a_frozen_server_thaws(self, server: RedisServer):
        broker = RedisBroker(server.url, timeout_ms=1000)
        broker.enqueue(messages(1))
        server.pause()
        try:
            refused(lambda: broker.enqueue(messages(1)))
        finally:
            server.resume()
        assert broker.ack(claim(broker, consumer(broker), 1)) == []
        assert broker.counts(["alpha"])[0].ready in (0, 1)  # the one that was not answered may have arrived
        broker.close()

    def test_an_exception_between_question_and_answer(self, server: RedisServer, broker: RedisBroker):
        """The late answer of a call that was given up must not be taken for that of the next."""

        class Stop(BaseException): ...

        def stop(signum: int, frame: object) -> None:
            raise Stop

        def ask() -> None:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            broker.queues()

        broker.ping()
        server.pause()
        before = signal.signal(signal.SIGALRM, stop)
        try:
            with pytest.raises(Stop):
                ask()
        finally:
            signal.signal(signal.SIGALRM, before)
            server.resume()
        assert broker.enqueue(messages(1)) == [True]


def load_scripts(broker: RedisBroker) -> None:
    """Make sure that the next call is not answered with NOSCRIPT: that is not the answer to be lost."""
    for path in FOLDER.glob("*.lua"):
        broker.run(Command(0, b"SCRIPT", b"LOAD", Script(path.stem).text))


class TestLostAnswers:
    def test_a_claim_whose_answer_was_lost_is_healed(self, server: RedisServer):
        with Proxy(server.port) as proxy:
            broker = RedisBroker(proxy.url, timeout_ms=LONG_TIMEOUT_MS)
            broker.enqueue(messages(5))
            worker = consumer(broker)
            known = claim(broker, worker, 2)  # this has loaded the script, so it is not NOSCRIPT that is lost
            proxy.lose_answers = True
            refused(lambda: claim(broker, worker, 2))
            proxy.lose_answers = False
            assert broker.heartbeat([worker], lease_ms=LONG_MS)[0].in_flight == 4
            moved = broker.resync(worker, ids(known))
            assert len(moved) == 2
            assert broker.heartbeat([worker], lease_ms=LONG_MS)[0].in_flight == 2
            again = claim(broker, worker, 10)
            assert sorted(ids(again)[:2]) == sorted(moved)
            assert broker.ack(known + again) == []
            check_empty(broker, "alpha")
            broker.close()

    @pytest.mark.parametrize("lose", ["lose_answers", "swallow_answers"])
    def test_every_other_verb_may_be_repeated(self, server: RedisServer, lose: str):
        with Proxy(server.port) as proxy:
            broker = RedisBroker(proxy.url, timeout_ms=300)
            sent = messages(4)
            worker = Consumer(id=uuid4().hex, queues=("alpha",))

            def twice(call: Callable[[], object]) -> object:
                setattr(proxy, lose, True)
                refused(call)
                setattr(proxy, lose, False)
                return call()

            load_scripts(broker)
            broker.introduce([broker.lane("alpha")])
            assert twice(lambda: broker.enqueue(sent)) == [False] * 4
            twice(lambda: broker.register(worker, lease_ms=LONG_MS))
            acked, retried, released, buried = claim(broker, worker)
            assert twice(lambda: broker.ack([acked])) == [acked.id]
            assert twice(lambda: broker.retry([Retry(retried, b"again", 0)])) == [retried.id]
            assert twice(lambda: broker.release([released])) == [released.id]
            assert twice(lambda: broker.bury([buried], reason="test")) == [buried.id]
            now = [place(broker, job) for job in (acked, retried, released, buried)]
            assert now == [None, Place.READY, Place.READY, Place.DEAD]
            check_invariants(broker, "alpha")
            broker.close()

    def test_nothing_is_sent_twice_by_itself(self, server: RedisServer):
        with Proxy(server.port) as proxy:
            broker = RedisBroker(proxy.url, timeout_ms=300)
            load_scripts(broker)
            worker = consumer(broker)
            broker.enqueue(messages(10))
            for lose in ("lose_answers", "swallow_answers"):
                setattr(proxy, lose, True)
                refused(lambda: claim(broker, worker, 1))
                setattr(proxy, lose, False)
            assert broker.counts(["alpha"])[0].in_flight == 2
            broker.close()


class TestRestart:
    def test_the_next_call_finds_the_new_server(self, server: RedisServer, broker: RedisBroker):
        sent = messages(3)
        broker.enqueue(sent)
        worker = consumer(broker)
        held = claim(broker, worker, 1)
        server.kill()
        refused(broker.ping)
        refused(lambda: broker.wait(["alpha"], LONG_TIMEOUT_MS))
        server.start()
        assert broker.ack(held) == []
        assert places(broker, sent[1:]) == {Place.READY}
        check_invariants(broker, "alpha", nobody_waits=False)

    def test_idle_connections_that_died_are_not_used(self, server: RedisServer, broker: RedisBroker):
        broker.ping()
        time.sleep(1.1)  # as long as a connection is trusted
        server.call("CLIENT", "KILL", "TYPE", "normal")
        broker.ping()

    def test_a_wait_ends_when_the_server_does(self, server: RedisServer, broker: RedisBroker):
        errors: list[BaseException] = []

        def wait() -> None:
            try:
                broker.wait(["alpha"], LONG_TIMEOUT_MS)
            except BrokerUnavailable as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: b"blocked_clients:1" in broker.run(broker.lane("alpha").command(b"INFO", b"clients")))
        server.kill()
        thread.join(SOON)
        assert len(errors) == 1

    def test_scripts_are_loaded_again(self, server: RedisServer, broker: RedisBroker):
        worker = consumer(broker)
        for _ in range(3):
            assert broker.enqueue(messages(2)) == [True, True]
            server.call("SCRIPT", "FLUSH")
            held = claim(broker, worker, 2)
            server.call("SCRIPT", "FLUSH")
            answer = broker.claim(worker, "alpha", 2, settled=held)
            assert (answer.jobs, list(answer.lost)) == ([], [])
            server.call("SCRIPT", "FLUSH")
            assert broker.enqueue(messages(1100)) == [True] * 1100
            assert broker.purge("alpha") == 1100
            server.call("SCRIPT", "FLUSH")

    def test_a_queue_is_named_again_when_the_data_was_lost(self, server: RedisServer, broker: RedisBroker):
        broker.enqueue([message(queue="alpha"), message(queue="beta")])
        server.call("FLUSHALL")
        broker.enqueue([message(queue="alpha")])
        broker.enqueue([message(queue="beta"), message(queue="beta")])
        assert broker.queues() == ["alpha", "beta"]
        worker = Consumer(id=uuid4().hex, queues=("alpha",))
        assert not broker.heartbeat([worker], lease_ms=1000)[0].alive


class TestFullServer:
    def test_it_takes_nothing_new_but_is_drained(self, server: RedisServer, broker: RedisBroker):
        broker.enqueue(messages(400))
        soon = broker_now(broker) + 50
        broker.enqueue([message(eta_ms=soon) for _ in range(300)])
        gone, _ = consumer(broker), claim(broker, consumer(broker), 5)
        held_by_gone = claim(broker, gone, 5)
        worker = consumer(broker)
        first = claim(broker, worker, 20)
        until(lambda: broker_now(broker) >= soon)
        server.call("CONFIG", "SET", "maxmemory", "1mb")
        for refused in (lambda: broker.enqueue(messages(1)), lambda: broker.enqueue(messages(1200))):
            with pytest.raises(BrokerUnavailable, match="memory is full"):
                refused()
        newcomer = consumer(broker)  # a worker that restarts now, too
        assert broker.heartbeat([worker, newcomer], lease_ms=LONG_MS)[1].alive
        assert broker.reap("alpha", gone.id, suspect_ms=0, force=True).moved
        assert broker.retry([Retry(job, b"again", 0) for job in first[:5]]) == []
        assert broker.release(first[5:10], started=True) == []
        assert broker.bury(first[10:15], reason="test") == []
        assert broker.forget(ids(first[10:15]), "alpha") == 5
        broker.pause("alpha")
        broker.resume("alpha")
        assert broker.revoke(first[5].id, "alpha") is Place.READY
        assert broker.ack(held_by_gone) == ids(held_by_gone)
        unknown = claim(broker, newcomer, 3)
        assert sorted(broker.resync(newcomer, [])) == sorted(ids(unknown))
        broker.unregister(newcomer)
        settled, done = first[15:], 0
        while settled:
            done += len(settled)
            settled = broker.claim(worker, "alpha", 100, settled=settled).jobs
        counts = broker.counts(["alpha"])[0]
        assert (counts.ready, counts.scheduled, counts.dead) == (0, 0, 1)
        assert done == 700 - 5 - 5 - 1  # another consumer's five, the five that were buried, and the revoked one
        server.call("CONFIG", "SET", "maxmemory", "0")
        check_invariants(broker, "alpha")
        assert broker.enqueue(messages(1)) == [True]

    def test_the_first_look_at_a_silent_consumer(self, server: RedisServer, broker: RedisBroker):
        broker.enqueue(messages(10))
        worker = consumer(broker, lease_ms=1)
        until(lambda: broker.expired(["alpha"]))
        server.call("CONFIG", "SET", "maxmemory", "1mb")
        assert broker.reap("alpha", worker.id, suspect_ms=0).verdict == "suspected"
        assert broker.reap("alpha", worker.id, suspect_ms=0).verdict == "reaped"
        assert broker.purge("alpha") == 10


class TestRefusals:
    def test_a_replica(self, server: RedisServer, broker: RedisBroker):
        broker.enqueue(messages(1))
        server.call("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BrokerUnavailable, match="replica"):
            broker.enqueue(messages(1))
        server.call("REPLICAOF", "NO", "ONE")
        assert broker.enqueue(messages(1)) == [True]

    def test_too_few_replicas(self, server: RedisServer, broker: RedisBroker):
        broker.enqueue(messages(1))
        server.call("CONFIG", "SET", "min-replicas-to-write", "1")
        with pytest.raises(BrokerUnavailable, match="too few replicas"):
            broker.enqueue(messages(1))

    def test_a_password(self, server: RedisServer):
        server.call("CONFIG", "SET", "requirepass", "secret")
        with pytest.raises(BrokerUnavailable, match="password"):
            RedisBroker(server.url).ping()
        with pytest.raises(BrokerUnavailable, match=r"user or the password|user, the password"):
            RedisBroker(server.url.replace("//", "//:wrong@")).ping()
        RedisBroker(server.url.replace("//", "//:secret@")).ping()

    def test_a_database_that_is_not_there(self, server: RedisServer):
        with pytest.raises(BrokerUnavailable, match="out of range"):
            RedisBroker(server.url.replace("/0", "/99")).enqueue(messages(1))

    def test_keys_of_somebody_else(self, server: RedisServer, broker: RedisBroker):
        server.call("SET", "dj:{alpha}:ready", "text")
        with pytest.raises(BrokerUnavailable, match="WRONGTYPE"):
            broker.counts(["alpha"])

    def test_no_connection_left(self, server: RedisServer, broker: RedisBroker):
        server.call("CONFIG", "SET", "maxclients", "1")
        with ExitStack() as others:

            def is_refused() -> bool:
                # One that comes while the server still counts a client that has gone is refused itself.
                others.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                try:
                    broker.ping()
                except BrokerUnavailable as error:
                    return "maxclients" in str(error)
                broker.close()
                return False

            until(is_refused)
