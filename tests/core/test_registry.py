"""From a name to a task."""

from __future__ import annotations

import importlib
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from django_jobs.celery_names import ATTRIBUTES
from django_jobs.exceptions import JobsConfigurationError, UnknownTask
from django_jobs.registry import Registry, autodiscover, registry
from django_jobs.task import Task, job
from tests.core import tasks

Make = Callable[..., Task[..., Any]]


def test_a_task_is_found_by_name_and_alias(task_of: Make):
    task = task_of(tasks.add, aliases=["old.add", "older.add"])
    assert task.name == "tests.core.tasks.add"
    assert [registry[name] for name in ("tests.core.tasks.add", "old.add", "older.add")] == [task] * 3
    assert "tests.core.tasks.add" in registry.names()
    assert "old.add" not in registry.names()
    assert "old.add" in registry


def test_a_task_may_have_another_name(task_of: Make):
    assert registry[task_of(tasks.add, name="sum").name].function is tasks.add
    assert "tests.core.tasks.add" not in registry


def test_an_unknown_name_is_answered_with_the_nearest(task_of: Make):
    task_of(tasks.add)
    assert registry.get("tests.core.tasks.ad") is None
    with pytest.raises(UnknownTask) as caught:
        registry["tests.core.tasks.ad"]
    assert str(caught.value) == "No task is called 'tests.core.tasks.ad'. Did you mean 'tests.core.tasks.add'?"


@pytest.mark.parametrize("options", [{"name": "tests.core.tasks.add"}, {"aliases": ["tests.core.tasks.add"]}])
def test_two_tasks_with_one_name_are_an_error(task_of: Make, options: dict[str, Any]):
    task_of(tasks.add)
    with pytest.raises(JobsConfigurationError) as caught:
        task_of(tasks.returns, **options)
    assert "tests.core.tasks.add and tests.core.tasks.returns" in str(caught.value)
    assert "tests.core.tasks.returns" not in registry, "a task that is refused leaves no trace"


def test_the_same_function_twice_is_an_error(task_of: Make):
    task_of(tasks.add)
    with pytest.raises(JobsConfigurationError, match="Two tasks are called"):
        task_of(tasks.add)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write modules that can be imported until the test ends."""
    monkeypatch.syspath_prepend(tmp_path)
    before, known = set(sys.modules), set(registry.names())

    def write(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]
    for name in set(registry.names()) - known:
        registry.unregister(registry[name])


TASK = "from django_jobs import job\n@job{options}\ndef {name}():\n    pass\n"


def test_a_module_that_is_loaded_again_may_declare_its_tasks_again(project: Callable[..., None]):
    project("reloaded.py", TASK.format(options="(aliases=['was', 'gone'])", name="f"))
    module = importlib.import_module("reloaded")
    first = registry["reloaded.f"]
    project("reloaded.py", TASK.format(options="(aliases=['was'])", name="f") + "# longer, so that it is read again\n")
    importlib.reload(module)
    assert registry["reloaded.f"] is registry["was"] is not first
    assert "gone" not in registry, "an alias that was dropped is gone"


def test_one_name_twice_in_a_module_is_an_error(project: Callable[..., None]):
    project("twice.py", TASK.format(options="", name="f") + TASK.format(options="", name="f"))
    with pytest.raises(JobsConfigurationError, match=r"Two tasks are called 'twice\.f'"):
        importlib.import_module("twice")


def test_one_module_under_two_paths_makes_two_tasks(project: Callable[..., None]):
    project("place/__init__.py", "")
    project("place/mod.py", TASK.format(options="", name="f"))
    importlib.import_module("place.mod")
    assert "place.mod.f" in registry


# What cannot be a task


def nested() -> Callable[..., Any]:
    def inner() -> None:
        pass

    return inner


class Callable_:
    def __call__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (nested(), "a worker could not import it"),
        (lambda: None, "a worker could not import it"),
        (tasks.Holder.method, "Move it to the top of its module"),
        (tasks.Holder.static, "Move it to the top of its module"),
        (tasks.numbers, "generator"),
        (tasks.anumbers, "generator"),
        (Callable_(), "decorates functions"),
        (tasks.Holder, "decorates functions"),
        (len, "decorates functions"),
        (staticmethod(tasks.add), "decorates functions"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_a_worker_could_not_import_is_refused(function: Any, says: str):
    with pytest.raises(JobsConfigurationError, match=says):
        job(function)


def test_a_function_of_a_script_is_refused_unless_it_has_a_name(task_of: Make):
    script = types.FunctionType(tasks.add.__code__, {}, "add")
    script.__module__ = "__main__"
    script.__qualname__ = "add"
    with pytest.raises(JobsConfigurationError, match="in a script"):
        job(script)
    assert task_of(script, name="script.add").name == "script.add"


def test_a_task_is_not_decorated_twice(task_of: Make):
    task = task_of(tasks.add)
    with pytest.raises(JobsConfigurationError, match="is a task already"):
        job(task)


def test_a_bound_task_needs_a_first_parameter():
    with pytest.raises(JobsConfigurationError, match="its first parameter must take the running job"):
        job(bind=True)(tasks.keyword_only)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prioritty": 5}, "Did you mean 'priority'"),
        ({"acks_late": True}, "with max_deliveries=1 it does not run again"),
        ({"link": None}, "apply_async(link=...), or task.s(...).link(...); for every call connect to the signal"),
        ({"link_error": None}, "apply_async(link_error=...), or task.s(...).on_error(...)"),
        (
            {"priority": 500},
            "@job of tests.core.tasks.add: The option priority must be a whole number from -100",
        ),
        ({"sensitive": ["passwort"]}, "'passwort', which is not an argument of it"),
        ({"sensitive": ["bb"]}, "Did you mean 'b'"),
    ],
)
def test_a_wrong_option_is_an_error_where_it_is_written(options: dict[str, Any], says: str):
    with pytest.raises(JobsConfigurationError) as caught:
        job(**options)(tasks.add)
    assert says in str(caught.value)
    assert "tests.core.tasks.add" not in registry


def test_a_task_that_takes_any_keyword_may_hide_any(task_of: Make):
    assert task_of(tasks.anything, sensitive=["token"]).options.sensitive == ["token"]


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_what_a_task_of_celerys_has_is_answered_with_what_to_use(task_of: Make, name: str):
    task = task_of(tasks.add)
    assert not hasattr(task, name)
    with pytest.raises(AttributeError) as caught:
        getattr(task, name)
    assert str(caught.value) == f"The task tests.core.tasks.add has no {name!r}. {ATTRIBUTES[name]}"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dely", "has no 'dely'. Did you mean 'delay'?"),
        ("max_retries", "has no 'max_retries'. It is an option: options.max_retries."),
        ("acks_late", "has no 'acks_late'. Delivery is at least once by lease"),
        ("quux", "The task tests.core.tasks.add has no 'quux'."),
        ("_private", "_private"),
    ],
)
def test_what_a_task_does_not_have(task_of: Make, name: str, says: str):
    with pytest.raises(AttributeError, match=re.escape(says)):
        getattr(task_of(tasks.add), name)


def test_the_attributes_of_a_function_do_not_replace_those_of_its_task(task_of: Make):
    def add(a: int) -> int:
        return a

    add.__qualname__ = "add_with_attributes"
    add.name = add._options = add.colour = "odd"  # type: ignore[attr-defined]
    task = task_of(add)
    assert task.name == f"{__name__}.add_with_attributes"
    assert task.options.queue == "default"
    assert task.colour == "odd"  # type: ignore[attr-defined]


# Discovery


@pytest.fixture
def app(project: Callable[..., None], settings: Settings) -> Callable[..., None]:
    project("shelf/__init__.py", "")

    def install() -> None:
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "shelf"]

    project.install = install  # type: ignore[attr-defined]
    return project


def test_jobs_of_a_module_are_found_when_apps_are_loaded(app: Any):
    app("shelf/jobs.py", TASK.format(options="", name="f"))
    app.install()
    assert "shelf.jobs.f" in registry


def test_jobs_of_a_package_are_found_in_every_module(app: Any):
    app("shelf/jobs/__init__.py", TASK.format(options="", name="root"))
    app("shelf/jobs/mail.py", TASK.format(options="", name="send"))
    app("shelf/jobs/deep/__init__.py", "")
    app("shelf/jobs/deep/down.py", TASK.format(options="", name="dig"))
    app("shelf/jobs/__main__.py", "raise SystemExit('this is a program')")
    app.install()
    autodiscover()
    assert {"shelf.jobs.root", "shelf.jobs.mail.send", "shelf.jobs.deep.down.dig"} <= set(registry.names())


def test_other_modules_and_dotted_paths_are_found(app: Any, settings: Settings):
    app("shelf/tasks.py", TASK.format(options="", name="f"))
    app("elsewhere/__init__.py", "")
    app("elsewhere/work.py", TASK.format(options="", name="g"))
    app.install()
    settings.DJANGO_JOBS = {"AUTODISCOVER": ["tasks", "elsewhere.work"]}
    autodiscover()
    assert {"shelf.tasks.f", "elsewhere.work.g"} <= set(registry.names())


@pytest.mark.parametrize("text", ["import nowhere_at_all", "1 / 0"])
def test_an_error_in_a_module_of_jobs_is_raised_as_it_is(app: Any, text: str):
    app("shelf/jobs.py", text)
    with pytest.raises((ModuleNotFoundError, ZeroDivisionError)):
        app.install()


def test_a_registry_goes_by_name(task_of: Make):
    own = Registry()
    own.register(task_of(tasks.returns, aliases=["a"]))
    own.register(task_of(tasks.add))
    assert own.names() == ["tests.core.tasks.add", "tests.core.tasks.returns"]
    own.unregister(own["a"])
    assert own.names() == ["tests.core.tasks.add"]
    assert "a" not in own
