"""The form of a periodic task: what it can say, and what is wrong with it before beat finds out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import escape
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_jobs.admin.periodic_schedule import ScheduleField
from django_jobs.admin.presentation import Bare
from django_jobs.conf import settings
from django_jobs.models import PeriodicTask
from django_jobs.options import DEFAULT_QUEUE
from django_jobs.registry import RegisteredTask, registry

if TYPE_CHECKING:
    _Form = forms.ModelForm[PeriodicTask]
else:
    _Form = forms.ModelForm

#: What is judged together: a change of one of these may make the others wrong.
CONCERNS = (
    frozenset({"task", "args", "kwargs"}),
    frozenset({"schedule", "timezone", "starts", "ends", "one_off"}),
)
JSON_FIELDS = ("args", "kwargs", "headers")


def task_choices(current: str) -> list[tuple[str, Any]]:
    """Return the tasks of this process; the one that is set stays among them whatever has become of it."""
    choices: list[tuple[str, Any]] = [(name, name) for name in registry.names()]
    known = registry.get(current)
    if current and known is None:
        choices.insert(0, (current, _("%(task)s (no such task)") % {"task": current}))
    elif known is not None and known.name != current:
        choices.insert(0, (current, _("%(alias)s (now %(task)s)") % {"alias": current, "task": known.name}))
    return [("", "---------"), *choices]


def about_task(name: str) -> str:
    """Say how a task is called, and what it does; empty: it is not known."""
    task = registry.get(name)
    return "" if task is None else described(task)


def described(task: RegisteredTask) -> str:
    """Return the signature of a task, and the first line of its docstring."""
    doc = (inspect.getdoc(task.function) or "").partition("\n")[0]
    plain = task.call_signature.replace(
        parameters=[_without_quotes(parameter) for parameter in task.call_signature.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )
    call = Truncator(f"{task.name.rpartition('.')[2]}{plain}").chars(200)
    return f"{call} – {doc}" if doc else call


def _without_quotes(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter whose annotation is shown as it is written; as text it would be shown as text."""
    annotation = parameter.annotation
    return parameter.replace(annotation=Bare(annotation)) if isinstance(annotation, str) else parameter


def queue_names() -> list[str]:
    """Return the queues that settings and tasks name."""
    return sorted({DEFAULT_QUEUE, *settings.top["QUEUES"], *(task.options.queue for task in registry)})


class SuggestingInput(forms.TextInput):
    """A text with suggestions, which may be something else all the same. Searched as it is typed, by the browser."""

    template_name = "admin/django_jobs/periodic_suggesting.html"

    def __init__(self, suggestions: Callable[[], Iterable[str]]) -> None:
        super().__init__({"autocomplete": "off", "spellcheck": "false", "size": 24})
        self.suggestions = suggestions

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Return what the template shows."""
        context = super().get_context(name, value, attrs)
        list_id = f"{context['widget']['attrs'].get('id', name)}_suggestions"
        context["widget"]["attrs"]["list"] = list_id
        context["widget"] |= {"list_id": list_id, "suggestions": list(self.suggestions())}
        return context


class PeriodicTaskForm(_Form):
    """A row, as somebody edits it."""

    schedule = ScheduleField(label=gettext_lazy("Schedule"))

    class Meta:
        model = PeriodicTask
        fields = "__all__"
        widgets = {
            **dict.fromkeys(
                JSON_FIELDS, forms.Textarea({"rows": 2, "cols": 60, "class": "dj-json", "spellcheck": "false"})
            ),
            "description": forms.Textarea({"rows": 2, "cols": 60}),
            "timezone": SuggestingInput(lambda: sorted(available_timezones())),
            "queue": SuggestingInput(queue_names),
        }
        labels = {"catch_up": gettext_lazy("Catch up")}
        help_texts = {
            "expires": gettext_lazy(
                "Seconds after the moment at which a job that has not started is revoked. Empty: the task's."
            )
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._name_zone()
        if "task" not in self.fields:
            return  # somebody who may only look
        current = str(self.initial.get("task") or "")
        task = self.fields["task"]
        task.widget = forms.Select(choices=task_choices(current))
        # The admin takes a help text for HTML, and the defaults of parameters are anything.
        task.help_text = escape(about_task(current))
        self.fields["timezone"].widget.attrs["placeholder"] = timezone.get_default_timezone_name()

    def _name_zone(self) -> None:
        """Say in which zone moments are typed: in that of the page, whatever that of the schedule is."""
        for name in {"starts", "ends"} & self.fields.keys():
            field = self.fields[name]
            zone = timezone.get_current_timezone_name()
            field.help_text = _("%(what)s In the time zone %(zone)s.") % {"what": field.help_text, "zone": zone}

    def clean_schedule(self) -> str:
        """Leave a text as it was when the fields still say the same."""
        text = str(self.cleaned_data["schedule"])
        if self.instance.pk and not self.fields["schedule"].has_changed(self._before("schedule"), text):
            return str(self._before("schedule"))
        return text

    def clean_name(self) -> str:
        """Refuse a name that another row has, in the database that the rows are in."""
        name = str(self.cleaned_data["name"])
        others = PeriodicTask.objects.using(settings.database).exclude(pk=self.instance.pk)
        if others.filter(name=name).exists():
            raise ValidationError(_("There is a periodic task of this name."), code="unique")
        return name

    def validate_unique(self) -> None:
        """Do nothing: the name is the only unique field, and was looked for where the rows are."""

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded | {field for field in self.fields if not self._stops(field)}

    def _stops(self, field: str) -> bool:
        """
        Say whether what is wrong with a field stops the form from being saved.

        What was wrong before and is not touched does not: a row whose task is gone can still be disabled.
        """
        changed = set(self.changed_data)
        if not self.instance.pk or ("enabled" in changed and self.cleaned_data.get("enabled")):
            return True
        concerned = next((fields for fields in CONCERNS if field in fields), frozenset({field}))
        return bool(changed & concerned)

    def _before(self, name: str) -> Any:
        return self.initial.get(name, "")
