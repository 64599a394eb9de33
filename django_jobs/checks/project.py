"""What a project's settings and tasks have wrong. Nothing here opens a connection."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Info, register
from django.core.checks import Warning as Caution
from django.core.management import get_commands
from django.utils.module_loading import import_string

from django_jobs import middleware
from django_jobs.brokers import get_broker
from django_jobs.celery_names import setting_hint
from django_jobs.checks.messages import TAG, message, readable
from django_jobs.conf import QUEUE_KEYS, SETTING, Section, nearest, settings
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.options import DEFAULT_QUEUE, OPTION_NAMES, QUEUE_NAME, check_names, is_queue_name, make_options
from django_jobs.registry import missing_modules, registry
from django_jobs.results import get_store
from django_jobs.results.base import BaseStore


@register(TAG)
def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Name unknown keys and values of the wrong kind (E002)."""
    return [message(Error, "E002", problem) for problem in settings.problems()]


@register(TAG)
def check_broker(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Say whether a broker can be made of ``BROKER`` (E001, E003, E004, E005)."""
    given = readable("BROKER")
    if given is None:
        return []
    location = given if isinstance(given, str) else str(given.get("LOCATION", ""))
    scheme, _, rest = location.partition("://")
    if scheme == "cache":
        found = list(_check_cache(rest))
        if found:
            return found
    if scheme == "database" and (rest.rstrip("/") or "default") not in django_settings.DATABASES:
        return [_unknown_database(f"{SETTING}['BROKER']", rest.rstrip("/"))]
    try:
        get_broker()
    except JobsConfigurationError as error:
        said = str(error) in settings.problems()  # as E002
        return [] if said else [message(Error, "E001", str(error))]
    except Exception as error:  # noqa: BLE001 - a broker of one's own may raise anything
        return [message(Error, "E001", f"{SETTING}['BROKER'] cannot be used: {error!r}")]
    return []


def _check_cache(alias: str) -> Iterator[CheckMessage]:
    where = f"{SETTING}['BROKER'] is 'cache://{alias}'"
    if alias not in django_settings.CACHES:
        known = list(django_settings.CACHES)
        text = f"{where}, but CACHES has no alias {alias!r}.{nearest(alias, known)} Known: {', '.join(known)}."
        yield message(Error, "E003", text)
        return
    backend = str(django_settings.CACHES[alias].get("BACKEND", ""))
    try:
        is_ours = issubclass(import_string(backend), import_string("django_redis.cache.RedisCache"))
    except (ImportError, TypeError):
        is_ours = False
    if not is_ours:
        hint = "Use django_redis.cache.RedisCache there, or name the server by its URL: redis://host:port/db."
        yield message(Error, "E004", f"{where}, but CACHES[{alias!r}] is {backend}, not django-redis.", hint)


def _unknown_database(where: str, alias: str) -> CheckMessage:
    known = list(django_settings.DATABASES)
    text = f"{where} names the database {alias!r}, which DATABASES does not have.{nearest(alias, known)}"
    return message(Error, "E005", f"{text} Known: {', '.join(known)}.")


@register(TAG)
def check_databases(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Name aliases that ``DATABASES`` does not have: in ``DATABASE``, and in ``using`` of a task (E005)."""
    named = {f"{SETTING}['DATABASE']": readable("DATABASE")}
    for task in registry:
        try:
            named[f"The option using of {task.name}"] = task.options.using
        except JobsConfigurationError:
            continue  # E014 says it
    known = (None, *django_settings.DATABASES)
    return [_unknown_database(where, alias) for where, alias in named.items() if alias not in known]


@register(TAG)
def check_queues(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Name queues that cannot be (E006), and those of tasks that ``QUEUES`` does not list (I002)."""
    queues: Mapping[str, Mapping[str, Any]] = readable("QUEUES") or {}
    found: list[CheckMessage] = []
    for name, options in queues.items():
        if not is_queue_name(name):
            text = f"{SETTING}['QUEUES'] has the queue {name!r}: the name must be {QUEUE_NAME}."
            found.append(message(Error, "E006", text))
        problems = Section(f"{SETTING}['QUEUES'][{name!r}]", QUEUE_KEYS, options).problems()
        found += [message(Error, "E006", problem) for problem in problems]
    return found + (_unlisted_queues(queues) if queues else [])


def _unlisted_queues(queues: Mapping[str, Any]) -> list[CheckMessage]:
    users: dict[str, list[str]] = {}
    for task in registry:
        try:
            users.setdefault(task.options.queue, []).append(task.name)
        except JobsConfigurationError:
            continue  # E014 says it
    return [
        message(
            Info,
            "I002",
            f"The queue {queue!r} of {', '.join(names[:3])}{' and others' if len(names) > 3 else ''} is not listed in"
            f" {SETTING}['QUEUES'].{nearest(queue, list(queues))}",
            "It works, if a worker serves it. List it, so that a typing error would show.",
        )
        for queue, names in sorted(users.items())
        if queue not in queues and queue != DEFAULT_QUEUE
    ]


@register(TAG)
def check_tasks(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Name patterns of ``TASKS`` with wrong options (E014), and those that no task has (W003)."""
    found: list[CheckMessage] = []
    names = registry.names()
    for pattern, options in (readable("TASKS") or {}).items():
        where = f"{SETTING}['TASKS'][{pattern!r}]"
        try:
            check_names(options, OPTION_NAMES, where)
            make_options(options, where)
        except JobsConfigurationError as error:
            found.append(message(Error, "E014", str(error)))
        if not any(fnmatchcase(name, pattern) for name in names):
            found.append(message(Caution, "W003", f"{where} fits no task.{_why_unknown(pattern)}"))
    return found


def _why_unknown(pattern: str) -> str:
    task = registry.get(pattern)
    if task is not None:
        return f" It is an alias: the task is called {task.name!r}."
    return nearest(pattern, registry.names())


@register(TAG)
def check_classes(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Import what settings name by path: middleware (E010), the base of the admin's pages (E012), the store (E013)."""
    found: list[CheckMessage] = []
    for path in readable("MIDDLEWARE") or ():
        try:
            middleware.load(path)
        except Exception as error:  # noqa: BLE001 - making one runs the project's code
            found.append(message(Error, "E010", f"{SETTING}['MIDDLEWARE']: {error}"))
    for section, name, number, base in (
        ("ADMIN", "MODEL_ADMIN", "E012", import_string("django.contrib.admin.ModelAdmin")),
        ("RESULTS", "STORE", "E013", BaseStore),
    ):
        try:
            path = settings.section(section)[name]
        except JobsConfigurationError:
            continue  # E002 says it
        problem = _problem_of_class(path, base)
        if problem:
            found.append(message(Error, number, f"{SETTING}[{section!r}][{name!r}] is {path!r}, which {problem}"))
        elif base is BaseStore:
            found += _check_store()
    return found


def _check_store() -> Iterator[CheckMessage]:
    if settings.problems():
        return  # E002 says it
    try:
        get_store()
    except JobsConfigurationError as error:
        yield message(Error, "E013", str(error))
    except Exception as error:  # noqa: BLE001 - a store of one's own may raise anything
        yield message(Error, "E013", f"{SETTING}['RESULTS']['STORE'] cannot be used: {error!r}")


def _problem_of_class(path: str, base: type) -> str:
    try:
        cls = import_string(path)
    except Exception as error:  # noqa: BLE001 - importing runs the code of a project, or of a theme
        return f"cannot be imported: {error}"
    if not (isinstance(cls, type) and issubclass(cls, base)):
        return f"is not a subclass of {base.__module__}.{base.__qualname__}."
    return ""


@register(TAG)
def check_worker(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Refuse leases that run out between two heartbeats (E015)."""
    try:
        heartbeat_ms, lease_ms = settings.worker_ms("HEARTBEAT"), settings.worker_ms("LEASE")
    except JobsConfigurationError:
        return []  # E002 says it
    if lease_ms >= 2 * heartbeat_ms:
        return []
    times = f"LEASE ({lease_ms / 1000:g} s) is shorter than two HEARTBEATs of {heartbeat_ms / 1000:g} s"
    hint = "One heartbeat that comes late would give away jobs that are running. Four times is a good measure."
    return [message(Error, "E015", f"{SETTING}['WORKER']: {times}.", hint)]


@register(TAG)
def check_celery(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Say what replaces Celery's settings (W004)."""
    hints = {name: setting_hint(name) for name in dir(django_settings) if name.startswith("CELERY_")}
    if not hints:
        return []
    lines = [f"{name}: {hint or 'nothing reads it'}" for name, hint in sorted(hints.items())]
    text = f"Settings of Celery are not read by django_jobs: {', '.join(sorted(hints))}."
    return [message(Caution, "W004", text, "What replaces them: " + "; ".join(lines) + ".")]


@register(TAG)
def check_commands(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Say when another app owns the name ``runworker`` (W002)."""
    owner = get_commands().get("runworker", TAG)
    owner = owner if isinstance(owner, str) else type(owner).__module__
    if owner == TAG:
        return []
    hint = "Use manage.py jobsworker, which is the same command; or put django_jobs before it in INSTALLED_APPS."
    return [message(Caution, "W002", f"manage.py runworker is the command of {owner}, not of django_jobs.", hint)]


@register(TAG)
def check_modules(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Name modules that are not there (E016), and a ``tasks.py`` with jobs that nobody looks into (I001)."""
    discovered = readable("AUTODISCOVER")
    if discovered is None:
        return []
    text = f"{SETTING}['AUTODISCOVER'] names {{!r}}, and there is no such module."
    found = [message(Error, "E016", text.format(path)) for path in missing_modules()]
    return found if "tasks" in discovered else found + _overlooked(app_configs, discovered)


def _overlooked(app_configs: Sequence[AppConfig] | None, discovered: Sequence[str]) -> list[CheckMessage]:
    hint = f"Rename it to jobs.py, or add 'tasks' to {SETTING}['AUTODISCOVER'] (now {list(discovered)!r})."
    return [
        message(Info, "I001", f"{config.name}.tasks uses django_jobs, but is not looked into for tasks.", hint)
        for config in app_configs or apps.get_app_configs()
        if f"{config.name}.tasks" not in discovered and _uses_jobs(Path(config.path))
    ]


def _uses_jobs(app: Path) -> bool:
    """Say whether the ``tasks`` module of an app imports django_jobs, without importing it."""
    for path in (app / "tasks.py", app / "tasks" / "__init__.py"):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == TAG:
                return True
            if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == TAG for alias in node.names):
                return True
    return False
