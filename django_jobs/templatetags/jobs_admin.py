"""Tags of the admin pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import django
from django import template
from django.forms import Media
from django.template.context import Context
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from django_jobs.admin import presentation
from django_jobs.admin import workflow_words as words
from django_jobs.admin.detail import Attempt

register = template.Library()

#: Django 6.1 made the admin's breadcrumbs a list.
CRUMBS_ARE_A_LIST = django.VERSION >= (6, 1)


@register.simple_tag(takes_context=True)
def jobs_media(context: Context, media: Media) -> SafeString:
    """Return the page's assets, with the nonce of the response where its Content-Security-Policy has one."""
    nonce = context.get("csp_nonce")
    if nonce is None:
        return media.render()
    # Django 5.2 and 6.0 know no attributes here.
    return media.render(attrs={"nonce": nonce}) if CRUMBS_ARE_A_LIST else media.render()


@register.simple_tag
def jobs_crumbs(*parts: Any) -> SafeString:
    """Return breadcrumbs in the markup of this Django: pairs of address and title; without address: the page itself."""
    crumbs = [
        format_html('<a href="{}">{}</a>', url, title) if url else format_html("{}", title)
        for url, title in zip(parts[::2], parts[1::2], strict=True)
    ]
    if not CRUMBS_ARE_A_LIST:
        joined = format_html_join(" › ", "{}", ((crumb,) for crumb in crumbs))
        return format_html('<div class="breadcrumbs">{}</div>', joined)
    items = [format_html("<li>{}</li>", crumb) for crumb in crumbs[:-1]]
    items.append(format_html('<li aria-current="page">{}</li>', crumbs[-1]))
    return format_html('<ol class="breadcrumbs">{}</ol>', format_html_join("\n", "{}", ((item,) for item in items)))


@register.filter
def jobs_status(state: str) -> SafeString:
    """Return a state as icon and word."""
    return presentation.status(state)


@register.filter
def jobs_workflow_status(workflow: Any) -> SafeString:
    """Return how a workflow stands, as icon and word."""
    return presentation.rendered(words.look_of_workflow(workflow))


@register.filter
def jobs_attempt_status(attempt: Attempt) -> SafeString:
    """Return how an attempt ended."""
    return presentation.status(attempt.state, past=not attempt.is_last)


@register.filter
def jobs_moment(value: datetime | None) -> SafeString | str:
    """Return a moment with its time zone."""
    return presentation.moment(value)


@register.filter
def jobs_duration(value: timedelta | None) -> str:
    """Return a length of time."""
    return presentation.duration(value)


@register.filter
def jobs_breakable(name: str) -> SafeString:
    """Return a name that may break after its dots."""
    return presentation.breakable(name)


@register.filter
def jobs_number(value: int) -> str:
    """Return a number with its thousands apart."""
    return presentation.number(value)


@register.simple_tag
def jobs_hidden() -> SafeString:
    """Return what stands for something that this user may not see."""
    title, text = presentation.WHY_HIDDEN, presentation.HIDDEN
    return format_html('<span class="dj-hidden" title="{}">{}</span>', title, text)


@register.simple_tag
def jobs_why_hidden() -> str:
    """Return why this user may not see something."""
    return str(presentation.WHY_HIDDEN)
