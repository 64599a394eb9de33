"""
The gallery's background jobs.

A job may run twice, when its worker was killed after the work and before saying so: each one first looks whether its
work is done. It gets ids, or a model instance, which travels as an id too: what it works on is read when it runs.
"""

from __future__ import annotations

import json
from smtplib import SMTPException
from urllib.parse import urlencode
from urllib.request import urlopen

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.mail import EmailMessage
from django.utils import timezone

from django_jobs import get_job_logger, job
from django_jobs.context import JobContext

from . import exif, images, table
from .models import Export, Photo, Thumbnail, VisitReport

logger = get_job_logger(__name__)


@job(queue="images")
def make_thumbnail(thumbnail_id: int) -> list[int]:
    """Make one size of a photograph; return its width and height."""
    thumbnail = Thumbnail.objects.select_related("photo").get(pk=thumbnail_id)
    if thumbnail.made_at is None:
        with thumbnail.photo.image.open("rb") as source:
            data = images.thumbnail(source, thumbnail.box)
        thumbnail.made_at = timezone.now()
        name = f"{thumbnail.photo_id}-{thumbnail.size}.jpg"
        thumbnail.image.save(name, ContentFile(data, name))  # without a name of its own, a file has no dimensions
    return [thumbnail.width or 0, thumbnail.height or 0]


@job(queue="images", priority=-5)
def read_exif(photo: Photo) -> int:
    """Write the EXIF report of a photograph; return how many sections it has."""
    with photo.image.open("rb") as source:
        report = exif.report(source)
    Photo.objects.filter(pk=photo.pk).update(exif=report, exif_read_at=timezone.now())
    return len(report)


@job(queue="mail", bind=True, max_retries=5)
def send_notice(self: JobContext, photo_id: int) -> str:
    """Tell the uploader that the photograph has arrived; a mail server that is away is tried again, later each time."""
    photo = Photo.objects.select_related("uploaded_by").get(pk=photo_id)
    recipient = photo.uploaded_by.email
    if photo.notice_sent_at is None:
        message = EmailMessage(
            subject=f"Your photograph {photo.title} has arrived",
            body=f"Photograph {photo.pk}, {photo.width} by {photo.height} pixels, is in the gallery now.\n",
            to=[recipient],
        )
        try:
            message.send()
        except SMTPException as error:
            self.retry(exc=error, countdown=1 + self.request.retries)
        Photo.objects.filter(pk=photo_id).update(notice_sent_at=timezone.now())
    return recipient


@job(queue="exports", bind=True)
def export_gallery(self: JobContext, export_id: int) -> int:
    """Write the whole gallery into one CSV file, and say after every row how far it is; return the number of rows."""
    export = Export.objects.get(pk=export_id)
    if export.finished_at is None:
        photos = Photo.objects.order_by("pk")
        total = photos.count()
        rows = []
        for photo in photos.iterator():
            rows.append(table.row(photo))
            self.progress(len(rows), total, photo.title)
        export.rows = len(rows)
        export.finished_at = timezone.now()
        export.file.save(f"gallery-{export.pk}.csv", ContentFile(table.as_csv(rows).encode()))
    return export.rows or 0


@job(queue="visits", autoretry_for=(OSError,), max_retries=8, retry_backoff=True, retry_backoff_max=30)
def fetch_visits(report_id: int) -> int:
    """
    Ask the visits server how often each photograph was looked at; return the sum.

    Everything that a network does wrong is an OSError, an answer of 503 too, and is tried again; an answer that is no
    JSON is an error of another kind, and fails the job at once.
    """
    photos = list(Photo.objects.order_by("pk").values_list("pk", flat=True))
    query = urlencode({"report": report_id, "photos": ",".join(map(str, photos))})
    with urlopen(f"{settings.GALLERY['VISITS_URL']}/visits?{query}", timeout=5) as answer:
        visits: dict[str, int] = json.load(answer)["visits"]
    VisitReport.objects.filter(pk=report_id).update(visits=visits, fetched_at=timezone.now())
    logger.info("The visits server counted %d visits", sum(visits.values()))
    return sum(visits.values())
