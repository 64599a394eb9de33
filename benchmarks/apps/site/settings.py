"""A small Django project for the contenders that live in one: django_jobs and Celery."""

from __future__ import annotations

from typing import Any

from benchmarks.scenario import Scenario

_scenario = Scenario.from_environment()
_variant = _scenario.variant

SECRET_KEY = "only for benchmarks"
DEBUG = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]

DATABASES: dict[str, dict[str, Any]] = {}
if _variant.needs_postgresql:
    _address = _scenario.require_postgresql()
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _address.host,
        "PORT": _address.port,
        "USER": _address.user,
        "NAME": _address.database,
        # The most favourable setting for a worker that opens connections by job.
        "CONN_MAX_AGE": None,
    }
else:
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _scenario.sqlite_path,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }

if _variant.contender == "django_jobs":
    INSTALLED_APPS += ["django_jobs", "benchmarks.apps.site"]
    DJANGO_JOBS = {
        "BROKER": _scenario.redis_url if _variant.broker == "redis" else "database://default",
        "TASKS": {"*": {"ignore_result": _variant.results == "none"}},
    }
elif _variant.contender == "celery":
    INSTALLED_APPS += ["django_celery_results"]
