"""Addresses of the site: the gallery at the root, the admin beside it, uploads served as they are."""

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("admin/", admin.site.urls),
    path("login/", auth_views.LoginView.as_view(), name="login"),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}gallery/icon.svg")),
    path("", include("gallery.urls")),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
