"""strays: nothing that the verbs do makes any."""

from __future__ import annotations

from django_jobs.brokers.base import BaseBroker
from django_jobs.states import Place
from tests.brokers.kit import HOUR_MS, broker_now, claim, consumer, message, messages, silent_consumer


class StraysContract:
    def test_jobs_in_every_place_are_no_strays(self, broker: BaseBroker):
        broker.enqueue([*messages(6), message(eta_ms=broker_now(broker) + HOUR_MS), *messages(2, queue="beta")])
        worker = consumer(broker, "alpha", "beta")
        held = claim(broker, worker, 4)
        broker.bury(held[:1], reason="test")
        broker.ack(held[1:2])
        silent_consumer(broker, "beta", jobs=1)
        before = [broker.peek("alpha", place) for place in Place]
        assert broker.strays(["alpha", "beta", "nowhere"]) == []
        assert broker.strays(["alpha", "beta", "nowhere"], mend=True) == []
        assert [broker.peek("alpha", place) for place in Place] == before

    def test_no_queue(self, broker: BaseBroker):
        assert broker.strays([]) == []
