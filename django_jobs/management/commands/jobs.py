"""``manage.py jobs``: look at workers, queues, jobs and workflows, and do something about them."""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from django_jobs.conf import settings
from django_jobs.exceptions import BrokerUnavailable, EnqueueError, JobsConfigurationError, StoreUnavailable
from django_jobs.management.jobs import changing, healing, looking, scheduling, workflows
from django_jobs.management.jobs.choosing import LIMIT
from django_jobs.management.jobs.screen import USAGE, Screen
from django_jobs.management.service import HintingCommand, Parser, write_nowhere
from django_jobs.transactions import how_to_migrate, is_missing_table

#: What a shell says of a command whose output nobody reads any more: 128 and the number of SIGPIPE.
UNREAD = 141

#: Flags of every command of Django's.
COMMON = ("--settings", "--pythonpath", "--traceback", "--no-color", "--force-color", "--verbosity")
#: The service cannot be reached, or its tables are missing.
UNREACHABLE = 3

ACTIONS: Mapping[str, Callable[[Screen, dict[str, Any]], int]] = {
    "inspect": looking.inspect,
    "active": looking.active,
    "queues": looking.queues,
    "workflows": workflows.workflows,
    "call": changing.call,
    "retry": changing.retry,
    "revoke": changing.revoke,
    "purge": changing.purge,
    "pause": changing.pause,
    "resume": changing.resume,
    "prune": changing.prune,
    "tell": changing.tell,
    "schedule": scheduling.schedule,
    "doctor": healing.doctor,
}


class Command(HintingCommand):
    """Looks at what is going on, and does something about it."""

    help = "Look at workers, queues, jobs and workflows, and do something about them."
    # What is broken must not keep an operator from looking at it.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands."""
        subparsers = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        def action(name: str) -> CommandParser:
            text = (ACTIONS[name].__doc__ or "").strip().splitlines()[0]
            made: CommandParser = subparsers.add_parser(name, help=text, description=text)
            made.add_argument("--json", action="store_true", dest="as_json", help="Answer with one JSON document.")
            return made

        action("inspect").add_argument(
            "ids", nargs="*", metavar="ID", help="Say how these jobs or workflows stand, and why."
        )
        action("active")
        action("queues")
        _add_narrowing(action("workflows"), "Workflows", "were sent", workflows.LIMIT)
        _add_call(action("call"))
        _add_filters(action("retry"))
        _add_filters(revoke := action("revoke"))
        revoke.add_argument("--terminate", action="store_true", help="Interrupt those that run, and kill what stays.")
        (purge := action("purge")).add_argument("queue", metavar="QUEUE")
        _add_yes(purge)
        for name in ("pause", "resume"):
            action(name).add_argument("queues", nargs="+", metavar="QUEUE")
        action("prune")
        (tell := action("tell")).add_argument("worker", metavar="WORKER", help="Its name, or a glob: 'web-*'.")
        tell.add_argument("what", choices=("stop", "quiet", "dump"))
        _add_yes(tell)
        scheduling.declare(action("schedule"))
        (doctor := action("doctor")).add_argument(
            "ids", nargs="*", metavar="ID", help="Say how these jobs or workflows stand."
        )
        doctor.add_argument("--fix", action="store_true", help="Mend what can be mended.")
        _add_yes(doctor)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Make a parser whose actions take the flags of every command of Django's, too, wherever they stand."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        _share_common(parser, parser)
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what was asked for, and exit with its code."""
        screen = Screen(self.stdout, self.stderr, as_json=options["as_json"])
        try:
            code = self._answer(screen, options)
            self.stdout.flush()
        except BrokenPipeError:  # whoever reads has seen enough, as head does; what was asked for is done
            write_nowhere(self.stdout)
            sys.exit(UNREAD)
        except CommandError as error:
            if screen.as_json:  # a program reads the answer, and people what is said beside it
                screen.document({"error": str(error)})
            raise
        if code:
            sys.exit(code)

    @staticmethod
    def _answer(screen: Screen, options: dict[str, Any]) -> int:
        try:
            return ACTIONS[options["action"]](screen, options)
        except JobsConfigurationError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except (BrokerUnavailable, StoreUnavailable, EnqueueError) as error:
            raise CommandError(str(error), returncode=UNREACHABLE) from error
        except (DatabaseError, InterfaceError) as error:
            said = f"The database cannot be used: {error}".rstrip()
            if is_missing_table(error):
                said = (
                    f"The tables are missing, or are not up to date: run {how_to_migrate(settings.database)}. ({error})"
                )
            raise CommandError(said, returncode=UNREACHABLE) from error


def _share_common(top: CommandParser, parser: argparse.ArgumentParser) -> None:
    for below in (action for action in parser._actions if isinstance(action, argparse._SubParsersAction)):
        for child in below.choices.values():
            child.__class__ = Parser
            child.allow_abbrev = False
            for flag in COMMON:
                child._add_action(_without_default(top._option_string_actions[flag]))
            _share_common(top, child)


def _without_default(action: argparse.Action) -> argparse.Action:
    """Return a flag that changes nothing where it is not given, and that no help lists once more."""
    action = copy.copy(action)
    action.default = action.help = argparse.SUPPRESS
    return action


def _add_call(parser: CommandParser) -> None:
    add = parser.add_argument
    add("name", metavar="NAME", help="The name of the task: shop.jobs.send_receipt.")
    add("arguments", nargs="?", metavar="ARGS", help="Its arguments, a list in JSON: '[7]'.")
    add("--kwargs", help="Its keyword arguments, an object in JSON.")
    add("--queue", help="Default: what the task says.")
    add("--priority", type=int, help="Default: what the task says.")
    add("--countdown", type=float, metavar="SECONDS", help="Not before so many seconds.")
    add("--wait", type=float, metavar="SECONDS", help="Wait so long for its end, and say what came of it.")
    add("--remote", action="store_true", help="Send it although no task has this name here.")


def _add_filters(parser: CommandParser) -> None:
    add = parser.add_argument
    add("ids", nargs="*", metavar="ID", help="A job, or a workflow.")
    add("--task", metavar="GLOB", help="Jobs of these tasks: 'shop.*'.")
    add("--queue", help="Jobs of this queue.")
    _add_narrowing(parser, "Jobs", "ended, or were sent,", LIMIT)
    _add_yes(parser)


def _add_narrowing(parser: CommandParser, what: str, when: str, limit: int) -> None:
    add = parser.add_argument
    add("--state", action="append", default=[], help=f"{what} in this state; may be repeated.")
    add("--since", metavar="AGE", help=f"{what} that {when} not longer ago: 90s, 30m, 1h, 2d.")
    add("--limit", type=_positive, default=limit, help=f"At most so many; default {limit}.")


def _add_yes(parser: CommandParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="Do not ask.")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)
