"""
The settings of the project whose jobs go through the faults.

CHAOS in the environment holds JSON: "database" (a URL) and "jobs" (DJANGO_JOBS).
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

try:
    import MySQLdb  # noqa: F401
except ImportError:
    import pymysql

    pymysql.version_info = (2, 2, 7, "final", 0)  # what Django asks mysqlclient for
    pymysql.install_as_MySQLdb()

GIVEN: dict[str, Any] = json.loads(os.environ.get("CHAOS", '{"database": "sqlite:////tmp/chaos", "jobs": {}}'))


def database(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        # Django's defaults, and the journal that the checks recommend.
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": parts.path,
            "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"},
        }
    engine = {"postgres": "django.db.backends.postgresql", "mysql": "django.db.backends.mysql"}[parts.scheme]
    return {
        "ENGINE": engine,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": parts.username or "",
        "NAME": parts.path.lstrip("/"),
        "OPTIONS": {"charset": "utf8mb4"} if parts.scheme == "mysql" else {"connect_timeout": 5},
    }


DATABASES = {"default": database(GIVEN["database"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django_jobs", "tests.chaos.site"]
SECRET_KEY = "for the tests only"
USE_TZ = True
TIME_ZONE = "UTC"
DJANGO_JOBS = GIVEN["jobs"]
