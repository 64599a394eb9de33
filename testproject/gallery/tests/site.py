"""What tests of the whole site share: a user, and files in a directory that is gone afterwards."""

import tempfile
from pathlib import Path

from django.contrib.auth.models import User
from django.test import TestCase, override_settings

from gallery.models import Photo
from gallery.views import receive

from .pictures import upload


class SiteTestCase(TestCase):
    """A test with a user who is logged in; uploads and mails go to a temporary directory."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        settings = override_settings(MEDIA_ROOT=self.directory / "media")
        settings.enable()
        self.addCleanup(settings.disable)
        self.user = User.objects.create_user("anna", "anna@example.org")
        self.client.force_login(self.user)

    def photo(self, title: str = "A dog", data: bytes | None = None) -> Photo:
        """Return a photograph as the upload leaves it: saved, with its jobs sent and none run."""
        photo = Photo(title=title, image=upload(data=data), uploaded_by=self.user)
        receive(photo)
        return photo
