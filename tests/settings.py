"""Settings of the tests.

DJANGO_JOBS_TEST_DATABASE   sqlite (default), postgres or mariadb: which database is "default"
DJANGO_JOBS_TEST_BROKER     database (default) or redis: the broker of the project
DJANGO_JOBS_TEST_NAMES      {"alias": "name"}: set for processes that a test starts, so that they use its test databases
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import django

from tests.services import DATABASE_VARIABLES, take_own_redis_databases

try:
    import MySQLdb  # noqa: F401
except ImportError:
    import pymysql

    pymysql.version_info = (2, 2, 7, "final", 0)  # what Django asks mysqlclient for
    pymysql.install_as_MySQLdb()

take_own_redis_databases()


def remove_directory(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked worker that ends must not take the databases with it
        shutil.rmtree(path, ignore_errors=True)


if "DJANGO_JOBS_TEST_DIR" not in os.environ:  # inherited by every process that a test starts
    os.environ["DJANGO_JOBS_TEST_DIR"] = tempfile.mkdtemp(prefix="django-jobs-sqlite-")
    atexit.register(remove_directory, Path(os.environ["DJANGO_JOBS_TEST_DIR"]), os.getpid())
SQLITE_DIR = Path(os.environ["DJANGO_JOBS_TEST_DIR"])


def sqlite(name: str) -> dict[str, Any]:
    """Return a database in a file: the workers that tests start share it, which they could not share in memory."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(SQLITE_DIR / f"{name}.sqlite3"),
        "TEST": {"NAME": str(SQLITE_DIR / f"test_{name}.sqlite3")},
    }


def server(engine: str, url: str, **options: Any) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": engine,
        "HOST": parts.hostname,
        "PORT": parts.port or "",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "NAME": parts.path.lstrip("/"),
        "TEST": {"NAME": "test_django_jobs"},
        "OPTIONS": options,
    }


ENGINES = {"postgres": "django.db.backends.postgresql", "mariadb": "django.db.backends.mysql"}
OPTIONS: dict[str, dict[str, Any]] = {"postgres": {}, "mariadb": {"charset": "utf8mb4"}}

DATABASES: dict[str, dict[str, Any]] = {
    alias: server(ENGINES[alias], os.environ[variable], **OPTIONS[alias])
    for alias, variable in DATABASE_VARIABLES.items()
    if os.environ.get(variable)
}
DATABASES["sqlite"] = sqlite("django_jobs")
try:
    # The database that is "default" has no second alias: two aliases of one test database would be made twice.
    DATABASES["default"] = DATABASES.pop(os.environ.get("DJANGO_JOBS_TEST_DATABASE", "sqlite"))
except KeyError as error:
    raise RuntimeError(f"DJANGO_JOBS_TEST_DATABASE={error}: that server is not there; run script/test.") from None

for alias, name in json.loads(os.environ.get("DJANGO_JOBS_TEST_NAMES", "{}")).items():
    DATABASES[alias]["NAME"] = name

DATABASE_ROUTERS: list[str] = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_jobs",
    "tests.app",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "/static/"
SECRET_KEY = "for the tests only"
ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
else:
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
USE_TZ = True
TIME_ZONE = "UTC"

DJANGO_JOBS: dict[str, Any] = {}
if os.environ.get("DJANGO_JOBS_TEST_BROKER", "database") == "redis":
    DJANGO_JOBS["BROKER"] = os.environ["TEST_REDIS_URL"]
# What a test set for itself with override_settings, for the processes that it starts.
DJANGO_JOBS |= json.loads(os.environ.get("DJANGO_JOBS_TEST_SETTINGS", "{}"))
