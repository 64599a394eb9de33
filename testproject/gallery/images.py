"""Thumbnails, by Pillow. Pure functions from bytes to bytes: jobs say where the bytes come from and where they go."""

from io import BytesIO
from typing import IO

from PIL import Image, ImageOps

#: The longest side of each size, in pixels.
SIZES = {"small": 160, "medium": 400, "large": 960}


def thumbnail(source: IO[bytes], box: int) -> bytes:
    """
    Return a JPEG of the image in ``source``, upright, that fits into ``box`` by ``box`` pixels.

    A smaller image keeps its size: enlarging adds nothing but bytes.
    """
    with Image.open(source) as original:
        upright = ImageOps.exif_transpose(original)
        picture = flatten(upright)
    picture.thumbnail((box, box), Image.Resampling.LANCZOS)
    target = BytesIO()
    picture.save(target, "JPEG", quality=85, optimize=True, progressive=True)
    return target.getvalue()


def flatten(image: Image.Image) -> Image.Image:
    """Return the image in RGB, on white where it was transparent: JPEG knows neither palettes nor alpha."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = Image.new("RGB", image.size, "white")
    layer = image.convert("RGBA")
    opaque.paste(layer, mask=layer)
    return opaque
