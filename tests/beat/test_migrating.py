"""Projects without time zones make the same tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django_jobs"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    USE_TZ=False,
    TIME_ZONE="America/New_York",
)
django.setup()
from datetime import datetime
from django.core.management import call_command
from django_jobs.models import PeriodicTask
call_command("migrate", verbosity=0)
row = PeriodicTask.objects.create(name="one", task="no.such.task", schedule="@daily")
print(PeriodicTask.objects.filter(wake__lt=datetime(1980, 1, 1)).count())
PeriodicTask.objects.create(name="two", task="no.such.task", schedule="@daily", starts=datetime(2035, 1, 1))
PeriodicTask.objects.create(name="three", task="no.such.task", schedule="@daily", ends=datetime(2035, 1, 1))
PeriodicTask.objects.update(created=datetime(2026, 1, 1))
call_command("jobs", "schedule", "list")
call_command("jobs", "schedule", "next", "two", "--count", "1")
call_command("jobs", "doctor")
"""


def test_a_project_without_time_zones(tmp_path: Path):
    made = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", SCRIPT, str(tmp_path / "db.sqlite3")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(made, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.stdout.startswith("1\n"), done.stderr
    assert "2035-01-01 00:00:00-05:00" in done.stdout, done.stderr
    assert "overdue" in done.stdout, done.stderr
