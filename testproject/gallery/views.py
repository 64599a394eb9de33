"""
Pages and forms. What takes time is left to jobs, sent in the transaction that saves the row they are to work on.

Every page has one part that changes while jobs run; asked with ``?part=1`` a view answers with that part alone, and a
small script puts it in place. Without the script the page is complete, and reloading it shows the same.
"""

from __future__ import annotations

from typing import cast

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from . import jobs, overview
from .forms import UploadForm
from .models import Export, Photo, Thumbnail, VisitReport

PER_PAGE = 24


def page(request: HttpRequest, name: str, context: dict[str, object]) -> HttpResponse:
    """Render the page ``name``, or its changing part alone when that was asked for."""
    template = f"gallery/_{name}.html" if "part" in request.GET else f"gallery/{name}.html"
    return render(request, template, context | {"part": f"gallery/_{name}.html"})


@require_GET
def photo_list(request: HttpRequest) -> HttpResponse:
    """All photographs, the newest first, with what their jobs are doing."""
    photos = Photo.objects.prefetch_related("thumbnails")
    page_of_photos = Paginator(photos, PER_PAGE).get_page(request.GET.get("page"))
    cards = overview.cards(page_of_photos.object_list)
    return page(request, "photo_list", {"page": page_of_photos, "cards": cards})


@require_GET
def photo_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One photograph with its sizes and its EXIF report."""
    photo = get_object_or_404(Photo.objects.prefetch_related("thumbnails"), pk=pk)
    return page(request, "photo_detail", {"card": overview.cards([photo])[0]})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Take a photograph, and have its thumbnails, its EXIF report and its notice made."""
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        photo = form.save(commit=False)
        photo.uploaded_by = cast(User, request.user)
        receive(photo)
        return redirect(photo)
    return render(request, "gallery/upload.html", {"form": form})


def receive(photo: Photo) -> None:
    """
    Save a new photograph and send its jobs, all or nothing.

    ``delay()`` inside the transaction returns a handle at once, whose id is saved beside the photograph; no worker sees
    the job before the transaction has committed, and none ever does when it is rolled back.
    """
    with transaction.atomic():
        photo.save()
        for size in Thumbnail.Size:
            thumbnail = Thumbnail.objects.create(photo=photo, size=size)
            thumbnail.job = jobs.make_thumbnail.delay(thumbnail.pk).id
            thumbnail.save(update_fields=["job"])
        photo.exif_job = jobs.read_exif.delay(photo).id
        photo.notice_job = jobs.send_notice.delay(photo.pk).id
        photo.save(update_fields=["exif_job", "notice_job"])


@require_GET
def reports(request: HttpRequest) -> HttpResponse:
    """Exports and visit reports, with the buttons that ask for a new one."""
    return page(request, "reports", {"exports": overview.exports(), "visits": overview.visit_reports()})


@login_required
@require_POST
@transaction.atomic
def start_export(request: HttpRequest) -> HttpResponse:
    """Have the gallery written as CSV."""
    export = Export.objects.create()
    export.job = jobs.export_gallery.delay(export.pk).id
    export.save(update_fields=["job"])
    return redirect("gallery:reports")


@login_required
@require_POST
@transaction.atomic
def start_visits(request: HttpRequest) -> HttpResponse:
    """Have the visits server asked."""
    report = VisitReport.objects.create()
    report.job = jobs.fetch_visits.delay(report.pk).id
    report.save(update_fields=["job"])
    return redirect("gallery:reports")


@require_GET
def status(request: HttpRequest) -> JsonResponse:
    """Everything the pages show, as JSON, for programs that feed the gallery and wait for its jobs."""
    return JsonResponse(overview.as_json())
