"""The app: where Django meets the package."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from django_jobs import checks as checks  # importing them registers them
from django_jobs import registry


class DjangoJobsConfig(AppConfig):
    """Finds the tasks of every installed app. Opens no connection and reads no table."""

    name = "django_jobs"
    label = "django_jobs"
    verbose_name = _("Background jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import every app's ``jobs`` module, so that names resolve in web, shell and worker alike."""
        registry.autodiscover()
