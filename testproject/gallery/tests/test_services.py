"""The two services that are sometimes down: they must fail as often as they say, and then work."""

import json
import tempfile
from http.client import RemoteDisconnected
from pathlib import Path
from smtplib import SMTPServerDisconnected
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from django.core.mail import EmailMessage
from django.test import SimpleTestCase, override_settings

from gallery.mail import UnreliableEmailBackend
from gallery.management.commands.runvisits import VisitsServer


class MailTests(SimpleTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        settings = override_settings(
            GALLERY={"MAIL_FAILURES": 2},
        )
        settings.enable()
        self.addCleanup(settings.disable)

    def send(self, subject: str) -> int:
        message = EmailMessage(subject, "text", "from@example.org", ["to@example.org"])
        return UnreliableEmailBackend(file_path=str(self.directory)).send_messages([message])

    def mails(self) -> str:
        return "".join(path.read_text() for path in self.directory.glob("*.log"))

    def test_every_message_is_refused_twice_and_then_delivered(self) -> None:
        for attempt in (1, 2):
            with self.assertRaisesMessage(SMTPServerDisconnected, f"(attempt {attempt})"):
                self.send("first")
        assert self.mails() == ""
        assert self.send("first") == 1
        assert self.mails().count("Subject: first") == 1

    def test_each_message_is_counted_for_itself(self) -> None:
        with self.assertRaisesMessage(SMTPServerDisconnected, "(attempt 1)"):
            self.send("first")
        with self.assertRaisesMessage(SMTPServerDisconnected, "(attempt 1)"):
            self.send("second")


class VisitsServerTests(SimpleTestCase):
    def setUp(self) -> None:
        self.server = VisitsServer(("127.0.0.1", 0), failures=2)
        self.server.quiet = True
        thread = Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)

    def ask(self, path: str) -> object:
        with urlopen(f"http://127.0.0.1:{self.server.server_port}{path}", timeout=5) as answer:
            return json.load(answer)

    def test_a_report_fails_in_two_ways_and_then_counts(self) -> None:
        with pytest.raises(RemoteDisconnected):
            self.ask("/visits?report=1&photos=1,2")
        with pytest.raises(HTTPError) as caught:
            self.ask("/visits?report=1&photos=1,2")
        caught.value.close()
        assert caught.value.code == 503
        first = self.ask("/visits?report=1&photos=1,2")
        assert isinstance(first, dict)
        assert first["visits"].keys() == {"1", "2"}
        assert self.ask("/visits?report=1&photos=1,2") == first

    def test_each_report_is_counted_for_itself(self) -> None:
        for report in (1, 2):
            with pytest.raises(RemoteDisconnected):
                self.ask(f"/visits?report={report}")

    def test_an_address_it_does_not_have_is_404(self) -> None:
        with pytest.raises(HTTPError) as caught:
            self.ask("/visits")
        caught.value.close()
        assert caught.value.code == 404
