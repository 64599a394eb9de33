"""Our pages in an admin site of the project's own."""

from __future__ import annotations

import re

import django
import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.core import checks
from django.urls import path, resolve

from django_jobs.admin import FailedJobAdmin, JobAdminMixin, JobResultAdmin
from django_jobs.models import FailedJob, JobResult
from tests.admin.results import make_failure, make_result

own = AdminSite(name="own")


class OwnJobs(JobAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]
    list_per_page = 2


own.register(JobResult, OwnJobs)
urlpatterns = [path("admin/", admin.site.urls), path("own/", own.urls)]


def test_the_default_site_has_both_lists():
    assert isinstance(admin.site._registry[JobResult], JobResultAdmin)
    assert isinstance(admin.site._registry[FailedJob], FailedJobAdmin)


def test_the_checks_of_the_admin_find_nothing():
    assert checks.run_checks(tags=[checks.Tags.admin]) == []


@pytest.mark.urls("tests.admin.test_site")
def test_links_stay_in_their_site(operator):
    parent = make_result()
    job = make_failure(parent_id=parent.pk)
    page = operator.get("/own/django_jobs/jobresult/").content.decode()
    assert f'href="/own/django_jobs/jobresult/{job.pk}/change/' in page
    page = operator.get(f"/own/django_jobs/jobresult/{job.pk}/change/").content.decode()
    assert f'href="/own/django_jobs/jobresult/{parent.pk}/change/"' in page
    assert f'action="/own/django_jobs/jobresult/{job.pk}/do/retry/"' in page
    assert 'href="/admin/' not in page


def test_breadcrumbs_are_those_of_this_django(operator):
    page = operator.get(f"/admin/django_jobs/jobresult/{make_result().pk}/change/").content.decode()
    crumbs = re.search(r"<(ol|div) class=\"breadcrumbs\">(.*?)</\1>", page, re.DOTALL)
    assert crumbs is not None
    assert crumbs.group(1) == ("ol" if django.VERSION >= (6, 1) else "div")
    assert re.findall(r'href="([^"]+)"', crumbs.group(2)) == [
        "/admin/",
        "/admin/django_jobs/",
        "/admin/django_jobs/jobresult/",
    ]


@pytest.mark.parametrize("page", ["failedjob/", "failedjob/01a1fbfb-2282-7708-96ac-5a8ec53087c1/do/retry/"])
def test_operations_are_not_inside_the_transaction_of_the_request(page):
    # With ATOMIC_REQUESTS a broker that is away would be noticed after the page was made, and be a server error.
    view = resolve(f"/admin/django_jobs/{page}").func
    assert "default" in getattr(view, "_non_atomic_requests", ())
