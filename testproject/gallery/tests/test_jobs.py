"""The jobs as the functions that they are: called in this process, and twice, because a worker may do that too."""

import csv
from io import StringIO
from threading import Thread
from urllib.error import HTTPError

import django
import pytest
from django.test import override_settings
from PIL import Image

from django_jobs import Retry
from gallery import jobs, table
from gallery.management.commands.runvisits import VisitsServer
from gallery.models import Export, Photo, VisitReport

from .pictures import camera, picture
from .site import SiteTestCase


class JobTests(SiteTestCase):
    def test_a_thumbnail_is_made_once(self) -> None:
        photo = self.photo()
        thumbnail = photo.thumbnails.get(size="medium")
        assert jobs.make_thumbnail(thumbnail.pk) == [400, 300]
        thumbnail.refresh_from_db()
        with Image.open(thumbnail.image.path) as image:
            assert (image.format, image.size) == ("JPEG", (400, 300))
        made_at = thumbnail.made_at
        assert jobs.make_thumbnail(thumbnail.pk) == [400, 300]
        thumbnail.refresh_from_db()
        assert thumbnail.made_at == made_at

    def test_the_exif_report_is_saved(self) -> None:
        photo = self.photo(data=picture(exif=camera(Model="QV-R51")))
        assert jobs.read_exif(photo) == 2
        photo.refresh_from_db()
        assert photo.exif["Camera"] == {"Model": "QV-R51"}
        assert photo.exif_read_at is not None

    def test_a_notice_is_tried_again_and_sent_once(self) -> None:
        photo = self.photo("Rex")
        with self.unreliable_mail(failures=1):
            with pytest.raises(Retry) as caught:
                jobs.send_notice(photo.pk)
            assert "has gone away" in str(caught.value.exc)
            assert jobs.send_notice(photo.pk) == "anna@example.org"
            assert jobs.send_notice(photo.pk) == "anna@example.org"
        mails = "".join(path.read_text() for path in (self.directory / "mail").glob("*.log"))
        assert mails.count("Your photograph Rex has arrived") == 1
        assert Photo.objects.get().notice_sent_at is not None

    def test_an_export_has_a_row_for_each_photograph(self) -> None:
        photos = [self.photo("=1+1"), self.photo("Rex")]
        export = Export.objects.create()
        assert jobs.export_gallery(export.pk) == 2
        export.refresh_from_db()
        with export.file.open("r") as file:
            rows = list(csv.DictReader(StringIO(file.read())))
        assert [row["id"] for row in rows] == [str(photo.pk) for photo in photos]
        assert tuple(rows[0]) == table.COLUMNS
        assert rows[0]["title"] == "'=1+1"
        assert rows[0]["mean_colour"].startswith("#")
        name = export.file.name
        assert jobs.export_gallery(export.pk) == 2
        export.refresh_from_db()
        assert export.file.name == name

    def test_visits_are_fetched_when_the_server_is_up_again(self) -> None:
        photo = self.photo()
        report = VisitReport.objects.create()
        with self.visits_server(failures=2):
            with pytest.raises(ConnectionError):
                jobs.fetch_visits(report.pk)
            with pytest.raises(HTTPError) as caught:
                jobs.fetch_visits(report.pk)
            caught.value.close()
            total = jobs.fetch_visits(report.pk)
        report.refresh_from_db()
        assert report.visits == {str(photo.pk): total}
        assert report.fetched_at is not None

    def unreliable_mail(self, failures: int) -> override_settings:
        backend, directory = "gallery.mail.UnreliableEmailBackend", str(self.directory / "mail")
        new = {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": {"file_path": directory}}}}
        old = {"EMAIL_BACKEND": backend, "EMAIL_FILE_PATH": directory}
        return override_settings(GALLERY={"MAIL_FAILURES": failures}, **(new if django.VERSION >= (6, 1) else old))

    def visits_server(self, failures: int) -> override_settings:
        server = VisitsServer(("127.0.0.1", 0), failures)
        server.quiet = True
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        return override_settings(GALLERY={"VISITS_URL": f"http://127.0.0.1:{server.server_port}"})
