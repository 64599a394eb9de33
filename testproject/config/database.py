"""One entry of DATABASES from one URL, so that the same site runs on SQLite, PostgreSQL and MariaDB."""

from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgresql": "django.db.backends.postgresql",
    "postgres": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
}


def database_from_url(url: str) -> dict[str, Any]:
    """
    Return the DATABASES entry for ``sqlite:///path``, ``postgresql://user:password@host:port/name`` or ``mysql://...``.

    A part that is missing is left out, so that the driver's own default counts.
    """
    parts = urlsplit(url)
    if parts.scheme not in ENGINES:
        known = ", ".join(f"{scheme}://" for scheme in ENGINES)
        raise ImproperlyConfigured(f"A database URL starts with one of {known}, not with {parts.scheme!r}.")
    if parts.scheme == "sqlite":
        return {"ENGINE": ENGINES["sqlite"], "NAME": unquote(parts.path)}
    entry = {
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
    }
    return {"ENGINE": ENGINES[parts.scheme]} | {key: value for key, value in entry.items() if value}
