"""What the commands have in common that run until told to stop."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper, SystemCheckError

from django_jobs.conf import nearest
from django_jobs.log import JobContextFilter
from django_jobs.worker.pidfile import PidFile

#: The service cannot be reached, or its tables are missing.
UNREACHABLE = 3
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
logger = logging.getLogger("django_jobs.worker")


class Parser(CommandParser):
    """Takes flags as they are written, and answers a wrong one with the right one, those of Celery's too."""

    given: Sequence[str] = ()
    #: Flag of Celery's -> what to use instead.
    strangers: Mapping[str, str] = MappingProxyType({})

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, remembering what was given."""
        self.given = [str(word) for word in (sys.argv[1:] if args is None else args)]
        return super().parse_args(args, namespace)

    def error(self, message: str) -> Any:
        """Say what is wrong before anything else: the usage of so many flags would hide it."""
        meant = self._meant()
        lines = [message, *meant._hints(self.given)]
        if not self.called_from_command_line:
            super().error("\n".join(lines))
        lines = [f"{meant.prog}: error: {lines[0]}", *lines[1:], f"{meant.prog} --help lists every flag.", ""]
        self.exit(2, "\n".join(lines))

    def _meant(self) -> Parser:
        """Return the parser of the subcommand that was given; without subcommands: this one."""
        found = self
        for word in self.given:
            below = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
            if below and word in below[0].choices:
                found = below[0].choices[word]
        return found

    def _hints(self, given: Sequence[str]) -> list[str]:
        known = [flag for action in self._actions for flag in action.option_strings]
        command = self.prog.split()[-1]
        hints = {}
        for word in given:
            flag = word.partition("=")[0] if word.startswith("--") else word[:2]
            if flag in self.strangers:
                hints[flag] = f"{command} has no {flag}: {self.strangers[flag]}."
            elif flag.startswith("--") and flag not in ("--", *known):
                hints[flag] = f"{command} has no {flag}.{_nearest_flag(flag, known)}"
        return list(hints.values())


def _nearest_flag(flag: str, known: Sequence[str]) -> str:
    """Return " Did you mean ...?": of a flag that was not written out, each that begins with it."""
    longer = [f"{name!r}" for name in known if name.startswith(flag)]
    return f" Did you mean {' or '.join(longer)}?" if longer else nearest(flag, list(known))


class HintingCommand(BaseCommand):
    """A command that answers a wrong flag with the right one."""

    #: Flags of Celery's that this one does not have.
    strangers: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Make a parser that says what to use instead of a wrong flag."""
        kwargs.setdefault("formatter_class", argparse.HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)  # a flag that comes later must not change what a shorter one means
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.__class__ = Parser
        assert isinstance(parser, Parser)
        parser.strangers = self.strangers
        return parser


def _answer_by(answer: Callable[..., object] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, answer)


def _end(*_: object) -> NoReturn:
    _answer_by(signal.SIG_IGN)  # another one would interrupt what is done on the way out
    sys.exit(0)


def write_nowhere(stream: OutputWrapper) -> None:
    """Give up a stream that nobody takes: what has stayed in its buffer must not fail again at the end."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


class ServiceCommand(HintingCommand):
    """A command that runs until it is told to stop."""

    requires_migrations_checks = False

    def run_from_argv(self, argv: list[str]) -> None:
        """Obey TERM and Ctrl-C from the start, and not once more when it has ended already."""
        # Until the service itself answers them there is nothing to end but this process.
        _answer_by(_end)
        try:
            super().run_from_argv(argv)
        finally:
            _answer_by(signal.SIG_IGN)

    def add_common_arguments(self, parser: CommandParser) -> None:
        """Declare the flags that all of them have."""
        parser.add_argument(
            "--loglevel",
            type=str.upper,
            choices=LEVELS,
            help="Default: what LOGGING says, else INFO under DEBUG and WARNING without.",
        )
        parser.add_argument("--pidfile", type=Path, help="Write the process id to this file.")

    def execute(self, *args: Any, **options: Any) -> Any:
        """Run the checks, then the command. What checks refuse is an error of use: starting again mends nothing."""
        try:
            return super().execute(*args, **options)
        except SystemCheckError as error:
            error.returncode = 2
            raise

    def show(self, text: str) -> None:
        """Write to stdout. It runs all the same where it cannot: a disk may be full, or nobody read any more."""
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except OSError as error:
            write_nowhere(self.stdout)
            logger.warning("The start screen cannot be written: %s", error)


@contextmanager
def pidfile(path: Path | None) -> Iterator[Callable[[], None] | None]:
    """Hold the process id in a file. Yield what removes it for who ends without coming back; None: there is no file."""
    if path is None:
        yield None
        return
    file = PidFile(path)
    try:
        try:
            file.write()
        except OSError as error:
            raise CommandError(f"The file of --pidfile cannot be written: {error}", returncode=2) from error
        yield file.remove
    finally:
        file.remove()


def configure_logging(level: str | None) -> None:
    """
    Let our records through at ``level``; write to stderr when the project has not said where records go.

    None: at the level that the project's LOGGING gives the logger ``django_jobs``, else INFO under DEBUG and WARNING
    without.
    """
    root = logging.getLogger()
    ours = logging.getLogger("django_jobs")
    if level is not None or ours.level == logging.NOTSET:
        ours.setLevel(level or ("INFO" if django_settings.DEBUG else "WARNING"))
    if not ours.hasHandlers():
        stream = logging.StreamHandler()
        stream.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s %(process)d %(message)s"))
        root.addHandler(stream)
        root.setLevel(ours.level)
    loggers = [root, *(logging.getLogger(name) for name in logging.Logger.manager.loggerDict)]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        handler.addFilter(JobContextFilter())
