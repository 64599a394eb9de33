"""The EXIF report of a photograph: what the camera wrote, in sections and words that a person reads."""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import IO, Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

Report = dict[str, dict[str, str]]


def report(source: IO[bytes]) -> Report:
    """Return sections of label and value; a section or a row that the file has nothing for is left out."""
    with Image.open(source) as image:
        exif = image.getexif()
        tags = {**exif, **exif.get_ifd(IFD.Exif)}
        gps = exif.get_ifd(IFD.GPSInfo)
        picture = {"Format": str(image.format), "Size": f"{image.width} by {image.height} pixels"}
    sections = {name: rows(tags, fields) for name, fields in SECTIONS.items()}
    sections["Place"] = place(gps)
    return {"Picture": picture} | {name: found for name, found in sections.items() if found}


def rows(tags: Mapping[int, Any], fields: Mapping[Base, tuple[str, Callable[[Any], str]]]) -> dict[str, str]:
    """Return the rows of one section, without values that make no sense: cameras write all kinds of things."""
    found = {}
    for tag, (label, as_text) in fields.items():
        if tag in tags:
            try:
                found[label] = as_text(tags[tag])
            except (ArithmeticError, TypeError, ValueError):
                continue
    return {label: value for label, value in found.items() if value}


def text(value: object) -> str:
    """Return text without the NULs and blanks that cameras pad it with."""
    raw = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return raw.replace("\0", " ").strip()


def moment(value: object) -> str:
    """Return ``2006-02-14 22:00:58`` for the colons that EXIF has in its dates; what is no EXIF date stays as it is."""
    return re.sub(r"^(\d{4}):(\d\d):(\d\d)(?= |$)", r"\1-\2-\3", text(value))


def exposure(value: Any) -> str:
    """Return an exposure time the way cameras show it: ``1/125 s``."""
    seconds = float(value)
    return f"{seconds:g} s" if seconds >= 1 else f"1/{round(1 / seconds)} s"


def place(gps: Mapping[int, Any]) -> dict[str, str]:
    """Return latitude and longitude in degrees, negative in the south and in the west."""
    axes = (
        ("Latitude", GPS.GPSLatitude, GPS.GPSLatitudeRef, "S"),
        ("Longitude", GPS.GPSLongitude, GPS.GPSLongitudeRef, "W"),
    )
    found = {}
    for label, value, reference, negative in axes:
        if value in gps:
            degrees, minutes, seconds = (float(part) for part in gps[value])
            sign = -1 if gps.get(reference) == negative else 1
            found[label] = f"{sign * (degrees + minutes / 60 + seconds / 3600):.6f}°"
    return found


SECTIONS: dict[str, dict[Base, tuple[str, Callable[[Any], str]]]] = {
    "Camera": {
        Base.Make: ("Maker", text),
        Base.Model: ("Model", text),
        Base.LensModel: ("Lens", text),
        Base.Software: ("Software", text),
    },
    "Exposure": {
        Base.ExposureTime: ("Time", exposure),
        Base.FNumber: ("Aperture", lambda value: f"f/{float(value):g}"),
        Base.ISOSpeedRatings: ("ISO", text),
        Base.FocalLength: ("Focal length", lambda value: f"{float(value):g} mm"),
        Base.ExposureBiasValue: ("Correction", lambda value: f"{float(Fraction(value)):+g} EV"),
        Base.Flash: ("Flash", lambda value: "fired" if int(value) & 1 else "did not fire"),
    },
    "Taken": {
        Base.DateTimeOriginal: ("Date", moment),
        Base.DateTime: ("Changed", moment),
        Base.Artist: ("Artist", text),
        Base.Copyright: ("Copyright", text),
    },
}
