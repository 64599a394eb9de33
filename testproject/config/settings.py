"""
Django settings of the gallery.

What ``django-admin startproject`` writes, on its SQLite, with these things added: the apps ``django_jobs`` and
``gallery``, ``DJANGO_JOBS``, a Content-Security-Policy, where uploads and mails go, and what the environment may say.
"""

import os
from pathlib import Path
from typing import Any

import django

from .database import database_from_url

# Build paths inside the project like this: BASE_DIR / 'subdir'.
BASE_DIR = Path(__file__).resolve().parent.parent

# Everything the site writes lies below this one directory, so that several copies can run from one checkout.
DATA_DIR = Path(os.environ.get("GALLERY_DATA", BASE_DIR))

# SECURITY WARNING: keep the secret key used in production secret!
SECRET_KEY = os.environ.get(
    "GALLERY_SECRET_KEY", "django-insecure-the-gallery-is-a-test-project-that-listens-on-loopback"
)

# SECURITY WARNING: don't run with debug turned on in production!
DEBUG = True

ALLOWED_HOSTS: list[str] = []


# Application definition

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_jobs",
    "gallery",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.csp.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
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

WSGI_APPLICATION = "config.wsgi.application"


# Database

DATABASES = {
    "default": database_from_url(os.environ["GALLERY_DATABASE"])
    if os.environ.get("GALLERY_DATABASE")
    else {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "db.sqlite3",
        # Web server and workers write into one file: on a busy machine who waits may wait longer than five seconds.
        # And whoever has begun to read could not wait at all: it would have to see what others have written since.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}


# Background jobs

DJANGO_JOBS: dict[str, Any] = {
    "BROKER": os.environ.get("DJANGO_JOBS_BROKER", "database://default"),
    "QUEUES": {"default": {}, "images": {}, "mail": {}, "exports": {}, "visits": {}},
}
if os.environ.get("DJANGO_JOBS_PREFIX"):
    DJANGO_JOBS["PREFIX"] = os.environ["DJANGO_JOBS_PREFIX"]


# Password validation

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "gallery:photo-list"
LOGOUT_REDIRECT_URL = "gallery:photo-list"


# Internationalization

LANGUAGE_CODE = "en-us"

TIME_ZONE = "UTC"

USE_I18N = True

USE_TZ = True


# Static files (CSS, JavaScript, Images) and uploads

STATIC_URL = "static/"
MEDIA_URL = "media/"
MEDIA_ROOT = DATA_DIR / "media"


# Default primary key field type

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# Mail: written to files, by a mail server that refuses the first attempts of every message

MAIL_BACKEND = "gallery.mail.UnreliableEmailBackend"
MAIL_DIR = DATA_DIR / "mail"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": MAIL_BACKEND, "OPTIONS": {"file_path": str(MAIL_DIR)}}}
else:
    EMAIL_BACKEND = MAIL_BACKEND
    EMAIL_FILE_PATH = str(MAIL_DIR)
DEFAULT_FROM_EMAIL = "gallery@example.org"


# The gallery

GALLERY = {
    "MAIL_FAILURES": int(os.environ.get("GALLERY_MAIL_FAILURES", "2")),
    "VISITS_URL": os.environ.get("GALLERY_VISITS_URL", "http://127.0.0.1:8001"),
}
