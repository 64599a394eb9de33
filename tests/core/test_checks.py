"""What ``manage.py check`` says about settings and tasks."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command, get_commands
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import Settings

from django_jobs import checks
from django_jobs.checks import TAG
from django_jobs.registry import registry
from django_jobs.task import Task
from django_jobs.testing.memory import MemoryBroker
from tests.core import tasks

Make = Callable[..., Task[..., Any]]
DJANGO_REDIS = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "jobs": DJANGO_REDIS,
    "plain": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"},
}


@pytest.fixture
def said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[CheckMessage]]:
    settings.CACHES = CACHES
    # The tasks of other tests have queues of their own.
    ours = {name: task for name, task in registry._tasks.items() if name.startswith("tests.app.")}
    monkeypatch.setattr(registry, "_tasks", ours)

    def check(**given: Any) -> list[CheckMessage]:
        settings.DJANGO_JOBS = given
        return run_checks(tags=[TAG])

    return check


Said = Callable[..., list[CheckMessage]]


def one(found: list[CheckMessage], number: str) -> str:
    """Return the text and hint of the one message there is."""
    assert [message.id for message in found] == [f"{TAG}.{number}"], found
    return f"{found[0].msg} {found[0].hint or ''}"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"BROKER": "redis://:secret@127.0.0.1:1/0"},
        {"BROKER": "rediss://127.0.0.1:1/0"},
        {"BROKER": "unix:///nowhere.sock?db=1"},
        {"BROKER": "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main/0"},
        {"BROKER": "redis+cluster://127.0.0.1:1"},
        {"BROKER": "cache://jobs"},
        {"BROKER": "database://default"},
        {"BROKER": {"BACKEND": "django_jobs.testing.memory.MemoryBroker"}},
        {"QUEUES": {"mail": {"weight": 5}, "default": {}}},
        {"TASKS": {"*": {"priority": 5}, "tests.app.jobs.*": {"queue": "default"}}},
        {"MIDDLEWARE": ["tests.core.layers.Outer"]},
        {"RESULTS": {"EXPIRES": None}, "WORKER": {"THREADS": 4}, "ADMIN": {"AUTOREGISTER": False}},
    ],
    ids=str,
)
def test_what_is_right_says_nothing(said: Said, given: dict[str, Any]):
    assert said(**given) == []


def test_nothing_is_connected_to(said: Said, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a check has opened a connection")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(BaseDatabaseWrapper, "connect", refuse)
    for broker in (
        "redis://redis.example.org",
        "cache://jobs",
        "redis+sentinel://a,b/main",
        "redis+cluster://a",
        "database://",
    ):
        said(BROKER=broker, QUEUES={"mail": {}}, TASKS={"nothing.*": {}}, MIDDLEWARE=["tests.core.layers.Outer"])
        call_command("check")
        call_command("check", tags=[TAG])


# E001, E003, E004, E005: the broker


def on_database(**options: Any) -> dict[str, Any]:
    return {"BACKEND": "django_jobs.brokers.database.broker.DatabaseBroker", "OPTIONS": options}


@pytest.mark.parametrize(
    ("broker", "number", "says"),
    [
        ("nonsense", "E001", "which is not a broker's URL"),
        ("redis//localhost", "E001", "which is not a broker's URL. Expected one that starts with redis://"),
        ("redi://localhost", "E001", "Did you mean 'redis'?"),
        ("redis://localhost/mail", "E001", "'mail' is not the number of a database"),
        ("redis://localhost:port", "E001", "Expected redis://"),
        ("redis+sentinel://localhost", "E001", "it names no service"),
        ({"BACKEND": "nowhere.Broker"}, "E001", "The broker 'nowhere.Broker' cannot be imported"),
        (
            {"BACKEND": "builtins.dict"},
            "E001",
            "'builtins.dict' is not a subclass of django_jobs.brokers.base.BaseBroker",
        ),
        ({"BACKEND": "tests.core.test_checks.FailingBroker"}, "E001", "BROKER'] cannot be used: ZeroDivisionError"),
        (on_database(SETTLE_TIMEOUT="x"), "E001", "The option SETTLE_TIMEOUT of the database broker must be a"),
        (on_database(SETTLE_TIMEOUT=0), "E001", "above 0 and at most a century, not 0."),
        (on_database(LISTEN="no"), "E001", "The option LISTEN of the database broker must be True or False, not 'no'."),
        (on_database(LISTN=False), "E001", "database broker has no option 'LISTN'; it has: LISTEN, SETTLE_TIMEOUT."),
        ("cache://job", "E003", "CACHES has no alias 'job'. Did you mean 'jobs'? Known: default, jobs, plain."),
        (
            "cache://default",
            "E004",
            "CACHES['default'] is django.core.cache.backends.locmem.LocMemCache, not django-redis",
        ),
        ("cache://plain", "E004", "Use django_redis.cache.RedisCache there, or name the server by its URL"),
        ("database://defaul", "E005", "the database 'defaul', which DATABASES does not have. Did you mean 'default'?"),
    ],
    ids=str,
)
def test_a_broker_that_cannot_be_used(said: Said, broker: Any, number: str, says: str):
    assert says in one(said(BROKER=broker), number)


class FailingBroker(MemoryBroker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _ = 1 / 0


def test_the_password_of_a_broker_is_not_shown(said: Said):
    (message,) = said(BROKER="redis://:verysecret@localhost/mail")
    assert "verysecret" not in f"{message}{message.hint}"


# E002: keys


def test_unknown_and_wrong_keys(said: Said):
    found = said(BROKR="x", MAX_PAYLOAD="1M", WORKER={"THREDS": 1}, RESULTS=5)
    assert {message.id for message in found} == {f"{TAG}.E002"}
    assert [message.msg.partition(". ")[0] for message in found] == [
        "DJANGO_JOBS has no key 'BROKR'",
        "DJANGO_JOBS['MAX_PAYLOAD'] must be a number of bytes above 0, not '1M'.",
        "DJANGO_JOBS['RESULTS'] must be a dictionary, not 5.",
        "DJANGO_JOBS['WORKER'] has no key 'THREDS'",
    ]
    assert "Did you mean 'BROKER'?" in found[0].msg


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("redis://:verysecret@localhost", "a text: write DJANGO_JOBS = {'BROKER': 'redis://...'}"),
        ("verysecret", "a text"),
        (["redis://:verysecret@localhost"], "list"),
        (None, "None: leave it out for the defaults"),
    ],
)
def test_what_is_no_dictionary_is_said_once(settings: Settings, given: Any, says: str):
    settings.DJANGO_JOBS = given
    assert one(run_checks(tags=[TAG]), "E002") == f"DJANGO_JOBS must be a dictionary, not {says}. "


URL = "'redis://:verysecret@localhost'"


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("check", URL),
        ("check", "[]"),
        ("check", "None"),
        ("check", "{'ADMIN': 5}"),
        ("check", "{'AUTODISCOVER': 5}"),
        ("check", "{'DATABASE': 5}"),
        ("runworker", URL),
        ("runworker --skip-checks --no-reload", URL),
        ("runworker --skip-checks --no-reload", "{'WORKER': 5}"),
    ],
)
def test_commands_say_in_a_sentence_that_it_is_wrong(tmp_path: Path, given: str, command: str):
    done = run_with(given, tmp_path, command)
    said = done.stdout + done.stderr
    assert done.returncode in (1, 2)
    assert re.search(r"DJANGO_JOBS(\['\w+'\])? must be a", said), said
    assert "Traceback" not in said
    assert "verysecret" not in said


def run_with(given: str, tmp_path: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a project with these DJANGO_JOBS."""
    root = Path(checks.__file__).resolve().parents[2]
    (tmp_path / "wrong.py").write_text(f"from tests.settings import *\nDJANGO_JOBS = {given}\n")
    return subprocess.run(
        [sys.executable, "-m", "django", *command.split()],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "wrong", "PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "name",
    ["BROKER", "DATABASE", "QUEUES", "TASKS", "AUTODISCOVER", "MIDDLEWARE", "WORKER", "ADMIN", "PREFIX", "SINGLE_SLOT"],
)
def test_a_value_of_the_wrong_kind_is_said_once(said: Said, name: str):
    assert f"DJANGO_JOBS['{name}'] must be" in one(said(**{name: 5}), "E002")


def test_a_wrong_time_is_said_once(said: Said):
    assert "DJANGO_JOBS['ENQUEUE_TIMEOUT'] must be" in one(said(ENQUEUE_TIMEOUT=-1), "E002")


# E005: databases


def test_a_database_that_is_not_there(said: Said, task_of: Make):
    assert "DJANGO_JOBS['DATABASE'] names the database 'jobs'" in one(said(DATABASE="jobs"), "E005")
    task_of(tasks.add, using="replica")
    assert "The option using of tests.core.tasks.add names the database 'replica'" in one(said(), "E005")


# E006, I002: queues


@pytest.mark.parametrize(
    ("queues", "says"),
    [
        ({"my queue": {}}, "has the queue 'my queue': the name must be 1 to 64 letters"),
        ({"x" * 65: {}}, "must be 1 to 64 letters"),
        ({"..": {}}, "has the queue '..': the name must be 1 to 64 letters, digits, '_', '.' or '-', the first no '.'"),
        ({"mail": {"wieght": 1}}, "DJANGO_JOBS['QUEUES']['mail'] has no key 'wieght'. Did you mean 'weight'?"),
        ({"mail": {"weight": 0}}, "DJANGO_JOBS['QUEUES']['mail']['weight'] must be a whole number above 0, not 0."),
    ],
)
def test_queues_that_cannot_be(said: Said, queues: Any, says: str):
    assert says in one(said(QUEUES=queues), "E006")


def test_a_queue_that_is_not_listed(said: Said, task_of: Make):
    task_of(tasks.add, queue="mial")
    assert said() == []
    text = one(said(QUEUES={"mail": {}}), "I002")
    assert "The queue 'mial' of tests.core.tasks.add is not listed" in text
    assert "Did you mean 'mail'?" in text
    assert said(QUEUES={"mial": {}}) == []


# E014, W003: options by pattern


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_retry": 1}, "DJANGO_JOBS['TASKS']['tests.*'] has no option 'max_retry'. Did you mean 'max_retries'?"),
        ({"priority": 1000}, "DJANGO_JOBS['TASKS']['tests.*']: The option priority must be"),
        ({"acks_late": True}, "with max_deliveries=1 it does not run again"),
        ({"retry": print, "retry_backoff": True}, "retry= decides alone"),
    ],
)
def test_a_pattern_with_wrong_options(said: Said, options: Any, says: str):
    assert says in one(said(TASKS={"tests.*": options}), "E014")


def test_a_pattern_that_fits_no_task(said: Said, task_of: Make):
    task_of(tasks.add, aliases=["old.add"])
    assert "Did you mean 'tests.core.tasks.add'?" in one(said(TASKS={"tests.core.tasks.ad": {}}), "W003")
    assert "It is an alias: the task is called 'tests.core.tasks.add'" in one(said(TASKS={"old.add": {}}), "W003")
    assert said(TASKS={"tests.core.tasks.add": {}}) == []


# E009: duplicate names stop every command, where they are written


def test_two_tasks_with_one_name_stop_the_check(tmp_path: Path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text("")
    (tmp_path / "shop/jobs.py").write_text(
        "from django_jobs import job\n@job(name='pay')\ndef one(): pass\n@job(name='pay')\ndef two(): pass\n"
    )
    (tmp_path / "conf.py").write_text("SECRET_KEY = 'x'\nINSTALLED_APPS = ['django_jobs', 'shop']\n")
    root = Path(checks.__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "django", "check"],
        env={"DJANGO_SETTINGS_MODULE": "conf", "PYTHONPATH": f"{tmp_path}:{root}:{':'.join(sys.path)}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Two tasks are called 'pay': shop.jobs.one and shop.jobs.two. Give one of them another name=." in done.stderr


# E010, E012, E013: classes


@pytest.mark.parametrize(
    ("given", "number", "says"),
    [
        ({"MIDDLEWARE": ["tests.core.layers.Missing"]}, "E010", "'tests.core.layers.Missing' cannot be imported"),
        (
            {"MIDDLEWARE": ["tests.core.layers.NotOne"]},
            "E010",
            "must be a subclass of django_jobs.middleware.Middleware",
        ),
        (
            {"ADMIN": {"MODEL_ADMIN": "unfold.Missing"}},
            "E012",
            "DJANGO_JOBS['ADMIN']['MODEL_ADMIN'] is 'unfold.Missing'",
        ),
        ({"ADMIN": {"MODEL_ADMIN": "os.path.join"}}, "E012", "is not a subclass of django.contrib.admin.options."),
        ({"ADMIN": {"MODEL_ADMIN": "builtins.dict"}}, "E012", "is not a subclass of"),
        ({"RESULTS": {"STORE": "nowhere.Store"}}, "E013", "'nowhere.Store', which cannot be imported"),
        ({"RESULTS": {"OPTIONS": {"PATIENT": 1}}}, "E013", "Did you mean 'PATIENCE'? Known: PATIENCE, TIMEOUT."),
        ({"RESULTS": {"OPTIONS": {"TIMEOUT": 0}}}, "E013", "['TIMEOUT'] must be a timedelta or a number of seconds"),
        ({"RESULTS": {"OPTIONS": {"TIMEOUT": "5"}}}, "E013", "above 0, not '5'."),
        ({"RESULTS": {"STORE": "builtins.dict"}}, "E013", "is not a subclass of django_jobs.results.base.BaseStore"),
    ],
)
def test_classes_that_cannot_be_used(said: Said, given: Any, number: str, says: str):
    assert says in one(said(**given), number)


# E016: modules


@pytest.mark.parametrize("path", ["no.such.module", "tests.core.nothing", "os.path.nothing", ".relative", "a..b", "a."])
def test_a_module_that_is_not_there(said: Said, path: str):
    found = said(AUTODISCOVER=["jobs", path, "tests.core.tasks"])
    assert one(found, "E016") == f"DJANGO_JOBS['AUTODISCOVER'] names {path!r}, and there is no such module. "


@pytest.mark.parametrize("command", ["check", "runworker --no-reload"])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{'ADMIN': {'MODEL_ADMIN': 'nope.X'}}", "E012"),
        ("{'ADMIN': {'MODEL_ADMIN': 'os.path.join'}}", "E012"),
        ("{'AUTODISCOVER': ['no.such.module']}", "E016"),
    ],
)
def test_a_path_to_nowhere_is_no_traceback(tmp_path: Path, given: str, says: str, command: str):
    done = run_with(given, tmp_path, command)
    assert done.returncode in (1, 2)
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# E015: leases


@pytest.mark.parametrize(
    ("heartbeat", "lease", "is_right"), [(5, 20, True), (5, 10, True), (5, 9, False), (30, 20, False)]
)
def test_a_lease_outlives_a_heartbeat(said: Said, heartbeat: int, lease: int, is_right: bool):
    found = said(WORKER={"HEARTBEAT": heartbeat, "LEASE": lease})
    if is_right:
        assert found == []
    else:
        assert f"LEASE ({lease} s) is shorter than two HEARTBEATs of {heartbeat} s." in one(found, "E015")


# W002: runworker


def test_a_runworker_of_another_app(said: Said, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Channels, for one, has a command of that name."""
    commands = tmp_path / "canals/management/commands"
    commands.mkdir(parents=True)
    for directory in (tmp_path / "canals", commands.parent, commands):
        (directory / "__init__.py").write_text("")
    (commands / "runworker.py").write_text("raise AssertionError('a check has imported a command')")
    monkeypatch.syspath_prepend(tmp_path)
    installed = settings.INSTALLED_APPS
    known: Any = get_commands
    settings.INSTALLED_APPS = [*installed, "canals"]
    known.cache_clear()
    try:
        assert said() == [], "the first app in INSTALLED_APPS owns the name"
        settings.INSTALLED_APPS = ["canals", *installed]
        known.cache_clear()
        text = one(said(), "W002")
        assert "manage.py runworker is the command of canals, not of django_jobs." in text
        assert "manage.py jobsworker" in text
    finally:
        settings.INSTALLED_APPS = installed
        known.cache_clear()


# W004: settings of Celery


def test_settings_of_celery(said: Said, settings: Settings):
    settings.CELERY_BROKER_URL = "redis://localhost"
    settings.CELERY_TASK_ALWAYS_EAGER = True
    settings.CELERY_OF_OUR_OWN = 1
    text = one(said(), "W004")
    assert "CELERY_BROKER_URL, CELERY_OF_OUR_OWN, CELERY_TASK_ALWAYS_EAGER" in text
    assert "CELERY_BROKER_URL: DJANGO_JOBS['BROKER']; CELERY_OF_OUR_OWN: nothing reads it" in text


# I001: a module that nobody looks into


@pytest.mark.parametrize(
    ("text", "is_said"),
    [
        ("from django_jobs import job\n", True),
        ("import django_jobs as dj\n", True),
        ("def f():\n    from django_jobs.context import current_job\n", True),
        ("from celery import shared_task\n", False),
        ("# from django_jobs import job\n", False),
        ("from django_jobs_other import job\n", False),
        ("this is not Python", False),
    ],
)
@pytest.mark.parametrize("file", ["tasks.py", "tasks/__init__.py"])
def test_a_tasks_module_that_is_not_looked_into(
    said: Said, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, is_said: bool
):
    (tmp_path / "depot/tasks").mkdir(parents=True)
    (tmp_path / "depot/__init__.py").write_text("")
    (tmp_path / "depot" / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "depot", raising=False)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "depot"]
    if is_said:
        assert "depot.tasks uses django_jobs, but is not looked into for tasks. Rename it to jobs.py" in one(
            said(), "I001"
        )
    else:
        assert said() == []
    assert said(AUTODISCOVER=["jobs", "tasks"]) == []
    assert said(AUTODISCOVER=["jobs", "depot.tasks"]) == []
    assert "depot.tasks" not in sys.modules


def test_every_number_is_said_once_and_tested():
    here = Path(__file__).parent
    assert numbers_in(*Path(checks.__file__).parent.glob("*.py")) == numbers_in(*here.glob("test_*checks*.py"))


def numbers_in(*paths: Path) -> set[str]:
    return {number for path in paths for number in re.findall(r'"([EWI]\d\d\d)"', path.read_text())}
