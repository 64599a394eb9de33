"""What is said when something is tried again."""

from __future__ import annotations

import logging

import pytest

from django_jobs.exceptions import BrokerUnavailable
from django_jobs.worker.backoff import Backoff


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("The database is locked", "The database is locked. Trying again."),
        ("Connection refused.", "Connection refused. Trying again."),
        ("Run migrate. (no such table)", "Run migrate. (no such table) Trying again."),
    ],
)
def test_the_first_error_of_a_row_is_a_sentence(
    text: str, says: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    # One that no other test in this process has switched off.
    monkeypatch.setattr("django_jobs.worker.backoff.logger", logging.getLogger("tests.worker.test_backoff"))
    caplog.set_level("WARNING")
    backoff = Backoff()
    backoff.pause(BrokerUnavailable(text))
    backoff.pause(BrokerUnavailable(text))
    assert caplog.messages == [says]
    backoff.end()
    backoff.pause(BrokerUnavailable(text))
    assert caplog.messages == [says, says]
