"""Values as people read them: states, moments, durations and what jobs carry. Text in, safe HTML or text out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pprint import pformat
from typing import Any

from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from django_jobs import clock
from django_jobs.serializers import TAG
from django_jobs.states import State

#: Stands where something is not for this user's eyes, and why.
HIDDEN = gettext_lazy("[hidden]")
WHY_HIDDEN = gettext_lazy("Shown to users with the permission “Can see arguments, results and tracebacks of jobs”.")
EMPTY = "–"
#: What the page shows of a value; the whole of it would only make the page slow.
READABLE_LIMIT = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a state looks: a word, an icon and a colour, never a colour alone."""

    word: str | Promise
    tone: str
    #: The icon: an SVG path on a grid of 16.
    path: str


def _look(word: str | Promise, tone: str, path: str) -> Look:
    return Look(word=word, tone=tone, path=path)


_CIRCLE = "M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8z"
_PLAY = "M5 3.2v9.6L12.8 8z"
_GLASS = "M4 2.5h8M4 13.5h8M5 2.5c0 5 6 6 6 11M11 2.5c0 5-6 6-6 11"
_AGAIN = "M13 3v3.6H9.4M12.8 6.4A5.3 5.3 0 1 0 13.2 9"
LOOKS: Mapping[str, Look] = {
    State.PENDING: _look(pgettext_lazy("state of a job", "waiting"), "waiting", _GLASS),
    State.SCHEDULED: _look(pgettext_lazy("state of a job", "scheduled"), "waiting", _CIRCLE + "M8 4.5V8l2.4 1.6"),
    State.BLOCKED: _look(pgettext_lazy("state of a job", "blocked"), "waiting", "M5.5 3.5v9M10.5 3.5v9"),
    State.STARTED: _look(pgettext_lazy("state of a job", "running"), "running", _PLAY),
    State.RETRY: _look(pgettext_lazy("state of a job", "will retry"), "retry", _AGAIN),
    State.SUCCESS: _look(pgettext_lazy("state of a job", "succeeded"), "success", "M2.8 8.6l3.4 3.4 7-7.6"),
    State.FAILURE: _look(pgettext_lazy("state of a job", "failed"), "failure", "M3.6 3.6l8.8 8.8M12.4 3.6l-8.8 8.8"),
    State.REVOKED: _look(pgettext_lazy("state of a job", "revoked"), "revoked", _CIRCLE + "M3.7 3.7l8.6 8.6"),
}
_RETRIED = _look(pgettext_lazy("state of an attempt", "retried"), "retry", _AGAIN)


def look_of(state: str) -> Look:
    """Return how a state looks. One that a task invented counts as running, under its own name."""
    return LOOKS.get(state) or _look(state, "running", _PLAY)


def status(state: str, *, past: bool = False) -> SafeString:
    """Return a state as icon and word; ``past``: of an attempt that others followed."""
    return rendered(_RETRIED if past and state == State.RETRY else look_of(state))


def rendered(look: Look) -> SafeString:
    """Return icon and word."""
    return format_html(
        '<span class="dj-status dj-status-{}"><svg class="dj-icon" viewBox="0 0 16 16" width="14" height="14"'
        ' aria-hidden="true" focusable="false"><path d="{}"></path></svg>{}</span>',
        look.tone,
        look.path,
        look.word,
    )


def local(moment: datetime) -> datetime:
    """Return a moment in the time zone of the page; as it is where the project uses no time zones."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def moment(value: datetime | None, *, short: bool = False) -> SafeString | str:
    """Return a moment as a time element. ``short``: no date if it is today's, no time zone; the title has both."""
    if value is None:
        return EMPTY
    shown = local(value)
    name = shown.tzname() or ""
    if short:
        text = shown.strftime("%H:%M:%S" if shown.date() == local(clock.now()).date() else "%Y-%m-%d %H:%M")
    else:
        text = f"{shown:%Y-%m-%d %H:%M:%S} {name}".rstrip()
    return format_html(
        '<time class="dj-time" datetime="{}" title="{}">{}</time>',
        shown.isoformat(timespec="milliseconds"),
        f"{formats.date_format(shown, 'DATETIME_FORMAT')} {name}".rstrip(),
        text,
    )


def duration(value: timedelta | None) -> str:
    """Return a length of time in at most two units."""
    if value is None:
        return EMPTY
    seconds = max(0.0, value.total_seconds())
    if seconds < 0.9995:
        return _("%(n)d ms") % {"n": round(seconds * 1000)}
    if seconds < 59.95:
        return _("%(n)s s") % {"n": formats.number_format(f"{seconds:.1f}")}
    whole = round(seconds)
    minutes, seconds_left = divmod(whole, 60)
    if minutes < 60:
        return _("%(m)d m %(s)02d s") % {"m": minutes, "s": seconds_left}
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return _("%(h)d h %(m)02d m") % {"h": hours, "m": minutes}
    return _("%(d)d d %(h)d h") % {"d": hours // 24, "h": hours % 24}


def number(value: int) -> str:
    """Return a number with its thousands apart."""
    return formats.number_format(value, force_grouping=True)


def first_line(text: str, limit: int = 120) -> str:
    """Return the first line of a text that says something, cut to a readable length."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def breakable(name: str) -> SafeString:
    """Return a name that may break after its dots, underscores and the like, and not within a word."""
    return format_html_join(
        format_html("{}<wbr>", ""), "{}", ((part,) for part in re.findall(r"[^._/:-]*[._/:-]*", name) if part)
    )


class Bare(str):
    """A text that stands for itself, without quotes, inside a value that is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def readable(encoded: str | None) -> str:
    """
    Return an encoded value as Python would write it.

    Decodes nothing: a page that shows a job must not load the models and classes its message names. What is not JSON
    (it was cut to a length, say) is returned as it is.
    """
    if not encoded:
        return ""
    try:
        text = pformat(_shown(json.loads(encoded)), width=100, sort_dicts=False)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        text = encoded
    return text if len(text) <= READABLE_LIMIT else text[:READABLE_LIMIT] + "…"


def _shown(data: Any) -> Any:
    if isinstance(data, list):
        return [_shown(item) for item in data]
    if not isinstance(data, dict):
        return data
    if TAG not in data:
        return {key: _shown(item) for key, item in data.items()}
    return _shown_tagged(str(data[TAG]), data)


def _shown_tagged(kind: str, data: Mapping[str, Any]) -> Any:
    value = data["v"]
    match kind:
        case "dict":
            return {Bare(repr(_shown(key))): _shown(item) for key, item in value}
        case "tuple":
            return tuple(_shown(item) for item in value)
        case "set" | "frozenset":
            inside = ", ".join(repr(_shown(item)) for item in value)
            return Bare(f"{kind}({{{inside}}})" if kind == "frozenset" or not value else f"{{{inside}}}")
        case "datetime" | "time":
            return Bare(f"{kind}({value[0]})")
        case "timedelta":
            return Bare(str(timedelta(days=value[0], seconds=value[1], microseconds=value[2])))
        case "model":
            return Bare(f"{data['c']} {_shown(value)!r}")
        case "enum":
            return Bare(f"{str(data['c']).rpartition(':')[2]}.{value}")
        case "dataclass":
            inside = ", ".join(f"{name}={_shown(item)!r}" for name, item in value.items())
            return Bare(f"{str(data['c']).rpartition(':')[2]}({inside})")
        case "float":
            return Bare(str(value))
    return Bare(f"{kind}({_shown(value)!r})")
