"""Signals of the package: a receiver that raises harms nobody."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.dispatch import Signal

from django_jobs import signals


def test_a_receiver_that_raises_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture):
    heard: list[Any] = []
    signal = Signal()

    def raises(sender: Any, **kwargs: Any) -> None:
        raise ValueError("a receiver")

    def listens(sender: Any, **kwargs: Any) -> None:
        heard.append((sender, kwargs["job"]))

    signal.connect(raises)
    signal.connect(listens)
    with caplog.at_level(logging.ERROR):
        signals.send(signal, "task", job="job")
    assert heard == [("task", "job")]
    records = [record for record in caplog.records if record.exc_info and "a receiver" in str(record.exc_info[1])]
    assert len(records) == 1, "once is enough"


def test_nobody_listens():
    signals.send(Signal(), "task", job="job")
