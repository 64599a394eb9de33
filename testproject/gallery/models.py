"""
What the gallery keeps. A row that a job fills is made by the view, with the id of that job, in the same transaction.

So a page can always say how a missing thumbnail or report stands: waiting, running, being tried again, or failed.
"""

from django.conf import settings
from django.db import models
from django.urls import reverse

from .images import SIZES


class Photo(models.Model):
    """A photograph as it was uploaded, with the EXIF report and the notice that jobs make for it."""

    title = models.CharField(max_length=120)
    image = models.ImageField(upload_to="photos/", width_field="width", height_field="height")
    width = models.PositiveIntegerField(editable=False)
    height = models.PositiveIntegerField(editable=False)
    uploaded_at = models.DateTimeField(auto_now_add=True)
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)

    #: Sections of rows, in reading order; empty both before the job has run and when the file carries nothing.
    exif = models.JSONField(default=dict, editable=False)
    exif_job = models.UUIDField(null=True, editable=False)
    exif_read_at = models.DateTimeField(null=True, editable=False)
    notice_job = models.UUIDField(null=True, editable=False)
    notice_sent_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("gallery:photo-detail", args=[self.pk])


class Thumbnail(models.Model):
    """One size of a photograph; the image is empty until its job has made it."""

    class Size(models.TextChoices):
        SMALL = "small", "Small"
        MEDIUM = "medium", "Medium"
        LARGE = "large", "Large"

    photo = models.ForeignKey(Photo, on_delete=models.CASCADE, related_name="thumbnails")
    size = models.CharField(max_length=10, choices=Size.choices)
    image = models.ImageField(upload_to="thumbnails/", width_field="width", height_field="height", blank=True)
    width = models.PositiveIntegerField(null=True, editable=False)
    height = models.PositiveIntegerField(null=True, editable=False)
    job = models.UUIDField(null=True, editable=False)
    made_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["photo", "size"], name="one_thumbnail_per_size")]
        ordering = ["photo", "pk"]

    def __str__(self) -> str:
        return f"{self.photo_id} {self.size}"

    @property
    def box(self) -> int:
        """The longest side in pixels that this size may have."""
        return SIZES[self.size]


class Export(models.Model):
    """The whole gallery as one CSV file."""

    requested_at = models.DateTimeField(auto_now_add=True)
    file = models.FileField(upload_to="exports/", blank=True)
    rows = models.PositiveIntegerField(null=True, editable=False)
    job = models.UUIDField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Export {self.pk}"


class VisitReport(models.Model):
    """How often the photographs were looked at, as the visits server says, which is sometimes down."""

    requested_at = models.DateTimeField(auto_now_add=True)
    visits = models.JSONField(default=dict, editable=False)
    job = models.UUIDField(null=True, editable=False)
    fetched_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Visits {self.pk}"
