"""What supervisor, keeper and children say to each other, without processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_jobs.brokers.base import Consumer
from django_jobs.identifiers import new_id
from django_jobs.worker import hard_limits
from django_jobs.worker.channel import Channel
from django_jobs.worker.kin import Kin
from django_jobs.worker.markers import RunningMarkers


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_message_larger_than_the_buffer_arrives_whole(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    sent = [{"number": number, "text": "x" * 300_000} for number in range(5)]
    assert all(ours.send(**message) for message in sent)
    received: list[dict[str, Any]] = []
    for _ in range(1000):
        received += [message for message in theirs.receive(0.1) if message["number"] >= 0]
        if len(received) == len(sent):
            break
        ours.send(number=-1)  # what had no room goes with the next
    assert received == sent


def test_who_never_reads_is_told_nothing_more_and_cuts_no_message(
    pair: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    monkeypatch.setattr("django_jobs.worker.channel.UNSENT_BYTES", 1_000_000)
    told = 0
    while ours.send(text="x" * 100_000):
        told += 1
        assert told < 100
    heard = 0
    for _ in range(1000):
        heard += sum("text" in message for message in theirs.receive(0.1))
        if heard == told:
            break
        ours.send(more=True)
    assert heard == told


def test_a_job_that_was_terminated_and_comes_back_is_not_ended_again(
    pair: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1000.0
    monkeypatch.setattr("django_jobs.worker.hard_limits.time.monotonic", lambda: moment)
    killed: list[int] = []
    monkeypatch.setattr("django_jobs.worker.kin.process.send_signal", lambda pid, number: killed.append(pid))
    markers = RunningMarkers(2)
    ours, theirs = pair
    kin = Kin(1, "w/1", Consumer(id="c", queues=("default",)), markers, ours, is_quiet=False, pid=4711)
    job_id = new_id()
    slot = markers.start(job_id, 1)
    kin.ask_to_stop([job_id], [job_id])
    kin.enforce_limits()
    markers.end(slot)
    kin.enforce_limits()
    markers.start(job_id, 2)  # an operator has sent it again
    moment += hard_limits.TERMINATION_SECONDS + 1
    kin.enforce_limits()
    assert killed == []
    kin.ask_to_stop([job_id], [job_id])  # and somebody has revoked it again
    assert [order["id"] for order in theirs.receive(1.0)] == [job_id, job_id]
    moment += hard_limits.TERMINATION_SECONDS + 1
    kin.enforce_limits()
    assert killed == [4711]
    markers.close()


def test_a_job_that_was_revoked_before_it_ran_is_forgotten_when_it_is_gone(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    kin = Kin(1, "w/1", Consumer(id="c", queues=("default",)), RunningMarkers(1), ours, is_quiet=False)
    job_id = new_id()
    kin.ask_to_stop([job_id], [])
    kin.ask_to_stop([job_id], [])
    kin.ask_to_stop([], [])
    kin.ask_to_stop([job_id], [])
    assert len(theirs.receive(1.0)) == 2
    kin.markers.close()
