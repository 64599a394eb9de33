"""A project for beat: its database is named by BENCHMARK_DATABASE, a URL or the path of an SQLite file."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

SECRET_KEY = "only for benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_jobs", "tests.app"]
DJANGO_JOBS = {"BROKER": "database://default"}

_place = os.environ["BENCHMARK_DATABASE"]
DATABASES: dict[str, dict[str, Any]] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _place}}
if "://" in _place:
    _parts = urlsplit(_place)
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _parts.hostname,
        "PORT": _parts.port,
        "USER": _parts.username,
        "NAME": _parts.path.lstrip("/"),
    }
