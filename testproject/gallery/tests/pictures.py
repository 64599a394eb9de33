"""Pictures for tests that need no photograph."""

from io import BytesIO

from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image
from PIL.ExifTags import IFD, Base


def picture(
    size: tuple[int, int] = (600, 450), *, mode: str = "RGB", kind: str = "JPEG", exif: Image.Exif | None = None
) -> bytes:
    """Return a picture as a file's bytes."""
    target = BytesIO()
    Image.new(mode, size, "teal").save(target, kind, exif=exif or Image.Exif())
    return target.getvalue()


def camera(**tags: object) -> Image.Exif:
    """Return EXIF as a camera writes it; tags by name, each in the directory where it belongs."""
    exif = Image.Exif()
    below = exif.get_ifd(IFD.Exif)
    for name, value in tags.items():
        tag = Base[name]
        (below if tag >= Base.ExposureTime else exif)[tag] = value
    return exif


def upload(name: str = "a_dog-in-snow.jpg", data: bytes | None = None) -> SimpleUploadedFile:
    """Return a file as a browser sends it."""
    return SimpleUploadedFile(name, picture() if data is None else data, "image/jpeg")
