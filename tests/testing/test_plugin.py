"""The pytest plugin and the mixin in a project of their own, run as its developer runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = str(Path(__file__).resolve().parents[2])

SETTINGS = """
SECRET_KEY = "sample"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_jobs", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DJANGO_JOBS = {"BROKER": "redis://127.0.0.1:1/0"}  # nobody is there
"""
JOBS = """
from django.contrib.auth.models import User
from django.db import transaction
from django_jobs import job

@job(queue="mail", autoretry_for=(ConnectionError,), retry_backoff=60, retry_jitter=False)
def welcome(user_id: int, *, language: str = "en") -> str:
    return User.objects.get(pk=user_id).username

@job
def add(a: int, b: int) -> int:
    return a + b

def sign_up(name: str) -> User:
    with transaction.atomic():
        user = User.objects.create(username=name)
        welcome.delay(user.pk)
        return user
"""
TESTS = """
import pytest
from django.db import connection
from django_jobs.models import JobResult
from django_jobs.testing import assert_enqueued
from shop.jobs import add, sign_up, welcome

@pytest.mark.django_db
def test_captured(jobs):
    user = sign_up("ann")
    assert_enqueued(welcome, args=[user.pk], queue="mail", count=1)
    assert [run.result for run in jobs.drain()] == ["ann"]
    assert JobResult.objects.get().state == "SUCCESS"

@pytest.mark.django_db(transaction=True)
def test_with_real_commits(jobs):
    sign_up("bob")
    assert [run.result for run in jobs.drain()] == ["bob"]

def test_eager(jobs_eager, db):
    sign_up("cid")
    assert JobResult.objects.get().state == "SUCCESS"

def test_without_a_database(jobs):
    handle = add.delay(1, 2)
    jobs.drain()
    assert handle.get() == 3

def test_that_fails(jobs):
    assert_enqueued(add, args=(1, 2))
"""
TEST_CASES = """
import unittest
from django.contrib.auth.models import User
from django.test import TestCase, TransactionTestCase
from django_jobs.models import JobResult
from django_jobs.testing import JobsTestMixin, capture_jobs
from shop.jobs import add, sign_up, welcome

class SignUpTests(JobsTestMixin, TestCase):
    def test_welcome(self):
        sign_up("ann")
        self.assertJobEnqueued(welcome, kwargs={"language": "en"}, count=0)
        self.assertJobEnqueued(welcome, kwargs={"user_id": User.objects.get().pk})
        self.runJobs()
        self.assertEqual(JobResult.objects.get().state, "SUCCESS")

class CommitTests(JobsTestMixin, TransactionTestCase):
    jobs_eager = True

    def test_welcome(self):
        sign_up("bob")
        self.assertEqual(JobResult.objects.get().state, "SUCCESS")

class PlainTests(unittest.TestCase):
    def test_add(self):
        with capture_jobs() as jobs:
            handle = add.delay(1, 2)
            jobs.drain()
            self.assertEqual(handle.get(), 3)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makepyfile(**{"settings": SETTINGS, "shop/__init__": "", "shop/jobs": JOBS})
    pytester.makeini("[pytest]\nDJANGO_SETTINGS_MODULE = settings\naddopts = -p no:asyncio\n")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{pytester.path}")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    return pytester


def django(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_fixtures(project: pytest.Pytester):
    project.makepyfile(test_shop=TESTS)
    result = project.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*assert_enqueued(add, args=(1, 2))",
            "E*AssertionError: Expected shop.jobs.add with args=(1, 2) to be enqueued; it was 0 times.",
            "E*Enqueued:",
            "E*nothing",
        ],
        consecutive=False,
    )


def test_test_cases_with_djangos_runner(project: pytest.Pytester):
    project.makepyfile(test_shop=TEST_CASES)
    run = django("test")
    assert run.returncode == 0, run.stderr
    assert "Ran 3 tests" in run.stderr


def test_test_cases_with_pytest(project: pytest.Pytester):
    project.makepyfile(test_shop=TEST_CASES)
    project.runpytest_subprocess().assert_outcomes(passed=3)


def test_a_test_without_a_test_database_leaves_the_projects_own_alone(project: pytest.Pytester):
    """No test of this run asks for a database, so Django's runner makes none: behind the alias is the real one."""
    assert django("migrate").returncode == 0
    project.makepyfile(
        test_shop="""
        import unittest
        from django_jobs.testing import JobsTestMixin
        from shop.jobs import add

        class PlainTests(JobsTestMixin, unittest.TestCase):
            def test_add(self):
                handle = add.delay(1, 2)
                self.runJobs()
                self.assertEqual(handle.get(), 3)
        """
    )
    run = django("test")
    assert run.returncode == 0, run.stderr
    count = django("shell", "-c", "from django_jobs.models import JobResult as R; print('rows:', R.objects.count())")
    assert "rows: 0" in count.stdout


def test_the_plugin_asks_for_nothing_where_it_is_not_used(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    monkeypatch.setenv("PYTHONPATH", ROOT)
    pytester.makepyfile(
        """
        import sys

        def test_nothing_was_imported():
            ours = {name for name in sys.modules if name.split(".")[0] == "django_jobs"}
            assert ours == {"django_jobs", "django_jobs.testing", "django_jobs.testing.plugin"}
        """
    )
    pytester.runpytest_subprocess("-p", "no:django", "-p", "no:asyncio").assert_outcomes(passed=1)
