"""The result store of this process, made from ``DJANGO_JOBS["RESULTS"]`` on first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_jobs.conf import SETTING, settings
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.results.base import BaseStore

_lock = threading.Lock()
_store: BaseStore | None = None
_substitute: BaseStore | None = None


def get_store() -> BaseStore:
    """Return the project's result store. Making it opens no connection. Raises JobsConfigurationError."""
    global _store
    store = _substitute or _store
    if store is None:
        with _lock:
            if _store is None:
                _store = _make_store()
            store = _store
    return store


@contextmanager
def use_store(store: BaseStore) -> Iterator[BaseStore]:
    """Let this be the project's result store inside the block, whatever the settings say; for tests."""
    global _substitute
    before, _substitute = _substitute, store
    try:
        yield store
    finally:
        _substitute = before


def _make_store() -> BaseStore:
    section = settings.section("RESULTS")
    path = section["STORE"]
    try:
        cls = import_string(path)
    except ImportError as error:
        raise JobsConfigurationError(f"The result store {path!r} cannot be imported: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, BaseStore)):
        raise JobsConfigurationError(
            f"The result store {path!r} is not a subclass of {BaseStore.__module__}.{BaseStore.__qualname__}."
        )
    store: BaseStore = cls(using=settings.database, options=dict(section["OPTIONS"]))
    return store


def _forget(*, setting: str, **kwargs: Any) -> None:
    global _store
    if setting == SETTING:
        _store = None


setting_changed.connect(_forget, dispatch_uid="django_jobs.results")


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent's may have held it at the fork, and is not here


os.register_at_fork(after_in_child=_renew_lock)
