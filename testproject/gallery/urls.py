"""Addresses of the gallery."""

from django.urls import path

from . import views

app_name = "gallery"

urlpatterns = [
    path("", views.photo_list, name="photo-list"),
    path("upload/", views.upload, name="upload"),
    path("photos/<int:pk>/", views.photo_detail, name="photo-detail"),
    path("reports/", views.reports, name="reports"),
    path("reports/export/", views.start_export, name="start-export"),
    path("reports/visits/", views.start_visits, name="start-visits"),
    path("status.json", views.status, name="status"),
]
