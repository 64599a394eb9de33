"""
What ``manage.py check`` says.

``project`` looks at settings and tasks, ``periodic`` at what they say recurs, ``sqlite`` at how a database in a file is
set up; none opens a connection: a check that needs a server would keep ``migrate`` and ``collectstatic`` from running
without it. ``deploy``, and one of ``periodic``, do ask servers, and are run by ``check --deploy`` alone. A number is
never used again for something else.
"""

from django_jobs.checks import deploy as deploy  # importing them registers them
from django_jobs.checks import periodic as periodic
from django_jobs.checks import project as project
from django_jobs.checks import sqlite as sqlite
from django_jobs.checks.messages import TAG as TAG
