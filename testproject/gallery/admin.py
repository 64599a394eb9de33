"""The gallery's own rows in the admin; the jobs have pages of their own there."""

from django.contrib import admin

from .models import Export, Photo, Thumbnail, VisitReport


class ThumbnailInline(admin.TabularInline):
    """The sizes below their photograph."""

    model = Thumbnail
    fields = readonly_fields = ("size", "image", "width", "height", "made_at")
    extra = 0
    can_delete = False


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    """Photographs."""

    list_display = ("title", "width", "height", "uploaded_by", "uploaded_at", "exif_read_at", "notice_sent_at")
    search_fields = ("title",)
    inlines = (ThumbnailInline,)


@admin.register(Export)
class ExportAdmin(admin.ModelAdmin):
    """CSV exports."""

    list_display = ("__str__", "requested_at", "rows", "finished_at")


@admin.register(VisitReport)
class VisitReportAdmin(admin.ModelAdmin):
    """Visit reports."""

    list_display = ("__str__", "requested_at", "fetched_at")
