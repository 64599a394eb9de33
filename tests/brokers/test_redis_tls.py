"""A real Redis that speaks TLS alone, with a certificate of an authority that is made for the test."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_jobs.brokers.redis.broker import RedisBroker
from django_jobs.exceptions import BrokerUnavailable
from tests.brokers.kit import claim, consumer, ids, message, messages, until
from tests.services import RedisServer, ServiceError, binaries
from tests.services.process import free_port


def sign(directory: Path) -> None:
    """Make an authority, and a key for 127.0.0.1 that it has signed."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=authority")
    openssl("req", *new_key, "-keyout", "redis.key", "-out", "redis.csr", "-subj", "/CN=127.0.0.1")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signs = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "redis.csr", *signs, "-out", "redis.crt", "-days", "2")


class Encrypted:
    """A server, and where it is."""

    def __init__(self, server: RedisServer, directory: Path, port: int) -> None:
        self.server = server
        self.directory = directory
        self.url = f"rediss://127.0.0.1:{port}/0"

    @property
    def trusted(self) -> str:
        """The URL with the authority to trust."""
        return f"{self.url}?ssl_ca_certs={self.directory / 'ca.crt'}"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    binary = binaries.redis7()
    if binary is None or binaries.find("openssl") is None:
        pytest.skip("NOT TESTED: redis-server or openssl is not on PATH")
    directory, port = tmp_path_factory.mktemp("tls"), free_port()
    sign(directory)
    files = {"cert": "redis.crt", "key": "redis.key", "ca-cert": "ca.crt"}
    flags = [part for name, file in files.items() for part in (f"--tls-{name}-file", str(directory / file))]
    server = RedisServer(binary, None, directory, "--tls-port", str(port), *flags, "--tls-auth-clients", "no")
    try:
        server.start()
    except ServiceError as error:
        pytest.skip(f"NOT TESTED: this Redis has no TLS: {error}")
    with server:
        yield Encrypted(server, directory, port)


@pytest.fixture
def broker(encrypted: Encrypted) -> Iterator[RedisBroker]:
    encrypted.server.call("FLUSHALL")
    broker = RedisBroker(encrypted.trusted, timeout_ms=3000)
    yield broker
    broker.close()


def test_jobs_come_and_go(broker: RedisBroker):
    """More than a record of TLS holds, in one answer."""
    sent = [message(b"x" * 5000) for _ in range(100)]
    assert broker.enqueue(sent) == [True] * 100
    worker = consumer(broker)
    held = claim(broker, worker, 100)
    assert [(job.id, len(job.body)) for job in held] == [(one.id, 5000) for one in sent]
    assert broker.ack(held) == []
    for _ in range(300):  # calls whose answer is looked for before it is read
        broker.enqueue(messages(1))
        (job,) = claim(broker, worker, 1)
        assert broker.ack([job]) == []


def test_a_sleeper_is_woken(broker: RedisBroker):
    woken: list[tuple[str | None, float]] = []

    def sleep() -> None:
        began = time.monotonic()
        woken.append((broker.wait(["alpha", "beta"], 20_000), time.monotonic() - began))

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    until(lambda: broker.enqueue(messages(1)) and bool(woken), timeout=15)
    sleeper.join()
    assert woken[0][0] == "alpha"
    assert woken[0][1] < 15


def test_a_connection_that_was_idle_is_used_again(broker: RedisBroker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("django_jobs.brokers.redis.connection.TRUSTED_SECONDS", 0.0)
    broker.ping()
    connects = broker.connects
    for _ in range(5):
        broker.ping()
    assert broker.connects == connects


def test_a_server_that_comes_back(broker: RedisBroker, encrypted: Encrypted):
    broker.ping()
    encrypted.server.kill()
    with pytest.raises(BrokerUnavailable):
        broker.ping()
    encrypted.server.start()
    sent = messages(1)
    assert broker.enqueue(sent) == [True]
    assert ids(claim(broker, consumer(broker), 1)) == ids(sent)


def test_a_certificate_of_somebody_else_is_refused(encrypted: Encrypted):
    broker = RedisBroker(encrypted.url, timeout_ms=3000)
    with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
        broker.ping()
    unchecked = RedisBroker(f"{encrypted.url}?ssl_cert_reqs=none", timeout_ms=3000)
    unchecked.ping()
    unchecked.close()


def test_who_does_not_speak_tls_is_told(encrypted: Encrypted):
    broker = RedisBroker(encrypted.url.replace("rediss:", "redis:"), timeout_ms=3000)
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1"):
        broker.ping()
    broker.close()
