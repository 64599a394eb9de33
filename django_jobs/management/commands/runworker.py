"""``manage.py runworker``: claim jobs and run them, until told to stop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import CommandError, CommandParser
from django.db import connections

from django_jobs import transactions
from django_jobs.beat.beat import Beat
from django_jobs.beat.sync import Change
from django_jobs.brokers import get_broker
from django_jobs.brokers.base import BaseBroker
from django_jobs.brokers.known import known_queues
from django_jobs.celery_names import FLAGS
from django_jobs.celery_names import POOLS as CELERY_POOLS
from django_jobs.conf import as_ms, settings
from django_jobs.exceptions import BrokerUnavailable, JobsConfigurationError, StoreUnavailable
from django_jobs.management.beating import counted, prepare_beat, schedule_lines
from django_jobs.management.service import UNREACHABLE, ServiceCommand, configure_logging, pidfile
from django_jobs.options import DEFAULT_QUEUE, QUEUE_NAME, is_queue_name
from django_jobs.registry import registry
from django_jobs.results import get_store
from django_jobs.setting_keys import LONGEST
from django_jobs.worker.config import POOLS, WorkerConfig, default_name, usable_cores, weight_of
from django_jobs.worker.reload import Reloader, command_without_reload
from django_jobs.worker.solo import Solo
from django_jobs.worker.supervisor import Supervisor

#: The id of no job.
NOBODY = "00000000-0000-7000-8000-000000000000"


def _pool(name: str) -> str:
    """Take the name of a pool; those of Celery's that are not here get an answer of their own."""
    if name in CELERY_POOLS:
        raise argparse.ArgumentTypeError(f"there is no pool {name}: {CELERY_POOLS[name]}")
    return name


class Command(ServiceCommand):
    """Runs a worker."""

    help = "Claim background jobs and run them, until told to stop (Ctrl-C, or TERM)."
    strangers = FLAGS

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the flags. Defaults come from ``DJANGO_JOBS["WORKER"]``."""
        add = parser.add_argument
        add("-q", "-Q", "--queue", "--queues", dest="queues", action="append", default=[], metavar="NAME[=WEIGHT],...",
            help="Queues to serve, in strict order, or by weight; default: every queue that is known.")  # fmt: skip
        add("-x", "--exclude", action="append", default=[], metavar="NAME,...", help="Queues not to serve.")
        add("-c", "--concurrency", type=int, help="Processes; default: the CPU cores that this process may use.")
        add("--threads", type=int, help="Threads that run jobs in each process; default 1.")
        add("--pool", type=_pool, choices=POOLS, default="prefork" if hasattr(os, "fork") else "threads",
            help="prefork: processes (default). threads: one process. solo: one job at a time.")  # fmt: skip
        add(
            "--async-concurrency",
            type=int,
            default=100,
            help="Jobs of async tasks at once in each process; default 100.",
        )
        add("--max-jobs-per-child", type=int, default=0, help="Replace a process after this many jobs.")
        add(
            "--max-memory-per-child",
            type=int,
            default=0,
            metavar="KIB",
            help="Replace a process that uses more memory.",
        )
        add("--burst", action="store_true", help="End when nothing is left to do.")
        add("--reload", action=argparse.BooleanOptionalAction, default=None,
            help="Start anew when the code changes; default under DEBUG, but not with --burst.")  # fmt: skip
        add("--name", help="The worker's name in results and logs; default: host and process id.")
        add("--grace", type=float, help="Seconds that running jobs may take to end at a stop; default 30.")
        add("-B", "--beat", action="store_true", help="Fire periodic tasks, too, in one more process.")
        self.add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the worker, or the watcher that runs it anew."""
        if options["reload"] is None:
            options["reload"] = django_settings.DEBUG and not options["burst"]
        configure_logging(options["loglevel"])
        if options["reload"]:
            if options["burst"]:
                raise CommandError("--reload and --burst do not go together: a burst ends by itself.", returncode=2)
            sys.exit(Reloader(command_without_reload()).run())
        try:
            config = self._config(options)
            broker = get_broker()
            weights = self._reach(broker, config)
            changes = prepare_beat() if options["beat"] else None
        except JobsConfigurationError as error:
            raise CommandError(str(error), returncode=2) from error
        if options["verbosity"] > 0:
            self.show(start_screen(broker, config, weights, changes))
        make_beat = Beat if options["beat"] else None
        with pidfile(options["pidfile"]) as remove_pidfile:
            if config.pool == "prefork":
                code = Supervisor(broker, get_store(), config, weights=weights, make_beat=make_beat).run()
            else:
                # Handing back ends the one process of these pools, and comes back from nowhere.
                code = Solo(broker, get_store(), config, weights=weights, before_end=remove_pidfile).run()
        sys.exit(code)

    def _reach(self, broker: BaseBroker, config: WorkerConfig) -> list[tuple[str, int]]:
        """Look whether everything can be reached before anything is forked, and hold no connection afterwards."""
        try:
            broker.ping()
            get_store().settled([NOBODY])
            _try_to_write(lambda: broker.forget([NOBODY], DEFAULT_QUEUE))
            _try_to_write(lambda: get_store().forget([NOBODY]))
            weights = list(config.queues) or [(queue, weight_of(queue)) for queue in known_queues(broker)]
        except (BrokerUnavailable, StoreUnavailable) as error:
            raise CommandError(str(error), returncode=UNREACHABLE) from error
        finally:
            broker.close()
            connections.close_all()
        weights = [(queue, weight) for queue, weight in weights if queue not in config.exclude]
        if not weights:
            raise CommandError("No queue is left to serve: --exclude names all of them.", returncode=2)
        return weights

    def _config(self, options: dict[str, Any]) -> WorkerConfig:
        section = settings.section("WORKER")
        pool = options["pool"]
        concurrency = options["concurrency"] or section["CONCURRENCY"] or usable_cores()
        threads = options["threads"] or section["THREADS"]
        for flag in ("concurrency", "threads", "async_concurrency"):
            if options[flag] is not None and options[flag] < 1:
                raise CommandError(f"--{flag.replace('_', '-')} must be 1 or more, not {options[flag]}.", returncode=2)
        for flag in ("max_jobs_per_child", "max_memory_per_child", "grace"):
            if options[flag] is not None and not 0 <= options[flag] <= LONGEST:
                raise CommandError(
                    f"--{flag.replace('_', '-')} must be 0 or more, not {options[flag]} (at most {LONGEST:,}).",
                    returncode=2,
                )
        _check_pool(options)
        return WorkerConfig(
            name=options["name"] or default_name(),
            queues=parse_queues(options["queues"]),
            exclude=frozenset(name for name, _ in parse_queues(options["exclude"])),
            pool=pool,
            concurrency=concurrency if pool == "prefork" else 1,
            threads=1 if pool == "solo" else threads,
            async_concurrency=options["async_concurrency"],
            max_jobs_per_child=options["max_jobs_per_child"],
            max_memory_per_child=options["max_memory_per_child"],
            burst=options["burst"],
            grace_ms=settings.worker_ms("GRACE") if options["grace"] is None else as_ms(options["grace"]),
            heartbeat_ms=settings.worker_ms("HEARTBEAT"),
            lease_ms=settings.worker_ms("LEASE"),
            suspect_ms=settings.worker_ms("SUSPECT_TIME"),
        )


def _check_pool(options: dict[str, Any]) -> None:
    """Refuse flags that need a family of processes where there is none. Raises CommandError."""
    pool = options["pool"]
    if pool != "prefork" and options["max_memory_per_child"]:
        raise CommandError(
            f"--max-memory-per-child needs the pool prefork: the one process of {pool} cannot be replaced.",
            returncode=2,
        )
    if options["beat"] and (pool != "prefork" or options["burst"]):
        raise CommandError(
            f"--beat does not go together with {'--burst' if pool == 'prefork' else f'the pool {pool}'}: start"
            " runbeat beside it.",
            returncode=2,
        )
    if pool != "prefork" and (options["concurrency"] or 1) > 1:
        raise CommandError(f"The pool {pool} is one process: use --threads, or start more workers.", returncode=2)


def _try_to_write(write: Callable[[], object]) -> None:
    """Find out whether writing is allowed. That others are writing for a long time is no reason not to start."""
    try:
        write()
    except (BrokerUnavailable, StoreUnavailable) as error:
        if error.__cause__ is None or not transactions.is_transient(error.__cause__):
            raise


def parse_queues(given: list[str]) -> tuple[tuple[str, int], ...]:
    """Read ``a,b`` (strict order: weight 0) or ``a=5,b=1``. Raises CommandError."""
    found: list[tuple[str, int]] = []
    for entry in (part.strip() for text in given for part in text.split(",")):
        name, separator, weight = entry.partition("=")
        if not is_queue_name(name) or (separator and not (weight.isdigit() and int(weight) > 0)):
            raise CommandError(
                f"{entry!r} is not a queue: expected a name, or name=weight. The name must be {QUEUE_NAME}.",
                returncode=2,
            )
        found.append((name, int(weight) if separator else 0))
    weights = {weight > 0 for _, weight in found}
    if len(weights) > 1:
        raise CommandError("Give every queue a weight (a=5,b=1), or none (strict order: a,b).", returncode=2)
    return tuple(dict(found).items())


def start_screen(
    broker: BaseBroker, config: WorkerConfig, weights: list[tuple[str, int]], changes: Sequence[Change] | None = None
) -> str:
    """Say what this worker is, on one screen."""
    names = registry.names()
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    unlisted = sorted({task.options.queue for task in registry} - {queue for queue, _ in weights} - set(config.exclude))
    each = " each" if config.concurrency > 1 else ""
    processes = {
        "prefork": f"{_count(config.concurrency, 'process', 'processes')},"
        f" {_count(config.threads, 'thread', 'threads')}{each}",
        "threads": f"1 process, {_count(config.threads, 'thread', 'threads')}",
        "solo": "1 process, one job at a time",
    }[config.pool]
    lines = [
        f"django_jobs worker {config.name}",
        f"  broker    {broker.describe()}",
        f"  results   database {settings.database!r}",
        "  queues    " + ", ".join(f"{queue}={weight}" if weight > 1 else queue for queue, weight in weights),
        f"  tasks     {len(names)}"
        + (f": {shown}" if names else " (none found: put @job functions into an app's jobs.py)"),
        f"  runs      {processes}, {_count(config.async_concurrency, 'async job', 'async jobs')}{each}",
        "  stop      Ctrl-C, or TERM: running jobs may end; again: they are handed back",
    ]
    if changes is not None:
        lines[-1:-1] = [f"  beat      {counted()}", *schedule_lines(changes)]
    if unlisted:
        lines.insert(4, f"  not here  {', '.join(unlisted)} (used by tasks, served by another worker?)")
    unlimited = _with_time_limit() if config.pool != "prefork" else []
    if unlimited:
        text = f"the pool {config.pool} cannot end jobs at their time_limit, as prefork does: {', '.join(unlimited)}"
        lines.insert(-1, f"  no limit  {text}")
    return "\n".join(lines)


def _with_time_limit() -> list[str]:
    """Name the tasks that declare a time limit; those whose options are wrong are another check's business."""
    names = []
    for task in registry:
        with suppress(JobsConfigurationError):
            if task.options.time_limit is not None:
                names.append(task.name)
    return names


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
