"""``manage.py runbeat``: fire periodic tasks when their moment has come, until told to stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_jobs.beat.beat import Beat
from django_jobs.beat.sync import Change
from django_jobs.brokers import get_broker
from django_jobs.celery_names import BEAT_FLAGS
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.management.beating import counted, prepare_beat, schedule_lines
from django_jobs.management.service import ServiceCommand, configure_logging, pidfile
from django_jobs.worker import keepalive, process
from django_jobs.worker.config import default_name


class Command(ServiceCommand):
    """Runs beat."""

    help = "Fire periodic tasks when their moment has come, until told to stop (Ctrl-C, or TERM). Any number may run."
    strangers = BEAT_FLAGS

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the flags."""
        parser.add_argument(
            "--name", help="What it is called in ps and on the start screen; default: host and process id."
        )
        parser.add_argument("--no-sync", action="store_true", help="Do not have periodic tasks follow the code first.")
        self.add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run beat."""
        configure_logging(options["loglevel"])
        name = options["name"] or default_name()
        try:
            changes = prepare_beat(follow_code=not options["no_sync"])
            screen = start_screen(name, changes, followed=not options["no_sync"])
            if options["verbosity"] > 0:
                self.show(screen)
        except JobsConfigurationError as error:
            raise CommandError(str(error), returncode=2) from error
        keepalive.install()
        process.set_title(f"django-jobs: {name} beat")
        with pidfile(options["pidfile"]) as remove_pidfile:
            beat = Beat(before_end=remove_pidfile)
            beat.answer_signals()
            if hasattr(signal, "SIGTTIN"):
                signal.signal(signal.SIGTTIN, process.dump_stacks)
            code = beat.run()
        sys.exit(code)


def start_screen(name: str, changes: Sequence[Change], *, followed: bool) -> str:
    """Say what this beat is, on one screen."""
    return "\n".join(
        [
            f"django_jobs beat {name}",
            f"  broker    {get_broker().describe()}",
            f"  tasks     {counted()}",
            *(schedule_lines(changes) if followed else []),
            "  stop      Ctrl-C, or TERM; again: at once",
        ]
    )
