"""The pages when the database has no table for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from django_jobs.identifiers import new_id
from django_jobs.models import JobResult

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the database during app initialization")


@pytest.fixture
def no_table(transactional_db: None) -> Iterator[None]:
    """Take the table away for a while. Not inside a transaction: some databases commit it then."""
    quote, table = connection.ops.quote_name, JobResult._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {quote(table)} RENAME TO {quote('away')}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {quote('away')} RENAME TO {quote(table)}")


@pytest.mark.parametrize("path", ["jobresult/", "failedjob/", "jobresult/?state=FAILURE", "jobresult/{id}/change/"])
def test_pages_say_to_migrate(operator, no_table, path, caplog):
    response = operator.get("/admin/django_jobs/" + path.format(id=new_id()))
    assert response.status_code == 200
    page = response.content.decode()
    assert JobResult._meta.db_table in page
    assert "python manage.py migrate django_jobs</pre>" in page
    assert "A page of jobs could not be read" in caplog.text


def test_operations_say_so_too(operator, no_table):
    response = operator.post(f"/admin/django_jobs/jobresult/{new_id()}/do/retry/")
    assert response.status_code == 200
    assert "migrate" in response.content.decode()


def test_the_index_of_the_admin_is_not_touched(operator, no_table):
    response = operator.get("/admin/")
    assert response.status_code == 200
    assert "Failed jobs" in response.content.decode()
