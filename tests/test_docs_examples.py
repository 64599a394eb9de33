"""Every Python example of the README and of the guide is compiled, and run: its jobs, too."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from django_jobs import send_job, serializers
from django_jobs.beat.declared import mistakes
from django_jobs.conf import JobsSettings
from django_jobs.outcome import Failed, Ignored, Outcome, Rejected, Replaced, Succeeded
from django_jobs.registry import registry
from django_jobs.testing import capture_jobs, eager
from tests.app.jobs import add, fails

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.rst"), *(ROOT / "docs/guide").glob("*.rst"), ROOT / "README.md"])
#: Examples of other pages are run by their own tests.
ELSEWHERE = {"testing.rst"}
#: What else than success their examples show.
OTHER_ENDS: dict[str, tuple[type[Outcome], ...]] = {"canvas.rst": (Failed, Replaced)}
RUN = [page for page in PAGES if page.name not in ELSEWHERE]


class Example:
    """A block of Python on a page. Its first line may name the file that it stands in."""

    def __init__(self, page: Path, line: int, text: str) -> None:
        self.place = f"{page.name}:{line}"
        self.text = text
        named = re.match(r"# (\S+)\.py\n", text)
        self.module = named[1].replace("/", ".") if named else ""
        # Errors point to the line on the page.
        tree = ast.increment_lineno(ast.parse(text, self.place), line - 1)
        self.code = compile(tree, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def examples_of(page: Path) -> list[Example]:
    source = page.read_text() + "\n"
    if page.suffix == ".md":
        pattern = r"^```python\n((?:.*\n)*?)```"
    else:
        pattern = r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)"
    return [
        Example(page, source[: found.start(1)].count("\n") + 1, dedent(found[1]).strip() + "\n")
        for found in re.finditer(pattern, source, re.MULTILINE)
    ]


@pytest.fixture
def pages_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The modules that a page's examples make; gone after it, with their tasks and types."""
    modules: dict[str, ModuleType] = {}
    for table in ("_by_class", "_by_name"):
        monkeypatch.setattr(serializers, table, dict(getattr(serializers, table)))
    before = set(sys.modules)
    yield modules
    for task in list(registry):
        if task.function.__module__ in (*modules, "loose"):
            registry.unregister(task)
    for name in set(modules) - before:
        sys.modules.pop(name, None)


def module_named(name: str, modules: dict[str, ModuleType]) -> ModuleType:
    """Make a module that examples can import, with the packages above it."""
    for end in range(1, name.count(".") + 2):
        path = ".".join(name.split(".")[:end])
        if path not in modules:
            modules[path] = sys.modules[path] = ModuleType(path)
            modules[path].__path__ = []
    return modules[name]


def run(example: Example, namespace: dict[str, Any]) -> None:
    """Run an example; one with await in it on an event loop."""
    value = eval(example.code, namespace)
    if inspect.iscoroutine(value):
        asyncio.run(value)


def check_settings(example: Example) -> None:
    """Run an example of settings.py, and see that the settings are right."""
    namespace: dict[str, Any] = {"INSTALLED_APPS": []}
    run(example, namespace)
    with override_settings(DJANGO_JOBS=namespace.get("DJANGO_JOBS", {})):
        assert JobsSettings().problems() == [], example.place
        assert mistakes() == [], example.place


def test_there_are_examples() -> None:
    assert sum(len(examples_of(page)) for page in RUN) > 35


def run_page(page: Path, modules: dict[str, ModuleType]) -> None:
    """Run a page from its first example to its last."""
    loose: dict[str, Any] = {"__name__": "loose"}
    for example in examples_of(page):
        if example.module == "settings":
            check_settings(example)
        elif example.module:
            namespace = vars(module_named(example.module, modules))
            run(example, namespace)
            loose |= {name: value for name, value in namespace.items() if not name.startswith("_")}
        else:
            run(example, loose)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_examples_run(page: Path, pages_modules: dict[str, ModuleType]) -> None:
    with eager() as jobs:
        run_page(page, pages_modules)
    assert {type(ended.outcome) for ended in jobs.runs} <= {Succeeded, *OTHER_ENDS.get(page.name, ())}


#: Jobs that a page defines and does not send: page, task, arguments, how it ends.
CALLS: list[tuple[str, str, tuple[Any, ...], type[Outcome]]] = [
    ("tasks.rst", "shop.jobs.build_report", (2026,), Succeeded),
    ("tasks.rst", "shop.jobs.charge", (7,), Succeeded),
    ("tasks.rst", "shop.imports.import_rows", (["a", "b"],), Succeeded),
    ("tasks.rst", "shop.imports.who_am_i", (), Succeeded),
    ("tasks.rst", "shop.cards.collect", ("DE00", 100), Succeeded),
    ("retries.rst", "shop.jobs.fetch_rates", (), Succeeded),
    ("retries.rst", "shop.mails.send_mail_slowly", (False,), Succeeded),
    ("retries.rst", "shop.mails.send_mail_slowly", (True,), Failed),
    ("retries.rst", "shop.stock.order_stock", (7,), Succeeded),
    ("retries.rst", "shop.stock.order_stock", (0,), Ignored),
    ("retries.rst", "shop.stock.order_stock", (-1,), Rejected),
    ("retries.rst", "shop.reports.fetch_report", (), Succeeded),
    ("retries.rst", "shop.reports.fetch_page", (), Succeeded),
    ("results.rst", "shop.exports.export", (3,), Succeeded),
    ("logging.rst", "shop.jobs.tidy_up", (), Succeeded),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("page", "task", "args", "end"), CALLS)
def test_jobs_of_examples_end_as_the_page_says(
    page: str, task: str, args: tuple[Any, ...], end: type[Outcome], pages_modules: dict[str, ModuleType]
) -> None:
    with eager() as jobs:
        run_page(ROOT / "docs/guide" / page, pages_modules)
        jobs.runs.clear()
        send_job(task, args)
    assert type(jobs.runs[-1].outcome) is end
    assert len(jobs.runs) == (5 if end is Failed else 1), "send_mail_slowly has four retries"


@pytest.mark.django_db(transaction=True)
def test_an_instance_travels_to_the_job_that_takes_one(pages_modules: dict[str, ModuleType]) -> None:
    user = User.objects.create(username="ada", email="ada@example.com")
    with eager() as jobs:
        run_page(ROOT / "docs/guide/tasks.rst", pages_modules)
        assert send_job("shop.photos.resize_avatar", (user,)).get() == "ada at 200"
        assert send_job("shop.jobs.send_welcome", (user.pk,)).get() == "ada@example.com"
        user.delete()
        assert send_job("shop.jobs.send_welcome", (999,)).failed()
    assert len(jobs.runs) == 3


@pytest.mark.django_db(transaction=True)
def test_the_middleware_of_the_guide_carries_its_id(pages_modules: dict[str, ModuleType]) -> None:
    with eager():
        run_page(ROOT / "docs/guide/middleware.rst", pages_modules)
    middleware = pages_modules["shop.middleware"]
    with override_settings(DJANGO_JOBS={"MIDDLEWARE": ["shop.middleware.RequestId"]}), capture_jobs() as jobs:
        token = middleware.request_id.set("d41d8c")
        add.delay(1, 2)
        middleware.request_id.reset(token)
        (sent,) = jobs.assert_enqueued(add)
        assert sent.headers == {"request_id": "d41d8c"}
        (ended,) = jobs.drain()
        assert isinstance(ended.outcome, Succeeded)


@pytest.mark.django_db(transaction=True)
def test_the_receiver_of_the_guide_hears_of_failures(pages_modules: dict[str, ModuleType]) -> None:
    with capture_jobs() as jobs:
        run_page(ROOT / "docs/guide/middleware.rst", pages_modules)
        fails.delay()
        jobs.drain(propagate=False)
    assert pages_modules["shop.receivers"].failures == ["tests.app.jobs.fails: ValueError"]
