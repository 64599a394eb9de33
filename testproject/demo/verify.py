"""What must be true when all is done, checked on the files that the site hands out and on the mails."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email import policy
from email.parser import BytesParser
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from PIL.ExifTags import Base

from .client import Client
from .progress import Progress
from .site import MAIL, Site

SIZES = {"small": 160, "medium": 400, "large": 960}
MAIL_END = b"-" * 79


@dataclass(slots=True, kw_only=True)
class Findings:
    """What was done, and what is wrong."""

    done: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def expect(self, truth: bool, complaint: str) -> None:
        """Note a complaint when something is not true."""
        if not truth:
            self.wrong.append(complaint)


def verify(site: Site, client: Client, originals: Sequence[Path]) -> Findings:
    """Check everything that was made of these photographs, which were uploaded in this order."""
    findings = Findings()
    status = client.status()
    photos = status["photos"]
    findings.expect(not Progress.of(status).failed, f"jobs have failed: {'; '.join(Progress.of(status).failed)}")
    findings.expect(
        len(photos) == len(originals), f"{len(originals)} photographs were uploaded, {len(photos)} are there"
    )
    for photo, original in zip(photos, originals, strict=False):
        check_thumbnails(findings, client, photo, original)
        check_exif(findings, photo, original)
    findings.done.append(f"{len(photos)} photographs, {sum(len(photo['thumbnails']) for photo in photos)} thumbnails")
    cameras = sorted(
        {photo["exif"]["Camera"]["Model"] for photo in photos if photo["exif"].get("Camera", {}).get("Model")}
    )
    findings.done.append(f"{len(photos)} EXIF reports ({', '.join(cameras) or 'no camera is named'})")
    check_mails(findings, site, photos)
    check_export(findings, client, status, originals)
    check_visits(findings, site, status)
    return findings


def check_thumbnails(findings: Findings, client: Client, photo: dict[str, Any], original: Path) -> None:
    """Each size must be there as a JPEG that fits its box exactly and keeps the proportions."""
    with Image.open(original) as image:
        width, height = ImageOps.exif_transpose(image).size
    made = {thumbnail["size"]: thumbnail for thumbnail in photo["thumbnails"]}
    findings.expect(made.keys() == SIZES.keys(), f"{photo['title']}: the sizes are {sorted(made)}, not {sorted(SIZES)}")
    for size, thumbnail in made.items():
        name = f"{photo['title']}, {size} thumbnail"
        if not thumbnail["url"]:
            findings.wrong.append(f"{name}: not made ({thumbnail['job']['label']})")
            continue
        with Image.open(BytesIO(client.get(thumbnail["url"]))) as image:
            image.load()
            found, kind = image.size, image.format
        scale = min(1, SIZES[size] / max(width, height))
        findings.expect(kind == "JPEG", f"{name}: a {kind}, not a JPEG")
        findings.expect(
            max(found) == min(SIZES[size], max(width, height))
            and abs(found[0] - width * scale) <= 1
            and abs(found[1] - height * scale) <= 1,
            f"{name}: {found[0]} by {found[1]} pixels is no {size} size of {width} by {height}",
        )
        findings.expect(
            found == (thumbnail["width"], thumbnail["height"]), f"{name}: the site says another size than it is"
        )


def check_exif(findings: Findings, photo: dict[str, Any], original: Path) -> None:
    """The report must name the format, and the camera that is in the file."""
    with Image.open(original) as image:
        model = str(image.getexif().get(Base.Model, "")).replace("\0", " ").strip()
        kind = image.format
    report = photo["exif"]
    findings.expect(report.get("Picture", {}).get("Format") == kind, f"{photo['title']}: no EXIF report of a {kind}")
    found = report.get("Camera", {}).get("Model", "")
    findings.expect(found == model, f"{photo['title']}: the EXIF report names the camera {found!r}, the file {model!r}")


def check_mails(findings: Findings, site: Site, photos: Sequence[dict[str, Any]]) -> None:
    """Each notice must have been delivered, once, after as many failed attempts as the mail server makes."""
    subjects = [message["Subject"] for message in mails(site.directory / "mail") if message["To"] == MAIL]
    for photo in photos:
        count = subjects.count(f"Your photograph {photo['title']} has arrived")
        findings.expect(count == 1, f"{photo['title']}: {count} notices were delivered, not one")
        retries = photo["notice_job"]["retries"]
        findings.expect(
            retries == site.mail_failures,
            f"{photo['title']}: the notice took {retries} retries, not {site.mail_failures}",
        )
    attempts = [path.stat().st_size for path in (site.directory / "mail" / "attempts").glob("*")]
    findings.expect(
        attempts == [site.mail_failures + 1] * len(photos),
        f"the mail server saw {attempts} attempts for {len(photos)} notices",
    )
    findings.done.append(f"{len(subjects)} notices by mail, each after {site.mail_failures} failures")


def mails(directory: Path) -> Iterator[Any]:
    """Return the mails in the files that the mail server writes."""
    parser = BytesParser(policy=policy.default)
    for path in sorted(directory.glob("*.log")):
        for text in path.read_bytes().split(MAIL_END):
            if text.strip():
                yield parser.parsebytes(text.lstrip())


def check_export(findings: Findings, client: Client, status: dict[str, Any], originals: Sequence[Path]) -> None:
    """The CSV must have one row for each photograph, with the checksum of the file that was uploaded."""
    findings.expect(bool(status["exports"]), "no CSV export was made")
    for export in status["exports"]:
        if not export["url"]:
            findings.wrong.append(f"CSV export {export['id']}: not written ({export['job']['label']})")
            continue
        rows = list(csv.DictReader(StringIO(client.get(export["url"]).decode())))
        expected = [hashlib.sha256(original.read_bytes()).hexdigest() for original in originals]
        found = [row["sha256"] for row in rows]
        findings.expect(
            found == expected, f"CSV export {export['id']}: its {len(rows)} rows are not the photographs uploaded"
        )
        findings.done.append(f"a CSV export of {len(rows)} rows")


def check_visits(findings: Findings, site: Site, status: dict[str, Any]) -> None:
    """The visits must have been fetched for each photograph, after as many failures as the visits server makes."""
    findings.expect(bool(status["visits"]), "no visits were fetched")
    photos = {str(photo["id"]) for photo in status["photos"]}
    for report in status["visits"]:
        retries = report["job"]["retries"]
        findings.expect(
            report["visits"].keys() == photos,
            f"visits {report['id']}: {len(report['visits'])} of {len(photos)} counts ({report['job']['label']})",
        )
        findings.expect(
            retries == site.visit_failures, f"visits {report['id']}: took {retries} retries, not {site.visit_failures}"
        )
        findings.done.append(
            f"a visits report over HTTP, after {retries} failures: {sum(report['visits'].values())} visits"
        )
