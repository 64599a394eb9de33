"""Pages that answer when the database does not: a banner that says what to do, instead of a server error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import DatabaseError, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from django_jobs.beat.damage import Unreadable
from django_jobs.conf import settings

logger = logging.getLogger("django_jobs.admin")

P = ParamSpec("P")
A = TypeVar("A")
View = Callable[Concatenate[A, HttpRequest, P], HttpResponse]


def answers_database_errors(view: View[A, P]) -> View[A, P]:
    """Let a page of ours say that its table is missing or its database away."""

    def guarded(self: A, request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            with _savepoint():
                return view(self, request, *args, **kwargs)
        except DatabaseError as error:
            logger.exception("A page of jobs could not be read")
            return _unavailable(self, request, error)

    update_wrapper(guarded, view)
    return guarded


def _savepoint() -> AbstractContextManager[Any]:
    """Keep a transaction around the request (ATOMIC_REQUESTS) usable after an error; without one, open none."""
    alias = settings.database
    return transaction.atomic(using=alias) if connections[alias].in_atomic_block else nullcontext()


def missing_table(model: Any, using: str) -> str | None:
    """Return the name of the model's table if the database has no such table; None if it has, or does not answer."""
    table: str = model._meta.db_table
    try:
        return None if table in connections[using].introspection.table_names() else table
    except DatabaseError:
        return None


def _unavailable(model_admin: Any, request: HttpRequest, error: DatabaseError) -> HttpResponse:
    using = settings.database
    table = None if isinstance(error, Unreadable) else missing_table(model_admin.model, using)
    command = "python manage.py migrate django_jobs" + ("" if using == "default" else f" --database {using}")
    if isinstance(error, Unreadable):
        what = str(error)
    elif table is not None:
        what = _("The table %(table)s is missing in the database “%(database)s”.") % {"table": table, "database": using}
    else:
        what = _("The database “%(database)s” did not answer: %(error)s") % {"database": using, "error": error}
    context = {
        **model_admin.admin_site.each_context(request),
        "title": str(model_admin.opts.verbose_name_plural).capitalize(),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "what": what,
        "is_away": table is None and not isinstance(error, Unreadable),
        "command": command if table is not None else "",
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/django_jobs/unavailable.html", context)
