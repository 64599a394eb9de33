"""
``DJANGO_JOBS``, read on first use and forgotten when a test overrides it.

Every key is declared once, here, with its default and what it may be. Values that are of the wrong kind raise when they
are used, and are named by the system checks before that; unknown keys are for the checks alone, so that a typo never
stops a deploy half way.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from django_jobs.celery_names import setting_hint
from django_jobs.exceptions import JobsConfigurationError
from django_jobs.setting_keys import ADMIN_KEYS as ADMIN_KEYS
from django_jobs.setting_keys import BEAT_KEYS as BEAT_KEYS
from django_jobs.setting_keys import KEYS as KEYS
from django_jobs.setting_keys import QUEUE_KEYS as QUEUE_KEYS
from django_jobs.setting_keys import RESULTS_KEYS as RESULTS_KEYS
from django_jobs.setting_keys import SCHEDULE_KEYS as SCHEDULE_KEYS
from django_jobs.setting_keys import SECTIONS as SECTIONS
from django_jobs.setting_keys import WORKER_KEYS as WORKER_KEYS
from django_jobs.setting_keys import Key as Key
from django_jobs.setting_keys import as_ms as as_ms
from django_jobs.setting_keys import is_delay as is_delay

SETTING = "DJANGO_JOBS"


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """Return " Did you mean ...?" for a name that is not known, or ""; the last part of a dotted name will do."""
    full = {short: name for name in known for short in (name.rpartition(".")[2], name)}
    matches = get_close_matches(name, [*full], n=1)
    return f" Did you mean {full[matches[0]]!r}?" if matches else ""


class Section:
    """One dictionary of settings, with defaults filled in and values checked when they are read."""

    def __init__(self, path: str, keys: Mapping[str, Key], given: Mapping[str, Any]) -> None:
        self._path = path
        self._keys = keys
        self._given = given
        self._checked: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._checked:
            key = self._keys[name]
            value = self._given.get(name, key.default)
            if not key.accepts(value):
                raise JobsConfigurationError(f"{self._path}[{name!r}] must be {key.expects}, not {value!r}.")
            self._checked[name] = value
        return self._checked[name]

    def problems(self) -> list[str]:
        """Say what is wrong: unknown keys with the nearest known one, and values of the wrong kind."""
        found = []
        for name, value in self._given.items():
            if name not in self._keys:
                instead = setting_hint(f"CELERY_{name}") if self._path == SETTING else None
                hint = f" Instead: {instead}." if instead else nearest(str(name), self._keys)
                found.append(f"{self._path} has no key {name!r}.{hint} Known: {', '.join(self._keys)}.")
            elif not self._keys[name].accepts(value):
                found.append(f"{self._path}[{name!r}] must be {self._keys[name].expects}, not {value!r}.")
        return found


def _what_it_is(given: Any) -> str:
    """Say what stands where a dictionary is to be, and what was probably meant; not a text itself: it has passwords."""
    if isinstance(given, str):
        scheme, separator, _ = given.partition("://")
        return f"a text: write {SETTING} = {{'BROKER': '{scheme}://...'}}" if separator else "a text"
    return "None: leave it out for the defaults" if given is None else type(given).__name__


class JobsSettings:
    """The settings of one moment. Read through ``conf.settings``, which makes a new one after every change."""

    @cached_property
    def given(self) -> Mapping[str, Any]:
        """What the project wrote."""
        given = getattr(django_settings, SETTING, {})
        if not isinstance(given, Mapping):
            raise JobsConfigurationError(f"{SETTING} must be a dictionary, not {_what_it_is(given)}.")
        return given

    @cached_property
    def top(self) -> Section:
        """The keys of the dictionary itself."""
        return Section(SETTING, KEYS, self.given)

    def section(self, name: str) -> Section:
        """Return one of the nested dictionaries."""
        return self._sections[name]

    def while_starting(self, name: str, section: str | None = None) -> Any:
        """
        Return the value of a key, or its default where what the project wrote is wrong.

        For what is read while Django starts: raising there would give every command a traceback, ``check`` among them,
        which is to say in a sentence what is wrong.
        """
        try:
            return (self.top if section is None else self.section(section))[name]
        except JobsConfigurationError:
            return (KEYS if section is None else SECTIONS[section])[name].default

    @cached_property
    def _sections(self) -> dict[str, Section]:
        return {name: Section(f"{SETTING}[{name!r}]", keys, self.top[name]) for name, keys in SECTIONS.items()}

    @cached_property
    def broker(self) -> str | Mapping[str, Any]:
        """The broker's URL, or its dictionary."""
        value: str | Mapping[str, Any] = self.top["BROKER"]
        return value

    @cached_property
    def database(self) -> str:
        """The alias of our tables."""
        return str(self.top["DATABASE"])

    @cached_property
    def on_commit(self) -> bool:
        """Whether sending waits for the open transaction, when neither task nor call says."""
        return bool(self.top["ON_COMMIT"])

    @cached_property
    def outbox(self) -> bool:
        """Whether jobs are kept in the outbox, when neither task nor call says."""
        return bool(self.top["OUTBOX"])

    @cached_property
    def outbox_resend_ms(self) -> int:
        """How long after a relay a job in the outbox is relayed again."""
        return as_ms(self.top["OUTBOX_RESEND"])

    @cached_property
    def max_payload(self) -> int:
        """The largest message, in bytes."""
        return int(self.top["MAX_PAYLOAD"])

    @cached_property
    def enqueue_timeout_ms(self) -> int:
        """How long an enqueue may take."""
        return as_ms(self.top["ENQUEUE_TIMEOUT"])

    @cached_property
    def unknown_task_ttl_ms(self) -> int:
        """How long a job of an unknown task is kept."""
        return as_ms(self.top["UNKNOWN_TASK_TTL"])

    def worker_ms(self, name: str) -> int:
        """Return one of the durations of WORKER, in ms."""
        return as_ms(self.section("WORKER")[name])

    def beat_ms(self, name: str) -> int | None:
        """Return one of the durations of BEAT, in ms; None: for ever."""
        value = self.section("BEAT")[name]
        return None if value is None else as_ms(value)

    def results_ms(self, name: str) -> int | None:
        """Return one of the durations of RESULTS, in ms; None: for ever."""
        value = self.section("RESULTS")[name]
        return None if value is None else as_ms(value)

    def problems(self) -> list[str]:
        """Say everything that is wrong."""
        try:
            found = self.top.problems()
        except JobsConfigurationError as error:
            return [str(error)]
        for name, keys in SECTIONS.items():
            given = self.given.get(name, {})
            if isinstance(given, Mapping):
                found += Section(f"{SETTING}[{name!r}]", keys, given).problems()
        return found


class _LazySettings:
    """Stands in for the current JobsSettings, so that modules may import it before settings are ready."""

    _current: JobsSettings | None = None

    def __getattr__(self, name: str) -> Any:
        current = self._current
        if current is None:
            current = type(self)._current = JobsSettings()
        return getattr(current, name)


settings: JobsSettings = _LazySettings()  # type: ignore[assignment]


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        _LazySettings._current = None


setting_changed.connect(_forget, dispatch_uid="django_jobs.conf")
