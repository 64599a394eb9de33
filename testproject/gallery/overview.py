"""What the pages show: rows of the gallery joined with how their jobs stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model

from django_jobs.states import State

from .live import Status, statuses
from .models import Export, Photo, Thumbnail, VisitReport

SHOWN_REPORTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """One thumbnail and its job."""

    thumbnail: Thumbnail
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One photograph with everything that is made for it."""

    photo: Photo
    sizes: Sequence[Sized]
    exif: Status
    notice: Status

    @property
    def work(self) -> list[Status]:
        """The status of each of its jobs."""
        return [*(sized.status for sized in self.sizes), self.exif, self.notice]

    @property
    def done(self) -> int:
        """How many of its jobs have ended."""
        return sum(status.ended for status in self.work)

    @property
    def unfinished(self) -> bool:
        """Whether something is still to come."""
        return self.done < len(self.work)

    @property
    def images(self) -> dict[str, Sized]:
        """Its sizes by name."""
        return {sized.thumbnail.size: sized for sized in self.sizes}


def cards(photos: Iterable[Photo]) -> list[Card]:
    """Return the cards of these photographs; their thumbnails should be prefetched."""
    photos = list(photos)
    known = statuses(
        job for photo in photos for job in (photo.exif_job, photo.notice_job, *(t.job for t in photo.thumbnails.all()))
    )
    for photo in photos:
        catch_up(known, photo, photo.exif_job, photo.exif_read_at)
        catch_up(known, photo, photo.notice_job, photo.notice_sent_at)
        for t in photo.thumbnails.all():
            catch_up(known, t, t.job, t.made_at)
    return [
        Card(
            photo=photo,
            sizes=[Sized(thumbnail=t, status=pick(known, t.job, t.made_at)) for t in photo.thumbnails.all()],
            exif=pick(known, photo.exif_job, photo.exif_read_at),
            notice=pick(known, photo.notice_job, photo.notice_sent_at),
        )
        for photo in photos
    ]


def exports() -> list[tuple[Export, Status]]:
    """Return the last exports with their jobs."""
    rows = list(Export.objects.all()[:SHOWN_REPORTS])
    known = statuses(row.job for row in rows)
    for row in rows:
        catch_up(known, row, row.job, row.finished_at)
    return [(row, pick(known, row.job, row.finished_at)) for row in rows]


def visit_reports() -> list[tuple[VisitReport, Status, list[tuple[str, int]]]]:
    """Return the last visit reports with their jobs, and the counts by title, most visited first."""
    rows = list(VisitReport.objects.all()[:SHOWN_REPORTS])
    known = statuses(row.job for row in rows)
    for row in rows:
        catch_up(known, row, row.job, row.fetched_at)
    titles = titles_of(Photo, {pk for row in rows for pk in row.visits})
    return [(row, pick(known, row.job, row.fetched_at), ranking(row.visits, titles)) for row in rows]


def ranking(visits: Mapping[str, int], titles: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return title and count, the largest first."""
    named = [(titles.get(pk, "a photograph that is gone"), count) for pk, count in visits.items()]
    return sorted(named, key=lambda entry: (-entry[1], entry[0]))


def titles_of(model: type[Model], keys: Iterable[str]) -> dict[str, str]:
    """Return the text of each row by its key as text, which is what JSON has for keys."""
    return {str(pk): str(row) for pk, row in model._default_manager.in_bulk(list(keys)).items()}


def catch_up(known: Mapping[UUID, Status], row: Model, job: UUID | None, finished: object) -> None:
    """Read a row again whose job has ended since it was read, so that no page says "succeeded" and shows nothing."""
    if job and not finished and known[job].state == State.SUCCESS:
        row.refresh_from_db()


def pick(known: Mapping[UUID, Status], job: UUID | None, finished: object) -> Status:
    """Return the status of a job that may be missing; when its record has been pruned, what it made is the proof."""
    status = known[job] if job else Status(state=State.UNKNOWN)
    return Status(state=State.SUCCESS) if finished and status.state == State.UNKNOWN else status


def as_json() -> dict[str, Any]:
    """Return all photographs, exports and visit reports with their jobs, oldest first."""
    photos = cards(Photo.objects.order_by("pk").prefetch_related("thumbnails"))
    return {
        "photos": [photo_as_json(card) for card in photos],
        "exports": [
            {"id": row.pk, "rows": row.rows, "url": url(row.file), "job": status.as_dict()} for row, status in exports()
        ],
        "visits": [
            {"id": row.pk, "fetched": row.fetched_at is not None, "visits": row.visits, "job": status.as_dict()}
            for row, status, _ in visit_reports()
        ],
    }


def photo_as_json(card: Card) -> dict[str, Any]:
    """Return one photograph."""
    photo = card.photo
    return {
        "id": photo.pk,
        "title": photo.title,
        "url": photo.get_absolute_url(),
        "image": url(photo.image),
        "exif": photo.exif,
        "exif_job": card.exif.as_dict(),
        "notice_sent": photo.notice_sent_at is not None,
        "notice_job": card.notice.as_dict(),
        "thumbnails": [
            {
                "size": sized.thumbnail.size,
                "box": sized.thumbnail.box,
                "url": url(sized.thumbnail.image),
                "width": sized.thumbnail.width,
                "height": sized.thumbnail.height,
                "job": sized.status.as_dict(),
            }
            for sized in card.sizes
        ],
    }


def url(file: Any) -> str | None:
    """Return the address of a file, None when there is none yet."""
    return file.url if file else None
