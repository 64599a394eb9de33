"""Name to task: the only way from a message to a function."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from inspect import Signature
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Protocol

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from django_jobs.conf import SETTING, nearest, settings
from django_jobs.exceptions import JobsConfigurationError, UnknownTask
from django_jobs.options import TaskOptions
from django_jobs.schedules import Schedule

logger = logging.getLogger("django_jobs")


#: The tasks of our own, whatever AUTODISCOVER says.
BUILT_IN = "django_jobs.jobs"


class RegisteredTask(Protocol):
    """What the rest of the package needs of a task."""

    name: str
    aliases: tuple[str, ...]
    function: Callable[..., Any]
    #: Does the function take the running job first?
    bind: bool
    is_async: bool
    #: Of the call: without the first parameter of a bound task.
    call_signature: Signature
    #: How many positional arguments a call without keywords may have, at least and at most.
    positional_bounds: tuple[int, float]
    #: When it recurs by its own declaration; None: it does not.
    schedule: Schedule | None

    @property
    def options(self) -> TaskOptions:
        """The options that are in force, the project's settings included."""
        ...


class Registry:
    """The tasks of this process."""

    def __init__(self) -> None:
        self._tasks: dict[str, RegisteredTask] = {}
        #: The import that made each task; the same module imported anew (a reload) may make it again.
        self._specs: dict[str, Any] = {}

    def register(self, task: RegisteredTask) -> None:
        """Add a task under its name and aliases. Raises JobsConfigurationError when another has one of them."""
        spec = getattr(sys.modules.get(task.function.__module__), "__spec__", None)
        for name in (task.name, *task.aliases):
            known = self._tasks.get(name)
            reloaded = known is not None and _place(known) == _place(task) and self._specs[name] is not spec
            if known is not None and not reloaded:
                raise JobsConfigurationError(
                    f"Two tasks are called {name!r}: {_place(known)} and {_place(task)}."
                    " Give one of them another name=."
                )
        for known in [self._tasks[name] for name in (task.name, *task.aliases) if name in self._tasks]:
            self.unregister(known)  # with aliases that a reload may have dropped
        for name in (task.name, *task.aliases):
            self._tasks[name] = task
            self._specs[name] = spec

    def unregister(self, task: RegisteredTask) -> None:
        """Take a task out; for tests."""
        for name in (task.name, *task.aliases):
            if self._tasks.get(name) is task:
                del self._tasks[name], self._specs[name]

    def get(self, name: str) -> RegisteredTask | None:
        """Return the task with this name or alias, or None."""
        return self._tasks.get(name)

    def __getitem__(self, name: str) -> RegisteredTask:
        """Return the task with this name or alias. Raises UnknownTask with the nearest known one."""
        task = self._tasks.get(name)
        if task is None:
            raise UnknownTask(f"No task is called {name!r}.{nearest(name, self._tasks)}")
        return task

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    def __iter__(self) -> Iterator[RegisteredTask]:
        """Go through the tasks by name; aliases are left out."""
        return (task for name, task in sorted(self._tasks.items()) if name == task.name)

    def names(self) -> list[str]:
        """Return the names of all tasks, without aliases, sorted."""
        return [task.name for task in self]


def _place(task: RegisteredTask) -> str:
    return f"{task.function.__module__}.{task.function.__qualname__}"


registry = Registry()


def missing_modules() -> list[str]:
    """Name the dotted paths in ``AUTODISCOVER`` at which there is no module."""
    return [entry for entry in settings.while_starting("AUTODISCOVER") if "." in entry and not _is_module(entry)]


def _is_module(path: str) -> bool:
    if path.startswith("."):
        return False
    try:
        return find_spec(path) is not None
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise  # a package on the way to it imports something that is not there
        return False


def autodiscover() -> None:
    """
    Import the modules that ``AUTODISCOVER`` names.

    A plain name ("jobs") is looked for in every installed app, a dotted path is imported as it is. Of a package every
    module is imported. An error inside such a module is raised as it is: a task that cannot be imported must not go
    missing silently. A dotted path at which there is nothing is left out, and said: by the checks, and in the log.
    """
    missing = missing_modules()
    if missing:
        logger.error("%s['AUTODISCOVER'] names what is no module: %s", SETTING, ", ".join(missing))
    import_module(BUILT_IN)
    for entry in settings.while_starting("AUTODISCOVER"):
        if "." in entry:
            if entry not in missing:
                _import_all(import_module(entry))
            continue
        for config in apps.get_app_configs():
            if config.module is not None and module_has_submodule(config.module, entry):
                _import_all(import_module(f"{config.name}.{entry}"))


def _import_all(module: ModuleType) -> None:
    for found in iter_modules(getattr(module, "__path__", ()), module.__name__ + "."):
        if found.name.endswith(".__main__"):
            continue  # importing it would run it
        submodule = import_module(found.name)
        if found.ispkg:
            _import_all(submodule)
