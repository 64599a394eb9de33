"""The examples of the guide are run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide" / "testing.rst"
SETTINGS = """
SECRET_KEY = "sample"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_jobs", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
"""


def examples() -> dict[str, str]:
    """Return the files of the guide, by name."""
    blocks = re.findall(r"code-block:: python\n    :caption: (\S+)\n\n((?:    .*\n|\n)+)", GUIDE.read_text())
    return {name: textwrap.dedent(code) for name, code in blocks}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    (pytester.path / "shop").mkdir()
    for name, code in {"settings.py": SETTINGS, "shop/__init__.py": "", **examples()}.items():
        (pytester.path / name).write_text(code)
    pytester.makeini("[pytest]\naddopts = -p no:asyncio\n")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{pytester.path}")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    return pytester


def test_the_guide_has_them():
    assert set(examples()) == {"shop/jobs.py", "shop/tests.py", "test_shop.py"}


def test_with_pytest(project: pytest.Pytester):
    project.runpytest_subprocess("test_shop.py").assert_outcomes(passed=3)


def test_with_djangos_runner(project: pytest.Pytester):
    command = [sys.executable, "-m", "django", "test", "shop"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert "Ran 2 tests" in run.stderr
