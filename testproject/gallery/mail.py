"""A mail server that is sometimes down: it refuses the first attempts of every message, then writes it to a file."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from smtplib import SMTPServerDisconnected

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.filebased import EmailBackend


class UnreliableEmailBackend(EmailBackend):
    """
    Raise SMTPServerDisconnected the first ``GALLERY["MAIL_FAILURES"]`` times that a message is sent, then deliver it.

    Attempts are counted in files, because each may be made by another process.
    """

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        failures: int = settings.GALLERY["MAIL_FAILURES"]
        for message in email_messages:
            attempt = count_attempt(Path(self.file_path), message)
            if attempt <= failures:
                raise SMTPServerDisconnected(f"The mail server has gone away (attempt {attempt}).")
        return super().send_messages(email_messages) or 0


def count_attempt(directory: Path, message: EmailMessage) -> int:
    """Return the number of this attempt to send the message, from 1."""
    identity = "\n".join([*message.recipients(), str(message.subject), str(message.body)])
    counter = directory / "attempts" / sha256(identity.encode()).hexdigest()
    counter.parent.mkdir(parents=True, exist_ok=True)
    # One appended byte per attempt: appending is atomic, and the size is the count.
    with counter.open("ab", buffering=0) as file:
        file.write(b".")
        return os.fstat(file.fileno()).st_size
