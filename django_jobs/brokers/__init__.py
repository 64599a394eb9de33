"""The broker of this process, made from ``DJANGO_JOBS["BROKER"]`` on first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_jobs.brokers.base import BaseBroker
from django_jobs.conf import SETTING, nearest, settings
from django_jobs.exceptions import JobsConfigurationError

_REDIS = "django_jobs.brokers.redis.broker.RedisBroker"
_DATABASE = "django_jobs.brokers.database.broker.DatabaseBroker"

#: What each kind of URL is served by. A broker of one's own is named by BACKEND.
SCHEMES: Mapping[str, str] = {
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
    "redis+sentinel": _REDIS,
    "redis+cluster": _REDIS,
    "cache": _REDIS,
    "database": _DATABASE,
}

_lock = threading.Lock()
_broker: BaseBroker | None = None
_substitute: BaseBroker | None = None


def get_broker() -> BaseBroker:
    """Return the project's broker. Making it opens no connection. Raises JobsConfigurationError."""
    global _broker
    broker = _substitute or _broker
    if broker is None:
        with _lock:
            if _broker is None:
                _broker = make_broker(settings.broker)
            broker = _broker
    return broker


@contextmanager
def use_broker(broker: BaseBroker) -> Iterator[BaseBroker]:
    """Let this be the project's broker inside the block, whatever the settings say; for tests."""
    global _substitute
    before, _substitute = _substitute, broker
    try:
        yield broker
    finally:
        _substitute = before


def make_broker(given: str | Mapping[str, Any]) -> BaseBroker:
    """Make a broker from a URL, or from a dictionary with BACKEND, LOCATION and OPTIONS."""
    if isinstance(given, str):
        backend, location, options = backend_of(given), given, {}
    else:
        backend, location, options = given["BACKEND"], given.get("LOCATION", ""), dict(given.get("OPTIONS", {}))
    if settings.top["SINGLE_SLOT"] is not None:
        options.setdefault("SINGLE_SLOT", settings.top["SINGLE_SLOT"])
    try:
        cls = import_string(backend)
    except ImportError as error:
        raise JobsConfigurationError(f"The broker {backend!r} cannot be imported: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, BaseBroker)):
        raise JobsConfigurationError(
            f"The broker {backend!r} is not a subclass of {BaseBroker.__module__}.{BaseBroker.__qualname__}."
        )
    broker: BaseBroker = cls(
        location, prefix=settings.top["PREFIX"], timeout_ms=settings.enqueue_timeout_ms, options=options
    )
    return broker


def backend_of(url: str) -> str:
    """Return the dotted path of the broker that serves a URL."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        meant = nearest(scheme, SCHEMES) if separator else ""
        raise JobsConfigurationError(
            f"{SETTING}['BROKER'] is {url!r}, which is not a broker's URL.{meant}"
            f" Expected one that starts with {', '.join(f'{name}://' for name in SCHEMES)}."
        )
    return SCHEMES[scheme]


def _forget(*, setting: str, **kwargs: Any) -> None:
    global _broker
    if setting in (SETTING, "CACHES"):
        with _lock:
            broker, _broker = _broker, None
        if broker is not None:
            broker.close()


setting_changed.connect(_forget, dispatch_uid="django_jobs.brokers")


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent's may have held it at the fork, and is not here


os.register_at_fork(after_in_child=_renew_lock)
