"""The app."""

from django.apps import AppConfig


class GalleryConfig(AppConfig):
    """Photographs, and what jobs make of them."""

    name = "gallery"
    verbose_name = "Photo gallery"
