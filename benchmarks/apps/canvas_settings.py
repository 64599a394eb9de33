"""A project for canvases: BENCHMARK_DATABASE is the URL of a PostgreSQL, BENCHMARK_BROKER that of the broker."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

_parts = urlsplit(os.environ["BENCHMARK_DATABASE"])

SECRET_KEY = "only for benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_jobs", "benchmarks.apps.canvases"]
DJANGO_JOBS = {"BROKER": os.environ["BENCHMARK_BROKER"]}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _parts.hostname,
        "PORT": _parts.port,
        "USER": _parts.username,
        "NAME": _parts.path.lstrip("/"),
        "CONN_MAX_AGE": None,
    }
}
