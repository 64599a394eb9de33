"""Pages and forms, and that each sends its jobs with the transaction that it saves in."""

import re
from unittest import mock

from django.db import transaction
from django.urls import reverse

from django_jobs import AsyncResult, State
from gallery import forms
from gallery.models import Export, Photo, VisitReport

from .pictures import upload
from .site import SiteTestCase

PAGES = ("/", "/photos/{pk}/", "/upload/", "/reports/", "/login/", "/admin/gallery/photo/")
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", re.IGNORECASE)


class UploadTests(SiteTestCase):
    def test_saves_the_photograph_and_sends_its_jobs(self) -> None:
        response = self.client.post(reverse("gallery:upload"), {"image": upload()})
        photo = Photo.objects.get()
        self.assertRedirects(response, photo.get_absolute_url())
        assert (photo.title, photo.width, photo.height) == ("A dog in snow", 600, 450)
        assert photo.uploaded_by == self.user
        assert [thumbnail.size for thumbnail in photo.thumbnails.all()] == ["small", "medium", "large"]
        jobs = [photo.exif_job, photo.notice_job, *(thumbnail.job for thumbnail in photo.thumbnails.all())]
        assert len(set(jobs)) == 5
        assert {AsyncResult(str(job)).state for job in jobs} == {State.PENDING}

    def test_a_rollback_takes_the_jobs_with_it(self) -> None:
        with transaction.atomic():
            photo = self.photo()
            transaction.set_rollback(True)
        assert photo.exif_job is not None
        assert not Photo.objects.exists()
        assert AsyncResult(str(photo.exif_job)).state == State.UNKNOWN

    def test_a_title_that_is_given_counts(self) -> None:
        self.client.post(reverse("gallery:upload"), {"image": upload(), "title": "Rex"})
        assert Photo.objects.get().title == "Rex"

    def test_what_is_no_picture_is_refused(self) -> None:
        response = self.client.post(reverse("gallery:upload"), {"image": upload(data=b"no picture")})
        self.assertContains(response, "Upload a valid image")
        assert not Photo.objects.exists()

    def test_a_name_that_is_no_picture_is_refused(self) -> None:
        response = self.client.post(reverse("gallery:upload"), {"image": upload("dog.svg")})
        self.assertContains(response, "File extension “svg” is not allowed")

    def test_a_file_that_is_too_large_is_refused(self) -> None:
        with mock.patch.object(forms, "MAX_BYTES", 100):
            response = self.client.post(reverse("gallery:upload"), {"image": upload()})
        self.assertContains(response, "larger than 20 MB")

    def test_wants_a_login(self) -> None:
        self.client.logout()
        response = self.client.post(reverse("gallery:upload"), {"image": upload()})
        self.assertRedirects(response, "/login/?next=/upload/")
        assert not Photo.objects.exists()


class PageTests(SiteTestCase):
    def test_a_new_photograph_is_shown_as_unfinished(self) -> None:
        photo = self.photo()
        for path in ("/", photo.get_absolute_url()):
            with self.subTest(path=path):
                self.assertContains(self.client.get(path), "data-unfinished")

    def test_a_part_is_the_page_without_its_frame(self) -> None:
        photo = self.photo()
        for path in ("/", photo.get_absolute_url(), "/reports/"):
            with self.subTest(path=path):
                part = self.client.get(path, {"part": "1"}).content.decode()
                assert "<html" not in part
                self.assertInHTML(part, self.client.get(path).content.decode())

    def test_titles_are_escaped(self) -> None:
        photo = self.photo("<script>alert(1)</script>")
        for path in ("/", photo.get_absolute_url()):
            with self.subTest(path=path):
                self.assertNotContains(self.client.get(path), "<script>alert")

    def test_no_page_has_inline_code(self) -> None:
        self.user.is_staff = self.user.is_superuser = True
        self.user.save()
        photo = self.photo()
        for path in PAGES:
            with self.subTest(path=path):
                if path == "/login/":
                    self.client.logout()
                    response = self.client.get(path)
                    self.client.force_login(self.user)
                else:
                    response = self.client.get(path.format(pk=photo.pk))
                assert response.status_code == 200
                assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")
                assert INLINE.findall(response.content.decode()) == []

    def test_the_status_has_every_job(self) -> None:
        self.photo()
        status = self.client.get(reverse("gallery:status")).json()
        (photo,) = status["photos"]
        jobs = [photo["exif_job"], photo["notice_job"], *(thumbnail["job"] for thumbnail in photo["thumbnails"])]
        assert [job["state"] for job in jobs] == ["PENDING"] * 5
        assert not any(job["ended"] for job in jobs)


class ReportTests(SiteTestCase):
    def test_each_button_saves_a_row_with_its_job(self) -> None:
        for path, model in (("gallery:start-export", Export), ("gallery:start-visits", VisitReport)):
            with self.subTest(path=path):
                self.assertRedirects(self.client.post(reverse(path)), "/reports/")
                assert AsyncResult(str(model.objects.get().job)).state == State.PENDING

    def test_only_a_post_of_someone_known_counts(self) -> None:
        for path in ("gallery:start-export", "gallery:start-visits"):
            with self.subTest(path=path):
                assert self.client.get(reverse(path)).status_code == 405
        self.client.logout()
        self.client.post(reverse("gallery:start-export"))
        assert not Export.objects.exists()
