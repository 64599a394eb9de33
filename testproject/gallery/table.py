"""The gallery as a table: one row a photograph, for spreadsheets."""

import csv
import hashlib
from io import StringIO

from PIL import Image

from .models import Photo

COLUMNS = (
    "id",
    "title",
    "uploaded",
    "width",
    "height",
    "bytes",
    "sha256",
    "mean_colour",
    "camera",
    "taken",
    "aperture",
)


def row(photo: Photo) -> dict[str, str]:
    """Return what the table says about one photograph; reads the whole file for its checksum and its mean colour."""
    with photo.image.open("rb") as source:
        checksum = hashlib.file_digest(source, "sha256").hexdigest()
        source.seek(0)
        with Image.open(source) as image:
            colour = image.convert("RGB").resize((1, 1), Image.Resampling.BOX).tobytes()
    camera = photo.exif.get("Camera", {})
    return {
        "id": str(photo.pk),
        "title": harmless(photo.title),
        "uploaded": photo.uploaded_at.isoformat(),
        "width": str(photo.width),
        "height": str(photo.height),
        "bytes": str(photo.image.size),
        "sha256": checksum,
        "mean_colour": f"#{colour.hex()}",
        "camera": harmless(" ".join(filter(None, (camera.get("Maker"), camera.get("Model"))))),
        "taken": harmless(photo.exif.get("Taken", {}).get("Date", "")),
        "aperture": harmless(photo.exif.get("Exposure", {}).get("Aperture", "")),
    }


def harmless(text: str) -> str:
    """Return text that no spreadsheet takes for a formula; titles and EXIF come from strangers."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def as_csv(rows: list[dict[str, str]]) -> str:
    """Return the rows as CSV with a header."""
    target = StringIO()
    writer = csv.DictWriter(target, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue()
